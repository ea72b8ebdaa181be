"""Checkpoints: a folder with an encoder, a head, and the card that says what they mean.

    encoder/                config.json, model.safetensors and the tokenizer, for AutoModel and AutoTokenizer
    head.safetensors        the linear head(s)
    classifier.json         labels in order, thresholds, how texts are read, corpus, digests of the weights
    documents.safetensors   digests of the documents that it has learnt from; see kdh_ray.models.training_documents
    config.json             refuses to load as a plain transformers classifier, whose head would be random

In checkpoints of format 1 the encoder's files are in the folder itself. Nothing is pickled. A checkpoint is written
next to its final place and renamed, so that a folder of that name is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from safetensors.torch import load_file, save_file

from kdh_ray.config import Pooling
from kdh_ray.data.reading import Reading
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.data.tokens import special_tokens
from kdh_ray.errors import CheckpointError
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.encoders import ENCODER, load_encoder, load_tokenizer, sha256
from kdh_ray.models.quiet import quiet
from kdh_ray.run_folder import RunFolder, StageFolder

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from kdh_ray.models.training_documents import TrainingDocuments

FORMAT = 2
HEAD, CARD = "head.safetensors", "classifier.json"
# transformers would read an encoder in the root as a classifier with a random two-label head, and say so only in a log.
_REFUSAL = {
    "model_type": "kdh-ray-classifier",
    "architectures": ["TextClassifier"],
    "load_with": "kdh_ray.load_classifier",
}


@dataclass(frozen=True)
class Card:
    """The meaning of a checkpoint's weights, and how texts become their input.

    Attributes:
        labels: In the order of the logits.
        thresholds: The probability from which each label counts as present, chosen on validation data.
        max_tokens: Tokens that the encoder reads at once; documents were cut there in training.
        segments: Whether the classifier combines the logits of a document's parts.
        corpus: Protocol and fingerprint of the corpus it was trained on.
        weights: SHA-256 of each weight file.
        notes: Stage, seed, validation scores and the like.
        segmenter: Fields of the :class:`Segmenter` that divides raw texts. None in checkpoints from before segmenters,
            whose thresholds were chosen on the corpus's own parts.
        windows: ``overlap`` and ``combine`` of the :class:`Reading`.
        pooling: ``mean`` of a document's hidden states, or that of its first token, ``cls``.
    """

    labels: list[str]
    thresholds: list[float]
    max_tokens: int
    segments: bool
    corpus: dict[str, str]
    weights: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    segmenter: dict[str, Any] | None = None
    windows: dict[str, Any] | None = None
    pooling: Pooling = "mean"
    format: int = FORMAT

    @property
    def reading(self) -> Reading:
        """How the classifier reads text."""
        segmenter = Segmenter("sentences" if self.segments else "none")
        if self.segmenter is not None:
            segmenter = Segmenter(**self.segmenter)
        return Reading(self.max_tokens, segmenter, **(self.windows or {}))

    @property
    def tuned_on_raw_text(self) -> bool:
        """True if the thresholds were chosen on raw text, as users send it."""
        return self.segmenter is not None or not self.segments

    @property
    def note(self) -> str:
        """Warning about a checkpoint from before segmenters; empty for any other."""
        if self.tuned_on_raw_text:
            return ""
        return (
            "this checkpoint's thresholds were chosen on annotated parts, and raw text is divided into sentences:"
            " kdh-ray evaluate --retune chooses them on raw text"
        )

    @property
    def name(self) -> str:
        """Stage and run that trained the classifier; empty if the card doesn't say."""
        known = "stage" in self.notes and "run" in self.notes
        return f"{self.notes['stage']} of {self.notes['run']}" if known else ""

    @property
    def fingerprint(self) -> str:
        """Identity of the classifier: its weights, labels, and how it reads text."""
        identity: tuple[Any, ...] = (
            sorted(self.weights.items()), self.labels, self.segments, sorted(self.reading.to_json().items())
        )  # fmt: skip
        if self.pooling != "mean":  # so that classifiers from before there was a choice keep their fingerprints
            identity += (self.pooling,)
        return hashlib.sha256(repr(identity).encode()).hexdigest()

    def reads(self, reading: Reading) -> Card:
        """Return the card of a classifier that reads text in this way."""
        tree = reading.to_json()
        windows = {"overlap": tree["overlap"], "combine": tree["combine"]}
        return replace(self, max_tokens=reading.max_tokens, segmenter=tree["segmenter"], windows=windows)


