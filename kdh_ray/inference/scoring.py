"""Scores of a classifier on the splits of a corpus, read as raw text: the way in which it will be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Split
from kdh_ray.data.tokens import tokenize
from kdh_ray.errors import CheckpointError
from kdh_ray.evaluation.metrics import per_label, score
from kdh_ray.evaluation.score_columns import score_columns
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.inference.forward import forward
from kdh_ray.inference.logits import Logits, logistic
from kdh_ray.models.checkpoint import load_card, save_card

READ_AS = "raw text"  # in rows: neither the corpus's own parts nor documents cut at a maximum length


def score_classifier(
    classifier: TextClassifier,
    corpus: Corpus,
    cache: Path | None = None,
    validated: NDArray[np.float32] | None = None,
) -> tuple[dict[str, Any], dict[str, NDArray[np.float32]]]:
    """Score both held-out splits as raw text and, if the corpus has parts of its own, as annotated.

    Columns of the annotated scores end in ``_annotated``; their threshold is tuned on the annotated validation split.
    If documents are longer than the classifier reads at once, ``SPLIT_long_documents`` counts them and
    ``SPLIT_f1_micro_cut`` is the score that cutting them would give, at the same threshold.

    Args:
        classifier: The classifier.
        corpus: The corpus.
        cache: Folder of tokens.
        validated: (n_documents, n_labels) logits of the validation split by models that stand for the classifier,
            because it was trained on these documents. Columns of validation as annotated are then missing.

    Returns:
        Columns of a result, and the logits (n_documents, n_labels) of each split as raw text.
    """
    names = ("validation", "test") if validated is None else ("test",)
    splits = {name: corpus.splits[name] for name in names}
    read = {name: classifier.logits(split.raw(), cache=cache) for name, split in splits.items()}
    logits = {name: each.documents for name, each in read.items()}
    if validated is not None:
        logits["validation"] = validated
    probabilities = {name: logistic(values) for name, values in logits.items()}
    result = score_held_out(corpus, probabilities)
    result["read_as"] = READ_AS
    for name, split in splits.items():
        result |= _cost_of_cutting(classifier, name, split, read[name], result["threshold"], cache)
    if classifier.model.segment_head is not None and splits["test"].segments is not None:
        annotated = {
            name: classifier.logits(split.annotated(), cache=cache).probabilities for name, split in splits.items()
        }
        scores = score_held_out(corpus, {**probabilities, **annotated})
        kept = [name for name in scores if name.endswith(("f1_micro", "f1_macro", corpus.metric))]
        kept = [name for name in kept if name.startswith(names)] + (["threshold"] if validated is None else [])
        result |= {f"{name}_annotated": scores[name] for name in kept}
    return result, logits


def _cost_of_cutting(
    classifier: TextClassifier,
    name: str,
    split: Split,
    logits: Logits,
    threshold: float | NDArray[np.float64],
    cache: Path | None,
) -> dict[str, Any]:
    """Return how many documents are longer than the classifier reads at once, and the score if they were cut."""
    reading = classifier.reading
    whole = tokenize(reading.divided(split.raw()), classifier.tokenizer, cache)
    longer = np.flatnonzero(whole.lengths > reading.max_tokens)  # indices of documents
    if not len(longer):
        return {f"{name}_long_documents": 0}
    chosen = split.take(longer).raw()
    tokens = tokenize(reading.divided(chosen), classifier.tokenizer).cut(reading.max_tokens)
    probabilities = logits.probabilities.copy()
    # The other documents read the same either way.
    probabilities[longer] = forward(classifier.model, tokens, precision=classifier.precision).probabilities
    cut = score(split.targets, probabilities, threshold)["f1_micro"]
    return {f"{name}_long_documents": len(longer), f"{name}_f1_micro_cut": cut}


def score_held_out(corpus: Corpus, probabilities: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Score the ``validation`` and ``test`` probabilities, each (n_documents, n_labels); see ``score_columns``."""
    validation, test = ((corpus.splits[name].targets, probabilities[name]) for name in ("validation", "test"))
    return score_columns(validation, test, list(corpus.labels), corpus.metric)


def evaluate(classifier: TextClassifier, corpus: Corpus, split: str) -> dict[str, Any]:
    """Return a classifier's scores on one split, read as raw text, at its own thresholds.

    Returns:
        ``documents``; ``scores`` over all labels; ``labels``, a dictionary per label; ``long_documents``, the number of
        documents that are read in windows, and ``f1_micro_cut``, the score if they were cut instead; and, if the
        classifier combines parts and the corpus has parts of its own, ``f1_micro_annotated`` on those.
    """
    chosen = corpus.splits[split]
    logits = classifier.logits(chosen.raw())
    result = {
        "documents": len(chosen),
        "scores": score(chosen.targets, logits.probabilities, classifier.thresholds),
        "labels": per_label(chosen.targets, logits.probabilities, classifier.thresholds, list(corpus.labels)),
    }
    if classifier.model.segment_head is not None and chosen.segments is not None:
        annotated = classifier.logits(chosen.annotated()).probabilities
        result["f1_micro_annotated"] = score(chosen.targets, annotated, classifier.thresholds)["f1_micro"]
    cost = _cost_of_cutting(classifier, split, chosen, logits, classifier.thresholds, None)
    return result | {name.removeprefix(f"{split}_"): value for name, value in cost.items()}


def retune(checkpoint: Path, classifier: TextClassifier, corpus: Corpus) -> float:
    """Choose a checkpoint's threshold anew, on the validation split read as raw text, and write it to the card.

    Returns:
        The threshold.
    """
    validation = corpus.splits["validation"]
    probabilities = classifier.logits(validation.raw()).probabilities
    both = (validation.targets, probabilities)
    threshold = float(score_columns(both, both, list(corpus.labels), corpus.metric)["threshold"])
    card = load_card(checkpoint).reads(classifier.reading)
    save_card(checkpoint, replace(card, thresholds=[threshold] * len(card.labels)))
    return threshold


def check_labels(folder: Path, received: list[str], expected: list[str]) -> None:
    """Refuse a checkpoint whose labels, or their order, are not the data's.

    Raises:
        CheckpointError: Names the first label that differs.
    """
    if len(received) != len(expected):
        raise CheckpointError(
            f"{folder}: a checkpoint must have the data's {len(expected)} labels; got {len(received)}"
        )
    for number, (theirs, ours) in enumerate(zip(received, expected, strict=True), start=1):
        if theirs != ours:
            raise CheckpointError(
                f"{folder}: label {number} must be {ours!r} as in the data; the checkpoint has {theirs!r}"
            )
