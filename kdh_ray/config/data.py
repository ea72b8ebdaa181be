"""The ``data`` section: the corpus to read, and how much of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator

from kdh_ray.config.fields import Count, DataPath, Delimiter, Encoding, Location, Section, Seed, unescaped

DataFormat = Literal["auto", "table", "doccano", "label-studio", "prodigy", "spacy", "brat", "fasttext"]

UNLABELLED_KINDS = ("a list of predictions", "a section of settings")
"""Names of the two forms of ``data.unlabelled``, which pydantic adds to the location of a fault."""


class UnlabelledConfig(Section):
    """Text without labels that a run predicts with its own teachers, once they are trained."""

    path: Location = Field(description="file, folder, pattern or URL of texts, of any format that a table may have")
    teachers: tuple[Location, ...] = Field(
        (), description="earlier stages, or folders of checkpoints, that predict it; each distillation's own if empty"
    )
    text_column: str | None = Field(None, description="column of the text; data.text_column if not set")
    id_column: str | None = Field(None, description="column of document ids; file and row number if not set")
    delimiter: Delimiter | None = Field(None, description="character between fields; recognised if not set")
    encoding: Encoding | None = Field(None, description="encoding of text files; recognised if not set")
    sheet: str | None = Field(None, description="sheet of an Excel workbook that has several")
    sample: Count | None = Field(
        None, description="documents of it that an epoch trains on, drawn anew for each; all if not set"
    )
    held_out: Literal["refuse", "drop"] = Field(
        "refuse", description="texts of it that are among the documents which judge a model"
    )


_Predictions = Annotated[tuple[Location, ...], Tag(UNLABELLED_KINDS[0])]
_Text = Annotated[UnlabelledConfig, Tag(UNLABELLED_KINDS[1])]


class DataConfig(Section):
    """The corpus, how much of it is used, and how its documents are read."""

    corpus: str = Field("synthetic", description="synthetic, hoc-blurb, hoc-blue, hoc-sentence or table")
    path: DataPath | None = Field(
        None, description="folder of HoC; or your own file, folder or URL, or owner/name of a dataset on the hub"
    )
    format: DataFormat = Field(
        "auto", description="annotation tool whose export the files are; table: none; auto: what is recognised"
    )
    delimiter: Delimiter | None = Field(
        None, description="character between the fields of CSV and TSV; recognised if not set"
    )
    encoding: Encoding | None = Field(None, description="encoding of text files, such as cp1252; recognised if not set")
    sheet: str | None = Field(None, description="sheet of an Excel workbook that has several")
    subset: str | None = Field(None, description="subset of a dataset on the hub that has several")
    size: Literal["small", "medium", "large"] = Field("large", description="25, 50 or 100 % of the training split")
    sample_seed: Seed = Field(0, description="seed of samples, of splits made here, and of the synthetic corpus")
    documents: Count = Field(1200, description="number of documents of the synthetic corpus")
    text_column: str = Field("text", description="column of a table that has the text")
    id_column: str | None = Field(None, description="column of document ids; row numbers if not set")
    label_columns: tuple[str, ...] = Field((), description="one 0/1 column per label")
    labels_column: str | None = Field(None, description="one column with a list of labels")
    label_separator: str = Field(";", description="separates labels in a list column of strings", min_length=1)
    label_names: tuple[str, ...] = Field(
        (), description="names of all labels; lists of 0 and 1, and class numbers, refer to their order"
    )
    missing: Literal["refuse", "negative", "drop"] = Field(
        "refuse",
        description="label cells that are blank, NaN or None: negative reads them as no label, drop leaves their"
        " documents out. An empty text in a column of lists is no label unless this is drop",
    )
    uncertain: Literal["refuse", "negative", "positive", "drop"] | None = Field(
        None, description="-1 in a 0/1 column, as CheXpert writes it; like missing if not set"
    )
    blank_texts: Literal["refuse", "drop"] = Field("refuse", description="documents without text")
    without_labels: Literal["keep", "drop"] = Field(
        "keep", description="documents without any label; drop where nobody looked for labels in them"
    )
    segments_column: str | None = Field(
        None,
        description='column of labelled parts, a list of {"text": ..., "labels": [...]}; the parts make up the text if'
        " there is no text column",
    )
    group_column: str | None = Field(
        None, description="column of what stays in one split of those made here, such as the patient of a note"
    )
    split_column: str | None = Field(None, description="column of split names; seeded splits if not set")
    split_rule: Literal["hashed", "stratified"] = Field(
        "hashed",
        description="seeded splits and samples of a table: by a hash of each document, so that added rows move none, or"
        " stratified over the table as it is",
    )
    folds: int = Field(
        1,
        description="cross-fitting: training and validation split (of HoC, the training split) are divided into so many"
        " folds, and each stage trains a model a fold, which that fold judges; 1: the validation split alone judges",
        ge=1,
        le=20,
    )
    max_tokens: int = Field(256, description="tokens per document, special ones included", ge=8, le=8192)
    segments: bool = Field(True, description="train on the labels of a document's parts, if the corpus has them")
    segmenter: Literal["auto", "sentences", "lines", "none"] = Field(
        "auto", description="divides raw texts into parts; auto: sentences if the corpus has labelled parts, else none"
    )
    language: str = Field("en", description="ISO 639 code of the texts' language, for the division into sentences")
    window_overlap: int = Field(
        32, description="tokens that neighbouring windows of a document longer than max_tokens share", ge=0, le=4096
    )
    window_logits: Literal["max", "mean"] = Field(
        "max", description="how the logits of a document's windows become the document's"
    )
    unlabelled: Annotated[
        _Predictions | _Text,
        Discriminator(lambda value: UNLABELLED_KINDS[isinstance(value, Mapping | UnlabelledConfig)]),
    ] = Field(
        (),
        description="text without labels that distillations learn from as well: a section of settings, or a list of"
        " outputs of kdh-ray predict --logits",
    )

    @field_validator("label_separator")
    @classmethod
    def _unescaped(cls, separator: str) -> str:
        return unescaped(separator)

    @property
    def unlabelled_text(self) -> UnlabelledConfig | None:
        """Unlabelled text that a run predicts itself; None if there is none, or ``unlabelled`` names predictions."""
        return self.unlabelled if isinstance(self.unlabelled, UnlabelledConfig) else None


SETTINGS_BEFORE = {"split_rule": "stratified"}
"""Settings that did not exist once -> the values by which runs worked before."""


def data_of_run(tree: Mapping[str, Any]) -> DataConfig:
    """Validate the ``data`` section that a run has written; settings that it lacks are younger than the run.

    Raises:
        pydantic.ValidationError: If the section has faults.
    """
    return DataConfig.model_validate({**SETTINGS_BEFORE, **tree})
