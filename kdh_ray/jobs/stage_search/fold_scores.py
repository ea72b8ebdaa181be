"""Scores of a trial's fold models on the documents that they never saw, over the folds that are finished so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data import Corpus
from kdh_ray.data.folds import folds_of, refit_corpus
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.objectives import OBJECTIVES
from kdh_ray.evaluation.thresholds import tune_global
from kdh_ray.inference.logits import logistic

_FILE = "folds.npz"


def objective_scores(targets: NDArray[np.int8], probabilities: NDArray[np.float64]) -> dict[str, float]:
    """Return the column and value of each objective, at the threshold with the highest micro F1."""
    scores = score(targets, probabilities, tune_global(targets, probabilities))
    return {objective.column: scores[objective.metric] for objective in OBJECTIVES.values()}


@dataclass(frozen=True)
class ValidationFolds:
    """The documents that judge a trial, by fold.

    Attributes:
        targets: (n_documents, n_labels) of 0 and 1.
        folds: Of each fold, the indices of its documents; a validation split alone is one fold.
    """

    targets: NDArray[np.int8]
    folds: Sequence[NDArray[np.int64]]

    @classmethod
    def of(cls, corpus: Corpus) -> ValidationFolds:
        """Return the documents of all folds, or the validation split of a corpus without folds."""
        if corpus.folds is None:
            targets = corpus.splits["validation"].targets
            return cls(targets, [np.arange(len(targets))])
        folds = [documents for _, documents in folds_of(corpus)]
        return cls(refit_corpus(corpus).splits["validation"].targets, folds)

    def of_first(self, folds: int) -> NDArray[np.int64]:
        """Return the indices of the documents of the first folds."""
        return np.concatenate(self.folds[:folds])


class FoldScores:
    """The predictions of a trial's fold models.

    Args:
        validation: The documents of all folds.

    Attributes:
        logits: (n_documents, n_labels); NaN in folds that are not finished.
        finished: Number of folds that are.
        epochs: Epochs that these have trained, together.
    """

    def __init__(self, validation: ValidationFolds) -> None:
        self._validation = validation
        self.logits = np.full(validation.targets.shape, np.nan, dtype=np.float32)
        self.finished = 0
        self.epochs = 0

    def add(self, logits: NDArray[np.float32], epochs: int) -> None:
        """Add the next fold: its documents' logits at the best epoch, and the epochs that its model trained."""
        self.logits[self._validation.folds[self.finished]] = logits
        self.finished += 1
        self.epochs += epochs

    def scores(self) -> dict[str, float]:
        """Return the results that a trial reports, one for each objective, over all finished folds together."""
        documents = self._validation.of_first(self.finished)
        return objective_scores(self._validation.targets[documents], logistic(self.logits[documents]))

    def save(self, folder: Path) -> None:
        """Write the finished folds into a trial's checkpoint."""
        np.savez(folder / _FILE, logits=self.logits, finished=self.finished, epochs=self.epochs)

    def load(self, folder: Path) -> bool:
        """Read what :meth:`save` wrote; return True if there are finished folds."""
        if not (folder / _FILE).exists():  # a checkpoint from before there were folds
            return False
        with np.load(folder / _FILE, allow_pickle=False) as stored:
            self.logits = stored["logits"]
            self.finished, self.epochs = int(stored["finished"]), int(stored["epochs"])
        return self.finished > 0