def save_checkpoint(
    folder: Path,
    model: Classifier,
    tokenizer: PreTrainedTokenizerBase,
    card: Card,
    documents: TrainingDocuments | None = None,
) -> Card:
    """Write a checkpoint, replacing one of the same name; return the card with the weights' digests."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}-"))
    try:
        with quiet():
            model.encoder.save_pretrained(temporary / ENCODER)
            tokenizer.save_pretrained(temporary / ENCODER)
        head = {name: value for name, value in model.state_dict().items() if not name.startswith("encoder.")}
        save_file({name: value.contiguous() for name, value in head.items()}, temporary / HEAD)
        digests = {name: sha256(temporary / name) for name in _weight_files(FORMAT)}
        card = replace(card, weights=digests, format=FORMAT)
        (temporary / "config.json").write_text(json.dumps(_REFUSAL, indent=2) + "\n", encoding="utf-8")
        _write_card(temporary, card)
        if documents is not None:
            documents.save(temporary)
        temporary.chmod(0o755)
        _replace(temporary, folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return card


def save_card(folder: Path, card: Card) -> None:
    """Replace the card of an existing checkpoint; the weights stay."""
    _write_card(folder, card)


def _write_card(folder: Path, card: Card) -> None:
    whole = folder / ".classifier.json"
    whole.write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")
    whole.replace(folder / "classifier.json")


def _replace(source: Path, target: Path) -> None:
    """Rename a folder over another. The old one is moved aside first, since folders can't be replaced in one step."""
    if target.exists():
        old = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-old-"))
        os.replace(target, old / target.name)
        os.replace(source, target)
        shutil.rmtree(old, ignore_errors=True)
    else:
        os.replace(source, target)


def load_card(folder: Path) -> Card:
    """Read only ``classifier.json``.

    Raises:
        CheckpointError: If the folder is missing or holds no checkpoint of this project.
    """
    file = folder / "classifier.json"
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content.get("format") not in (1, FORMAT):
            raise CheckpointError(f"{file}: format must be 1 or {FORMAT}; got {content.get('format')!r}")
        card = Card(**content)
        if card.pooling not in get_args(Pooling):
            known = " or ".join(get_args(Pooling))
            raise CheckpointError(f"{file}: pooling must be {known}; got {card.pooling!r}")
        return card
    except OSError as error:
        hint = _hint(folder)
        raise CheckpointError(f"{folder} is not a checkpoint: classifier.json: {error.strerror}{hint}") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} is not a checkpoint's card: {' '.join(str(error).split())}") from None


def verified(folder: Path) -> Card:
    """Return the card of a checkpoint after checking that its weights are those that the card names.

    Raises:
        CheckpointError: If the checkpoint is missing or foreign, or its weights differ.
    """
    card = load_card(folder)
    for name in _weight_files(card.format):
        received = sha256(folder / name)
        if received != card.weights.get(name):
            raise CheckpointError(f"{folder / name}: SHA-256 must be {card.weights.get(name)}; got {received}")
    return card


def _weight_files(version: int) -> tuple[str, str]:
    return ("model.safetensors" if version == 1 else f"{ENCODER}/model.safetensors", HEAD)


def load_checkpoint(folder: Path, dropout: float = 0.0) -> tuple[Classifier, Card]:
    """Read a checkpoint and check that it is whole.

    Args:
        folder: The checkpoint.
        dropout: Rate for hidden states and head, for training on.

    Raises:
        CheckpointError: If it is missing, corrupt, foreign, or its parts don't belong together.
    """
    card = verified(folder)
    model = build_classifier(str(folder), len(card.labels), card.segments, dropout, card.pooling)
    try:
        problems = model.load_state_dict(load_file(folder / HEAD), strict=False)
        foreign = [name for name in problems.missing_keys if not name.startswith("encoder.")]
        if foreign or problems.unexpected_keys:
            raise CheckpointError(
                f"{folder}: head does not fit (missing {foreign}, foreign {problems.unexpected_keys})"
            )
    except RuntimeError:
        raise CheckpointError(f"{folder}: head.safetensors does not fit {len(card.labels)} labels") from None
    return model, card


def build_classifier(
    source: str, n_labels: int, segments: bool, dropout: float, pooling: Pooling = "mean"
) -> Classifier:
    """Return a classifier with a fresh head over the encoder of ``source`` (folder, hub name or ``embedded``)."""
    return Classifier(load_encoder(source, dropout), n_labels, segments, dropout, pooling)


def check_pooling(source: str, pooling: Pooling) -> None:
    """Check that a stage with this pooling can start from an encoder or a checkpoint.

    Raises:
        CheckpointError: If the checkpoint was trained with another pooling, or the tokenizer puts no token before a
            text whose hidden state could stand for the text.
    """
    folder = Path(source).expanduser()
    if (folder / CARD).exists() and (trained := load_card(folder).pooling) != pooling:
        raise CheckpointError(f"pooling must be that of the checkpoint {folder}, {trained}; got {pooling}")
    if pooling == "cls" and special_tokens(load_tokenizer(source))[0] == 0:
        raise CheckpointError(f"pooling: cls needs a special token before each text; {source} has none: take mean")


def _hint(folder: Path) -> str:
    """Return the checkpoints that may be meant, as an end of a message; nothing for a folder that is not of a run."""
    stage = StageFolder(folder.parent)
    if members := (stage.read_result() or {}).get("members"):
        return (
            f"; the stage is the mean of {len(members)} members: distil them into a student, or name one of them,"
            f" such as {StageFolder(stage.path.with_name(next(iter(members)))).checkpoint}"
        )
    best = RunFolder.of_checkpoint(folder).best.stage(stage.path.name)
    if best.finished:  # the folder of a search has its stage in the run of the best configuration
        return f"; did you mean {best.checkpoint}?"
    finished = RunFolder(folder).finished_stages()
    found = [stage.checkpoint for stage in finished if "members" not in (stage.read_result() or {})]
    return f"; did you mean {' or '.join(map(str, found))}?" if found else ""
