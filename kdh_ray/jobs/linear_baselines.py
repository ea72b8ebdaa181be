"""Linear baselines on the corpus of a configuration, and their result rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kdh_ray.config import RunConfig
from kdh_ray.data import Corpus
from kdh_ray.data.folds import is_divided, refit_corpus
from kdh_ray.errors import UserError
from kdh_ray.results import write_row
from kdh_ray.results.stage_rows import stage_row

if TYPE_CHECKING:
    from numpy.typing import NDArray

TFIDF, SVM, EMBEDDINGS = "tf-idf", "tf-idf-svm", "embeddings"
VARIANTS = {TFIDF: "logistic regression", SVM: "linear SVM", EMBEDDINGS: "logistic regression"}


def write_baseline(
    config: RunConfig, corpus: Corpus, name: str, rows: Path, run_id: str, encoder: str = "", **columns: Any
) -> None:
    """Fit a baseline, score it as every stage is scored, and write its row.

    Args:
        config: Configuration that gives the row its seed and settings.
        corpus: Documents to train on and to score.
        name: ``tf-idf``, ``tf-idf-svm`` or ``embeddings``.
        rows: Folder of the row.
        run_id: Id of the run that the row belongs to.
        encoder: Encoder of ``embeddings``, whose mean states are not trained: a folder, a hub name or ``embedded``.
        columns: Further columns, which replace others of the same name.

    Raises:
        UserError: If there is no such baseline, or its documents or encoder can't be used.
    """
    from kdh_ray.inference.scoring import score_held_out

    started = perf_counter()
    judged = refit_corpus(corpus) if is_divided(corpus) and name != EMBEDDINGS else corpus
    validation, test = _probabilities(config, corpus, name, encoder)
    result = {
        **score_held_out(judged, {"validation": validation, "test": test}),
        **corpus.identity.columns(),
        "seconds": perf_counter() - started,
    }
    columns = {"variant": VARIANTS[name], **columns}
    write_row(rows, stage_row(config, name, run_id, corpus.name, result, **columns))


def _probabilities(config: RunConfig, corpus: Corpus, name: str, encoder: str) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return probabilities (n_documents, n_labels) of the validation and of the test split."""
    from kdh_ray.evaluation import linear_models as baselines

    if name == TFIDF:
        return baselines.tfidf_logistic(corpus, config.seed)
    if name == SVM:
        return baselines.tfidf_svm(corpus, config.seed)
    if name == EMBEDDINGS:
        return baselines.features_logistic(corpus, _embeddings(config, corpus, encoder), config.seed)
    raise UserError(f"a baseline is one of {', '.join(VARIANTS)}; got {name!r}")


def _embeddings(config: RunConfig, corpus: Corpus, encoder: str) -> Mapping[str, NDArray[Any]]:
    """Return, for each split, (n_documents, hidden) mean-pooled states of an encoder as it was pretrained."""
    from kdh_ray.data.reading import Reading
    from kdh_ray.hardware import precision
    from kdh_ray.inference.classifier import TextClassifier
    from kdh_ray.models.checkpoint import build_classifier
    from kdh_ray.models.encoders import load_tokenizer

    model, labels = build_classifier(encoder, len(corpus.labels), False, 0.0), corpus.labels
    classifier = TextClassifier(
        model, load_tokenizer(encoder), labels, [0.5] * len(labels), Reading(config.data.max_tokens),
        precision=precision(config.precision),
    )  # fmt: skip
    return {name: classifier.logits(split.raw()).pooled for name, split in corpus.splits.items()}
