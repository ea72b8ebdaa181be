"""Gaussian-process regression with a Matern 5/2 kernel and one length scale a coordinate, NumPy only.

C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006): algorithm 2.1, eq. 4.17
(kernel) and eq. 5.8 (marginal likelihood, here with its optimal signal variance put in). Hyperparameters are the
maximum a posteriori of a short random search from where the last fit ended: its few steps at each new result add up,
and no single suggestion waits for an optimiser.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from searchers.parameters import Array


@dataclass
class _Fit:
    theta: Array  # log length scales (n_dims), log noise variance over signal variance
    loss: float
    factor: NDArray[np.floating[Any]]  # lower Cholesky factor of the kernel matrix
    weights: NDArray[np.floating[Any]]
    variance: float


class GaussianProcess:
    """A fitted process.

    Args:
        inputs: (n, d) samples in the unit cube.
        targets: (n,) values, standardised.
        theta: Hyperparameters to start from, (d + 1,); None for the prior's mode.
        steps: Trials of the search for better ones.
        rng: Draws the steps.
    """

    def __init__(
        self, inputs: Array, targets: Array, theta: Array | None, steps: int, rng: np.random.Generator
    ) -> None:
        self._inputs, self._targets = inputs, targets
        d = inputs.shape[1]
        # Distances in a cube grow with sqrt(d): so does the prior's length scale.
        self._prior = np.append(np.full(d, math.log(0.5 * math.sqrt(d))), math.log(1e-2))
        start = self._prior if theta is None else theta
        best = self._try(start)
        if theta is None:
            for shift in (-1.5, -0.75, 0.75):
                shifted = start + np.append(np.full(d, shift), 0.0)
                best = min(best, self._try(shifted), key=lambda fit: fit.loss)
        for _ in range(steps):
            changed = rng.random(d + 1) < max(1.5 / (d + 1), 0.15)
            step = np.where(changed, rng.normal(0.0, 0.7, d + 1), 0.0)
            best = min(best, self._try(best.theta + step), key=lambda fit: fit.loss)
        self._best = best

    @property
    def theta(self) -> Array:
        return self._best.theta

    def _kernel(self, left: Array, right: Array, theta: Array) -> Array:
        scale = np.exp(-theta[:-1])
        a, b = left * scale, right * scale
        squared = (a * a).sum(1)[:, None] + (b * b).sum(1)[None, :] - 2 * a @ b.T
        distance = np.sqrt(5 * np.maximum(squared, 0.0))
        kernel: Array = (1 + distance + distance * distance / 3) * np.exp(-distance)
        return kernel

    def _try(self, theta: Array) -> _Fit:
        n = len(self._targets)
        kernel = self._kernel(self._inputs, self._inputs, theta)
        kernel[np.diag_indices(n)] += math.exp(theta[-1]) + 1e-8
        try:
            factor = np.linalg.cholesky(kernel)
        except np.linalg.LinAlgError:
            return _Fit(theta, math.inf, kernel, self._targets, 1.0)
        weights = np.linalg.solve(factor, self._targets)
        variance = max(float(weights @ weights) / n, 1e-6)
        prior = 0.5 * float((((theta - self._prior) / np.append(np.full(len(theta) - 1, 1.5), 2.0)) ** 2).sum())
        loss = 0.5 * n * math.log(variance) + float(np.log(np.diag(factor)).sum()) + prior
        return _Fit(theta, loss, factor, weights, variance)

    def predict(self, inputs: Array) -> tuple[Array, Array]:
        """(m, d) -> mean (m,), standard deviation of the noise-free function (m,)."""
        fit = self._best
        cross = np.linalg.solve(fit.factor, self._kernel(self._inputs, inputs, fit.theta))
        spread = fit.variance * (1.0 - (cross * cross).sum(axis=0))
        return cross.T @ fit.weights, np.sqrt(np.maximum(spread, 1e-12))
