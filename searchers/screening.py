"""Screening: of many candidate moves of a particle, fly the one that a surrogate of all results likes best.

Screening the candidates of an evolutionary search by a surrogate is "pre-selection" (Y. Jin, Swarm and Evolutionary
Computation 1, 2011). Two surrogates of the logarithm of a result's distance from the best one:

* ``gaussian-process`` (`searchers.gaussian_process`), which takes the moves in the air for landed with what it predicts
  of them: the "kriging believer" of D. Ginsbourger, R. Le Riche, L. Carraro (2010), so that many workers don't crowd;
* ``trees`` (`searchers.forest`); their spread is the uncertainty, as in SMAC (F. Hutter, H. Hoos, K. Leyton-Brown,
  LION 5, 2011).

Results are of one fidelity (`searchers.archive.Archive.comparable`); failures count as the worst of them. The score is
the lower confidence bound mean - kappa * standard deviation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from searchers.dynamics import check_name
from searchers.forest import ExtraTrees
from searchers.gaussian_process import GaussianProcess
from searchers.parameters import Array, plain

SurrogateName = Literal["gaussian-process", "trees"]


@dataclass(frozen=True)
class Screen:
    """How candidate moves are screened.

    Args:
        surrogate: ``gaussian-process`` or ``trees``.
        n_candidates: Candidate moves a flight.
        local: Share of them that are small steps from the neighbourhood's best instead.
        uniform: Share of them drawn uniformly from the space instead.
        kappa: Weight of the standard deviation.
        max_results: Learn from this many results at most: the best half of them, and the latest.

    Raises:
        ValueError: If a setting is outside its range.
    """

    surrogate: SurrogateName = "gaussian-process"
    n_candidates: int = 400
    local: float = 0.4
    uniform: float = 0.1
    kappa: float = 2.0
    max_results: int = 200

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, plain(getattr(self, field.name)))
        check_name("surrogate", self.surrogate, SurrogateName)
        if min(self.n_candidates, self.max_results) < 2:
            raise ValueError(f"n_candidates and max_results are >= 2; got {self}")
        if not math.isfinite(self.kappa):
            raise ValueError(f"kappa is a finite number; got {self.kappa}")
        if not (self.local >= 0 and self.uniform >= 0 and self.local + self.uniform <= 1):
            raise ValueError(f"local and uniform are shares, together at most 1; got {self.local} and {self.uniform}")

    def mix(self, moves: Array, leader: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Put the local and the uniform share in the place of some of the moves, (n, n_dims); which are local, (n,)."""
        kind = rng.random(len(moves))
        drawn, near = kind < self.uniform, kind > 1 - self.local
        moves[drawn] = rng.random((int(drawn.sum()), moves.shape[1]))
        moves[near] = local_steps(leader, int(near.sum()), rng)
        return near


class Screening:
    """A `Screen` at work in one swarm: it remembers the Gaussian process's hyperparameters from fit to fit."""

    N_TREES = 40
    N_STEPS = 8

    def __init__(self, screen: Screen) -> None:
        self.screen = screen
        self._theta: Array | None = None

    def order(self, candidates: Array, positions: Array, values: Array, flying: Array) -> NDArray[np.intp]:
        """Indices of the candidates, (n,), the best scored first.

        Args:
            candidates: (n, n_dims); these and all positions snapped.
            positions: (n_results, n_dims), in the order in which the results came.
            values: (n_results,), of one fidelity; inf: failed.
            flying: (n_flying, n_dims), of moves in the air.
        """
        with one_thread():
            mean, deviation = self._predict(candidates, positions, values, flying)
        return np.argsort(mean - self.screen.kappa * deviation, kind="stable")

    def _predict(self, candidates: Array, positions: Array, values: Array, flying: Array) -> tuple[Array, Array]:
        known = _select(values, self.screen.max_results)
        inputs, targets = positions[known], log_gaps(values[known])
        if self.screen.surrogate == "trees":
            # The seed is the number of results: a restored swarm fits as the first one did.
            rng = np.random.default_rng(len(values))
            predicted = ExtraTrees(inputs, targets, self.N_TREES, rng).predict(candidates)
            return predicted.mean(axis=0), predicted.std(axis=0)
        process = GaussianProcess(inputs, targets, self._theta, self.N_STEPS)
        self._theta = process.theta
        process.believe(flying)
        return process.predict(candidates)

    def get_state(self) -> dict[str, Any]:
        return {**asdict(self.screen), "theta": None if self._theta is None else self._theta.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Screening:
        settings = {**state}
        theta = settings.pop("theta")
        screening = cls(Screen(**settings))
        screening._theta = None if theta is None else np.array(theta)
        return screening


def local_steps(centre: Array, n: int, rng: np.random.Generator) -> Array:
    """(n_dims,) -> (n, n_dims): normal steps from ``centre`` in a random part of the coordinates.

    Step sizes are log-uniform from 0.01 to 0.3 of the range. A fifth of the steps are three times as long, so that
    categories change too.
    """
    d = len(centre)
    scale = np.exp(rng.uniform(np.log(0.01), np.log(0.3), (n, 1)))
    changed = rng.random((n, d)) < np.maximum(rng.random((n, 1)), 1.5 / max(d, 1))
    reach = np.where(rng.random((n, d)) < 0.2, 3.0, 1.0)
    steps: Array = centre + np.where(changed, rng.normal(0.0, 1.0, (n, d)) * scale * reach, 0.0)
    return steps


def log_gaps(values: Array) -> Array:
    """Values, (n,), as logarithms of how far each is from the best, standardised; failures (inf) as the worst.

    log(value - best + median gap): the good half is told apart finely, outliers are drawn in, and the metric's unit and
    zero do not matter.
    """
    failed = np.isinf(values)
    if failed.all():
        return np.zeros(len(values))
    finite = np.clip(np.where(failed, values[~failed].max(), values), -1e300, 1e300)
    gaps = finite - finite.min()
    middle = float(np.median(gaps))
    if middle == 0:  # half of them are as good as the best
        middle = float(np.min(gaps, where=gaps > 0, initial=gaps.max())) or 1.0
    logs = np.log(gaps + middle)
    standardised: Array = (logs - logs.mean()) / (logs.std() + 1e-9)
    return standardised


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra in one thread for the length of a block, where threadpoolctl (of scikit-learn) is installed.

    BLAS's threads wait for each other in loops: where trials kept two cores busy, a suggestion at 1,000 results took
    1.4 s in two threads and 0.04 s in one.
    """
    controller = _thread_pools()
    if controller is None:
        yield
    else:
        with controller.limit(limits=1, user_api="blas"):
            yield


@cache
def _thread_pools() -> Any:
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


def _select(values: Array, at_most: int) -> NDArray[np.intp]:
    """Indices, in order, of the best half of ``at_most`` results and the latest others."""
    if len(values) <= at_most:
        return np.arange(len(values))
    best = np.argsort(values, kind="stable")[: at_most // 2]
    others = np.setdiff1d(np.arange(len(values)), best)
    return np.sort(np.concatenate([best, others[-(at_most - len(best)) :]]))
