"""Screening: of many candidate moves of a particle, choose the most promising by a surrogate model of all results.

Screening the candidates of an evolutionary search by a surrogate is known as "pre-selection" (Y. Jin, "Surrogate-
assisted evolutionary computation", Swarm and Evolutionary Computation 1, 2011). The surrogate predicts the logarithm of
a result's distance from the best one. There are two:

* ``gaussian-process`` (`searchers.gaussian_process`). It counts its own prediction at a pending move as a result. This
  "kriging believer" (D. Ginsbourger, R. Le Riche, L. Carraro, 2010) keeps many workers from crowding one spot.
* ``trees`` (`searchers.forest`). The standard deviation over the trees is the uncertainty, as in SMAC (F. Hutter,
  H. Hoos, K. Leyton-Brown, LION 5, 2011).

The candidate with the lowest lower confidence bound wins (D. D. Cox and S. John, "A statistical method for global
optimization", 1992):

    LCB(x) = mean(x) - kappa * standard deviation(x)

The surrogate learns from results of one fidelity (`searchers.archive.Archive.comparable`). Failures count as the worst
of them. Of noisy values it predicts the normal score, with a prior that expects noise (`searchers.noise`).
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
from searchers.gaussian_process import MUCH_NOISE, NOISE, GaussianProcess
from searchers.noise import normal_scores, relative_noise, value_at
from searchers.parameters import Array, plain

SurrogateName = Literal["gaussian-process", "trees"]


@dataclass(frozen=True)
class Screen:
    """Settings of the screening of candidate moves.

    Args:
        surrogate: ``gaussian-process`` or ``trees``.
        n_candidates: Number of candidates for each move.
        local: Share of the candidates that are small steps from the neighbourhood's best.
        uniform: Share of the candidates that are drawn uniformly from the space. The others follow the velocity
            update.
        kappa: Weight of the standard deviation in the lower confidence bound.
        max_results: Largest number of results to learn from: half are the best ones, half the latest.

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
            raise ValueError(
                f"n_candidates and max_results must be >= 2; got {self.n_candidates} and {self.max_results}"
            )
        if not math.isfinite(self.kappa):
            raise ValueError(f"kappa must be finite; got {self.kappa}")
        if not (self.local >= 0 and self.uniform >= 0 and self.local + self.uniform <= 1):
            raise ValueError(
                f"local and uniform must be shares, together at most 1; got {self.local} and {self.uniform}"
            )

    def mix(self, moves: Array, leader: Array, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Replace some of the moves, in place, by the local and the uniform share of candidates.

        Args:
            moves: Positions of the moves, (n, n_dims).
            leader: Position of the neighbourhood's best, (n_dims,).
            rng: Draws the candidates.

        Returns:
            Mask of the local candidates, (n,).
        """
        kind = rng.random(len(moves))
        uniform, local = kind < self.uniform, kind > 1 - self.local
        moves[uniform] = rng.random((int(uniform.sum()), moves.shape[1]))
        moves[local] = local_steps(leader, int(local.sum()), rng)
        return local


@dataclass(frozen=True)
class Results:
    """Results to learn from, all at one fidelity, in the order in which they came.

    Attributes:
        positions: Snapped positions, (n, n_dims).
        values: Values, (n,); inf for failures.
        deviations: Standard deviations of the values' noise, (n,); NaN where unknown.
    """

    positions: Array
    values: Array
    deviations: Array


class Screening:
    """The screening of one swarm's moves: a `Screen`, and the Gaussian process's hyperparameters from fit to fit.

    Args:
        screen: The settings.
        noisy: True if a second evaluation of a configuration gives another value.
    """

    N_TREES = 40
    # Steps of the Gaussian process's fit for each move, and of one to more than 100 results, which hardly change it:
    # half of a suggestion's time is saved, at the same regret on BBOB and BBOB-mixint after 200 evaluations.
    N_STEPS, N_LATE_STEPS = 8, 2

    def __init__(self, screen: Screen, noisy: bool = False) -> None:
        self.screen, self.noisy = screen, noisy
        self._theta: Array | None = None

    def order(self, candidates: Array, results: Results, pending: Array) -> NDArray[np.intp]:
        """Order candidates by their lower confidence bounds. All positions are snapped.

        Args:
            candidates: Positions of the candidates, (n, n_dims).
            results: The results so far.
            pending: Positions of pending moves, (n_pending, n_dims).

        Returns:
            Indices of the candidates, the most promising first, (n,).
        """
        with one_thread():
            mean, deviation = self._predict(candidates, results, pending)
        return np.argsort(mean - self.screen.kappa * deviation, kind="stable")

    def recommend(self, results: Results) -> tuple[int, float]:
        """Return the index of the result with the lowest posterior mean, and that mean as a value."""
        with one_thread():
            # Screening has fitted the hyperparameters, if it knows of the noise.
            steps = 0 if self.noisy and self._theta is not None else self.N_STEPS
            process, selected = self._process(results, steps, noisy=True)
            means = process.predict(results.positions)[0]
        chosen = int(np.argmin(np.where(np.isfinite(results.values), means, np.inf)))
        return chosen, value_at(float(means[chosen]), results.values[selected])

    def _predict(self, candidates: Array, results: Results, pending: Array) -> tuple[Array, Array]:
        if self.screen.surrogate == "trees":
            selected = _select(results.values, self.screen.max_results)
            # Seeded by the number of results, so that a restored swarm grows the trees that it would have grown.
            rng = np.random.default_rng(len(results.values))
            targets = self._targets(results.values[selected], self.noisy)
            predicted = ExtraTrees(results.positions[selected], targets, self.N_TREES, rng).predict(candidates)
            return predicted.mean(axis=0), predicted.std(axis=0)
        steps = self.N_STEPS if len(results.values) <= 100 else self.N_LATE_STEPS
        process, _ = self._process(results, steps, self.noisy)
        self._theta = process.theta
        process.believe(pending)
        return process.predict(candidates)

    def _process(self, results: Results, steps: int, noisy: bool) -> tuple[GaussianProcess, NDArray[np.intp]]:
        """Fit a Gaussian process; return it, and the indices of the results that it learnt from."""
        selected = _select(results.values, self.screen.max_results)
        process = GaussianProcess(
            results.positions[selected],
            self._targets(results.values[selected], noisy),
            self._theta if noisy == self.noisy else None,
            steps,
            noise=MUCH_NOISE if noisy else NOISE,
            bowl=1.0 if noisy else 0.0,
            relative_noise=relative_noise(results.deviations[selected]),
        )
        return process, selected

    @staticmethod
    def _targets(values: Array, noisy: bool) -> Array:
        return normal_scores(values) if noisy else log_gaps(values)

    def get_state(self) -> dict[str, Any]:
        """Return the settings and hyperparameters as JSON values."""
        return {**asdict(self.screen), "theta": None if self._theta is None else self._theta.tolist()}

    @classmethod
    def from_state(cls, state: dict[str, Any], noisy: bool = False) -> Screening:
        """Return the screening that ``get_state`` described."""
        settings = {**state}
        theta = settings.pop("theta")
        screening = cls(Screen(**settings), noisy)
        screening._theta = None if theta is None else np.array(theta)
        return screening


def local_steps(centre: Array, n: int, rng: np.random.Generator) -> Array:
    """Draw normal steps from ``centre``, (n_dims,), in random subsets of the coordinates.

    The standard deviation of a step is log-uniform from 0.01 to 0.3 of the range. In a fifth of the coordinates it is
    three times that, so that categories change too.

    Returns:
        Positions, (n, n_dims); some may be outside the unit cube.
    """
    d = len(centre)
    scale = np.exp(rng.uniform(np.log(0.01), np.log(0.3), (n, 1)))
    # At least 1.5 coordinates change on average.
    changed = rng.random((n, d)) < np.maximum(rng.random((n, 1)), 1.5 / max(d, 1))
    reach = np.where(rng.random((n, d)) < 0.2, 3.0, 1.0)
    steps: Array = centre + np.where(changed, rng.normal(0.0, 1.0, (n, d)) * scale * reach, 0.0)
    return steps


def log_gaps(values: Array) -> Array:
    """Return standardised logarithms of the distances of values, (n,), from the best one.

        y_i = log(value_i - min(value) + median gap)

    The logarithm resolves the good half finely and draws outliers in, and neither the unit nor the zero of the metric
    matters. Failures (inf) count as the worst value.
    """
    failed = np.isinf(values)
    if failed.all():
        return np.zeros(len(values))
    finite = np.clip(np.where(failed, values[~failed].max(), values), -1e300, 1e300)
    gaps = finite - finite.min()
    middle = float(np.median(gaps))
    if middle == 0:  # half of the values equal the best
        middle = float(np.min(gaps, where=gaps > 0, initial=gaps.max())) or 1.0
    logs = np.log(gaps + middle)
    standardised: Array = (logs - logs.mean()) / (logs.std() + 1e-9)
    return standardised


@contextmanager
def one_thread() -> Iterator[None]:
    """Run the linear algebra of a block in one thread, if threadpoolctl (which scikit-learn needs) is installed.

    BLAS's threads wait for each other in busy loops. While trials kept two cores busy, a suggestion at 1,000 results
    took 1.4 s in two threads and 0.04 s in one.
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
    """Return the ascending indices of at most ``at_most`` results: half the best ones, half the latest others."""
    if len(values) <= at_most:
        return np.arange(len(values))
    best = np.argsort(values, kind="stable")[: at_most // 2]
    others = np.setdiff1d(np.arange(len(values)), best)
    return np.sort(np.concatenate([best, others[-(at_most - len(best)) :]]))
