"""The gain of a search's best configuration over a reference, corrected for choosing the best of many.

The score by which a configuration was chosen flatters it: among many, the luckiest on these documents wins. The
bootstrap bias correction takes that luck out without further training (BBC-CV: Tsamardinos, Greasidou and Borboudakis,
"Bootstrapping the out-of-sample predictions for efficient and accurate cross-validation", Machine Learning 107, 2018,
algorithm 3). Each resample of the documents chooses its own winner, which is then scored on the documents that the
resample left out. Here the reference is scored on them as well, and the difference is the gain.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kdh_ray.evaluation.metrics import log_losses
from kdh_ray.evaluation.objectives import Objective

RESAMPLES = 1000
_FEWEST = 200
_CELLS = 2e7  # of the (resamples, documents) array of weights
_PAIRS = 1e8  # of document, label, resample and configuration, which average precision goes through one by one
_THRESHOLDS = 48

_Array = NDArray[np.float64]
_Scores = Callable[[_Array, _Array, _Array, _Array], tuple[_Array, _Array]]
"""Maps truth, probabilities, weights in and out of the resamples to the (n_resamples,) scores in and out of them."""


@dataclass(frozen=True)
class CorrectedGain:
    """The gain of the best configuration over the reference: more is better, also where the objective is a loss.

    Attributes:
        gain: Mean over resamples, on documents that the choice did not see.
        low, high: 95 % interval: percentiles over resamples. Each resample leaves out about 37 % of the documents, so
            the interval is wider than one over all of them would be.
        share: Share of resamples in which the gain is above 0.
        documents: Number of documents.
        candidates: Number of configurations, the reference among them.
    """

    gain: float
    low: float
    high: float
    share: float
    documents: int
    candidates: int

    @property
    def clear(self) -> bool:
        """True if the interval lies above 0."""
        return self.low > 0


@dataclass(frozen=True)
class ResampledScores:
    """Scores of configurations on resamples of documents and on what these leave out; more is better.

    Attributes:
        chosen_by: (n_configurations, n_resamples) score of each on the documents drawn.
        judged_by: (n_configurations, n_resamples) score of each on the documents left out.
        on_all: (n_configurations,) score of each on all documents.
        documents: Number of documents.
    """

    chosen_by: _Array
    judged_by: _Array
    on_all: _Array
    documents: int

    @classmethod
    def of(
        cls, targets: NDArray[np.int8], probabilities: Sequence[_Array], objective: Objective, seed: int = 0
    ) -> ResampledScores:
        """Score configurations; the arguments are those of :func:`corrected_gain`."""
        truth, measure = np.asarray(targets, dtype=np.float64), _MEASURES[objective.name]
        inside, outside = _resamples(truth.shape, len(probabilities), objective, seed)
        every = np.ones((1, len(truth)))
        both, on_all = [], []
        for each in probabilities:
            values = np.asarray(each, dtype=np.float64)
            both.append(measure(truth, values, inside, outside))
            on_all.append(measure(truth, values, every, every)[0][0])
        chosen_by, judged_by = (objective.sign * np.array(part) for part in zip(*both, strict=True))
        return cls(chosen_by, judged_by, objective.sign * np.array(on_all), len(truth))

    def gain(self, reference: int) -> CorrectedGain:
        """Return the gain of choosing the best configuration over taking the one of this index."""
        gains = self._judged_winners(len(self.chosen_by)) - self.judged_by[reference]
        low, high = (float(limit) for limit in np.percentile(gains, [2.5, 97.5]))
        share = float((gains > 0).mean())
        return CorrectedGain(float(gains.mean()), low, high, share, self.documents, len(self.chosen_by))

    def overtuning(self) -> list[tuple[float, float]]:
        """Return, of the best of the first 1, 2, ... configurations, its score and the score corrected for the choice.

        The difference between the two is what the choice owes to luck.
        """
        counts = range(1, len(self.chosen_by) + 1)
        return [(float(self.on_all[:count].max()), float(self._judged_winners(count).mean())) for count in counts]

    def _judged_winners(self, count: int) -> _Array:
        """Return each resample's winner among the first configurations, by its score on what the resample left out."""
        winners = self.chosen_by[:count].argmax(axis=0)
        return np.asarray(self.judged_by[winners, np.arange(len(winners))])


def corrected_gain(
    targets: NDArray[np.int8],
    probabilities: Sequence[_Array],
    reference: int,
    objective: Objective,
    *,
    seed: int = 0,
) -> CorrectedGain:
    """Return the gain of choosing the best configuration over taking the reference.

    Thresholds of F1 are chosen in the resample as well, each configuration's by its micro F1.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: One (n_documents, n_labels) array for each configuration.
        reference: Index of the reference among them.
        objective: The score by which configurations are compared.
        seed: Of the resamples.
    """
    return ResampledScores.of(targets, probabilities, objective, seed).gain(reference)


