"""Screening: of many candidate moves of a particle, fly the one that a surrogate of all results likes best.

The surrogate is an ensemble of extremely randomised trees (P. Geurts, D. Ernst, L. Wehenkel, Machine Learning 63, 2006)
on the ranks of the results, which makes it indifferent to the scale of the metric and to outliers; the score is
mean - kappa * standard deviation over trees, a lower confidence bound (F. Hutter, H. Hoos, K. Leyton-Brown, LION 5,
2011, use the same kind of uncertainty). Screening the candidates of an evolutionary search by a surrogate is
"pre-selection" (Y. Jin, Swarm and Evolutionary Computation 1, 2011).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from searchers.archive import Archive
from searchers.forest import ExtraTrees
from searchers.parameters import Array


@dataclass
class Screen:
    """How candidate moves are screened.

    Args:
        n_candidates: Candidate moves a flight.
        uniform: Share of them drawn uniformly from the space instead.
        kappa: Weight of the standard deviation.
        n_trees: Trees of the surrogate.
        max_results: Learn from this many results at most: the best half of them, and the latest.

    Raises:
        ValueError: If a number is outside its range.
    """

    n_candidates: int = 64
    uniform: float = 0.1
    kappa: float = 1.0
    n_trees: int = 40
    max_results: int = 200

    def __post_init__(self) -> None:
        if min(self.n_candidates, self.n_trees, self.max_results) < 2:
            raise ValueError(f"n_candidates, n_trees and max_results are >= 2; got {self}")
        if not 0 <= self.uniform <= 1:
            raise ValueError(f"uniform, a share, is in [0, 1]; got {self.uniform}")

    def ready(self, archive: Archive, n_particles: int) -> bool:
        """Before every particle could have landed once there is too little to learn from."""
        return len(archive) >= n_particles

    def choose(self, candidates: Array, archive: Archive, full: float) -> int:
        """The index of the best scored of the candidates, shape (n, n_dims), snapped."""
        ranks = archive.ranks(full)
        known = _select(ranks, self.max_results)
        # The seed is the number of results: a restored swarm fits the same forest.
        forest = ExtraTrees(archive.positions[known], ranks[known], self.n_trees, np.random.default_rng(len(archive)))
        predicted = forest.predict(candidates)
        return int(np.argmin(predicted.mean(axis=0) - self.kappa * predicted.std(axis=0)))


def _select(ranks: Array, at_most: int) -> NDArray[np.intp]:
    """Indices, in order, of the best half of ``at_most`` results and the latest others."""
    if len(ranks) <= at_most:
        return np.arange(len(ranks))
    best = np.argsort(ranks, kind="stable")[: at_most // 2]
    others = np.setdiff1d(np.arange(len(ranks)), best)
    return np.sort(np.concatenate([best, others[-(at_most - len(best)) :]]))
