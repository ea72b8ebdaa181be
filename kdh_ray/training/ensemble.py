"""Predictions of a stage's parts together: the mean logits of its members, and the logits of its fold models for
documents that they never saw. Nothing is trained, and no encoder is loaded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Corpus, Split
from kdh_ray.errors import CheckpointError
from kdh_ray.inference.logits import logistic
from kdh_ray.inference.scoring import READ_AS, score_held_out
from kdh_ray.run_folder import StageFolder

SPLITS = ("validation", "test")
_COSTS = ("seconds", "documents_trained")
_SUMS = (*_COSTS, "parameters")
_SHARED = ("device", "precision", "workers", "threads", *(f"{split}_long_documents" for split in SPLITS))


def mean_predictions(
    parts: Sequence[StageFolder], corpus: Corpus, *, of_folds: bool = False
) -> dict[str, NDArray[np.float32]]:
    """Return the parts' mean logits of each held-out split, (n_documents, n_labels), from their saved predictions.

    Args:
        parts: Folders of members, or of fold models in order of the folds.
        corpus: Documents of the stage.
        of_folds: They are fold models: each says its own part of the validation split; see :func:`out_of_fold`.

    Raises:
        CheckpointError: If a part's predictions can't be read, or are not of the corpus's documents and labels.
    """

    def mean(split: str) -> NDArray[np.float32]:
        logits = [_logits(part, split, corpus.splits[split]) for part in parts]
        return np.asarray(np.mean(logits, axis=0, dtype=np.float32))

    return {"validation": out_of_fold(parts, corpus) if of_folds else mean("validation"), "test": mean("test")}


def out_of_fold(parts: Sequence[StageFolder], corpus: Corpus) -> NDArray[np.float32]:
    """Return (n_documents, n_labels) logits of all folds' documents, each by the model that did not see its fold.

    Args:
        parts: Folders of the fold models, in order of the folds.
        corpus: From :func:`kdh_ray.data.folds.refit_corpus`.

    Raises:
        CheckpointError: As in :func:`mean_predictions`.
    """
    if corpus.folds is None:
        raise ValueError(f"{corpus.name}: the corpus has no folds")
    logits = np.zeros(corpus.splits["validation"].targets.shape, dtype=np.float32)
    for number, part in enumerate(parts, start=1):
        own = np.flatnonzero(corpus.folds.parts == number)
        logits[own] = _logits(part, "validation", corpus.splits["validation"].take(own))
    return logits


def typical_best_epoch(parts: Sequence[StageFolder]) -> int:
    """Return the median of the epochs whose weights the fold models kept; halves are rounded up."""
    histories = [(part.read_result() or {})["history"] for part in parts]
    kept = [max(entry["epoch"] for entry in history if entry["best"]) for history in histories]
    return int(np.median(kept) + 0.5)


def costs_with(parts: Sequence[StageFolder], result: Mapping[str, Any]) -> dict[str, float]:
    """Return what it cost to train a model and the fold models that judge it, as columns of its result."""
    every = [result, *(part.read_result() or {} for part in parts)]
    return {name: sum(each[name] for each in every) for name in _COSTS if all(name in each for each in every)}


def ensemble_result(
    parts: Mapping[str, StageFolder], corpus: Corpus, logits: Mapping[str, NDArray[np.float32]]
) -> dict[str, Any]:
    """Return the result of a stage that is the mean of its parts, which are finished.

    Its threshold is chosen on the mean of the validation logits. Its costs are the parts' sums, and ``members`` maps
    each part to its own validation micro F1.

    Args:
        parts: Folders of the parts by name.
        corpus: Documents of the run.
        logits: From :func:`mean_predictions`.
    """
    results = {name: folder.read_result() or {} for name, folder in parts.items()}
    every = list(results.values())
    return {
        **score_held_out(corpus, {split: logistic(values) for split, values in logits.items()}),
        **{name: every[0][name] for name in _SHARED if name in every[0]},
        **{name: sum(result[name] for result in every) for name in _SUMS if all(name in result for result in every)},
        "documents_per_second": float(np.median([result["documents_per_second"] for result in every])),
        **corpus.identity.columns(),
        "read_as": READ_AS,
        "started": min(result["started"] for result in every),
        "members": {name: result["validation_f1_micro"] for name, result in results.items()},
    }


def _logits(member: StageFolder, split: str, expected: Split) -> NDArray[np.float32]:
    file = member.predictions / f"{split}.npy"
    try:
        logits: NDArray[np.float32] = np.load(file, allow_pickle=False)
        ids = json.loads((member.predictions / f"{split}-ids.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{file} can't be read ({type(error).__name__}); remove {member.path} to train it again"
        ) from None
    if ids != list(expected.ids) or logits.shape != expected.targets.shape:
        raise CheckpointError(
            f"{file} is of other documents or labels than the corpus; remove {member.path} to train it again"
        )
    return logits