def paired_differences(
    targets: NDArray[np.int8], own: _Array, other: _Array, objective: Objective, seed: int = 0
) -> NDArray[np.float64]:
    """Return (n_resamples,) score of one configuration minus that of another, over bootstrap resamples of documents.

    Each configuration has the threshold that is best for it in the resample. More is better, also for a loss.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        own: Probabilities (n_documents, n_labels) of the one configuration.
        other: Those of the other.
        objective: The score.
        seed: Of the resamples.
    """
    truth = np.asarray(targets, dtype=np.float64)
    inside, outside = _resamples(truth.shape, 2, objective, seed)
    measure = _MEASURES[objective.name]
    of_own, of_other = (measure(truth, np.asarray(each, np.float64), inside, outside)[0] for each in (own, other))
    return objective.sign * (of_own - of_other)


def _resamples(shape: tuple[int, ...], configs: int, objective: Objective, seed: int) -> tuple[_Array, _Array]:
    """Return (n_resamples, n_documents): how often each resample has a document, and 1 where it does not have it."""
    documents, labels = shape
    most = _PAIRS / (documents * labels * configs) if objective.name == "average_precision" else _CELLS / documents
    count = int(np.clip(most, _FEWEST, RESAMPLES))
    inside = np.random.default_rng(seed).multinomial(documents, np.full(documents, 1 / documents), size=count)
    leaves_out = (inside == 0).any(axis=1)  # a resample of very few documents may have them all
    kept = inside[leaves_out] if leaves_out.any() else inside
    return kept.astype(np.float64), (kept == 0).astype(np.float64)


def _f1_micro(truth: _Array, probabilities: _Array, inside: _Array, outside: _Array) -> tuple[_Array, _Array]:
    scores, chosen = _micro_at_thresholds(truth, probabilities, inside)
    judged, _ = _micro_at_thresholds(truth, probabilities, outside)
    rows = np.arange(len(inside))
    return scores[rows, chosen], judged[rows, chosen]


def _micro_at_thresholds(truth: _Array, probabilities: _Array, weights: _Array) -> tuple[_Array, NDArray[np.int64]]:
    """Return (n_resamples, n_thresholds) micro F1, and each resample's best threshold by index."""
    hits, predicted = [], []
    for threshold in _candidates(truth, probabilities):
        present = probabilities >= threshold
        hits.append((present * truth).sum(1))
        predicted.append(present.sum(1))
    true_positives, positives = weights @ np.array(hits).T, weights @ np.array(predicted).T
    scores = _ratio(2 * true_positives, positives + (weights @ truth.sum(1))[:, None])
    return scores, scores.argmax(axis=1)


def _candidates(truth: _Array, probabilities: _Array) -> _Array:
    """Return thresholds at which a quarter to four times as many pairs are predicted as are true."""
    ranked = np.sort(probabilities, axis=None)[::-1]
    ranks = np.geomspace(max(1.0, truth.sum() / 4), max(1.0, 4 * truth.sum()), _THRESHOLDS)
    return np.unique(ranked[np.minimum(ranks.astype(int), ranked.size) - 1])


def _f1_macro(truth: _Array, probabilities: _Array, inside: _Array, outside: _Array) -> tuple[_Array, _Array]:
    """Return the mean F1 of labels at the threshold with the best micro F1, as trials report it."""
    thresholds = _candidates(truth, probabilities)
    _, chosen = _micro_at_thresholds(truth, probabilities, inside)
    scores = np.zeros((2, len(inside)))
    for index in np.unique(chosen):
        rows = chosen == index
        present = (probabilities >= thresholds[index]).astype(np.float64)
        for part, weights in enumerate((inside[rows], outside[rows])):
            counts = weights @ present + weights @ truth  # (n_rows, n_labels)
            scores[part, rows] = _ratio(2 * (weights @ (present * truth)), counts).mean(1)
    return scores[0], scores[1]


def _log_loss(truth: _Array, probabilities: _Array, inside: _Array, outside: _Array) -> tuple[_Array, _Array]:
    losses = log_losses(truth.astype(np.int8), probabilities)  # (n_documents,)
    return _ratio(inside @ losses, inside.sum(1)), _ratio(outside @ losses, outside.sum(1))


def _average_precision(truth: _Array, probabilities: _Array, inside: _Array, outside: _Array) -> tuple[_Array, _Array]:
    order = np.argsort(-probabilities, axis=None, kind="stable")
    documents = order // truth.shape[1]
    hits = truth.ravel()[order]

    def score(weights: _Array) -> float:
        own = weights[documents]
        found = np.cumsum(own * hits)  # precision at each rank is found / ranked
        ranked = np.cumsum(own)
        total: float = found[-1]
        return float((own * hits * _ratio(found, ranked)).sum() / total) if total else 0.0

    return np.array([score(each) for each in inside]), np.array([score(each) for each in outside])


def _ratio(numerator: _Array, denominator: _Array) -> _Array:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


_MEASURES: dict[str, _Scores] = {
    "f1_micro": _f1_micro,
    "f1_macro": _f1_macro,
    "average_precision": _average_precision,
    "log_loss": _log_loss,
}
