"""Gaussian-process regression with a trend and a Matern 5/2 kernel of one length scale a coordinate, NumPy only.

C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006): algorithm 2.1, eq. 4.17
(kernel), section 2.7 (explicit basis functions with a normal prior: here each coordinate and its square, so that slow
bowls and slopes show through ripples that make the length scales short), eq. 5.8 and 5.9 (marginal likelihood and its
gradient, here with its optimal signal variance put in).
Hyperparameters are the maximum a posteriori that a few Rprop steps (M. Riedmiller and H. Braun, ICNN 1993) find from
where the last fit ended: the steps at each new result add up, and no single suggestion waits for an optimiser.
"""

from __future__ import annotations

import math

import numpy as np

from searchers.parameters import Array

LENGTH_SPREAD, NOISE_SPREAD = 1.0, 2.0  # standard deviations of the prior, in logs
NOISE = math.log(1e-3)  # mode of its prior, over the signal variance
TREND = 1.0  # variance of slopes, and of squares, in a corner of the cube, over the signal variance
STRENGTH = 4.0  # the signal variance's prior counts as so many targets of variance one


class GaussianProcess:
    """A fitted process.

    Args:
        inputs: (n, d) samples in the unit cube.
        targets: (n,) values, standardised.
        theta: Hyperparameters to start from: log length scales, log of noise over signal variance, (d + 1,); None for
            the prior's mode, from where four times as many steps are taken.
        steps: Gradient steps towards better ones.
    """

    def __init__(self, inputs: Array, targets: Array, theta: Array | None, steps: int) -> None:
        self._inputs, self._targets = inputs, targets
        self._trend = _trend(inputs)
        d = inputs.shape[1]
        # Distances in a cube grow with the root of its dimension: so does the prior's length scale.
        self._prior = np.append(np.full(d, math.log(0.5 * math.sqrt(d))), NOISE)
        self._spread = np.append(np.full(d, LENGTH_SPREAD), NOISE_SPREAD)
        self.theta = self._prior.copy() if theta is None else theta
        self._fit(4 * steps if theta is None else steps)
        self._solve()
        self._variance = (float(targets @ self._weights) + STRENGTH) / (len(targets) + STRENGTH)

    def _solve(self) -> None:
        self._known = self._scaled(self._inputs)
        kernel = _matern(_distances(self._known, self._known)) + self._trend @ self._trend.T
        kernel[np.diag_indices(len(kernel))] += self._noise()
        self._root = np.linalg.inv(np.linalg.cholesky(kernel))
        self._weights = self._root.T @ (self._root @ self._targets)

    def believe(self, inputs: Array) -> None:
        """Take what is predicted at ``inputs``, (m, d), for seen: means stay, deviations shrink around them."""
        if len(inputs):
            mean, _ = self.predict(inputs)
            self._inputs, self._targets = np.vstack([self._inputs, inputs]), np.append(self._targets, mean)
            self._trend = np.vstack([self._trend, _trend(inputs)])
            self._solve()

    def _scaled(self, inputs: Array) -> Array:
        return inputs * np.exp(-self.theta[:-1])

    def _noise(self) -> float:
        return math.exp(self.theta[-1]) + 1e-7

    def _fit(self, steps: int) -> None:
        """Rprop: a step a hyperparameter, longer while its slope keeps its sign, halved when it turns."""
        best, least = self.theta, math.inf
        step, last = np.full(len(self.theta), 0.2), np.zeros(len(self.theta))
        for _ in range(steps):
            loss, slope = self._loss()
            if loss < least:
                best, least = self.theta, loss
            turned = slope * last
            step = np.clip(step * np.where(turned > 0, 1.3, np.where(turned < 0, 0.5, 1.0)), 1e-3, 1.0)
            last = np.where(turned < 0, 0.0, slope)
            self.theta = self.theta - step * np.sign(last)
        self.theta = best if self._loss()[0] >= least else self.theta

    def _loss(self) -> tuple[float, Array]:
        """Negative log posterior of ``theta``, up to a constant, and its gradient."""
        n, scaled = len(self._targets), self._scaled(self._inputs)
        distance = _distances(scaled, scaled)
        decay, kernel = np.exp(-distance), _matern(distance) + self._trend @ self._trend.T
        kernel[np.diag_indices(n)] += self._noise()
        try:
            factor = np.linalg.cholesky(kernel)
        except np.linalg.LinAlgError:
            return math.inf, np.zeros(len(self.theta))
        inverse = np.linalg.inv(kernel)
        weights = inverse @ self._targets
        fit = float(self._targets @ weights) + STRENGTH
        away = (self.theta - self._prior) / self._spread
        loss = 0.5 * (n + STRENGTH) * math.log(fit) + float(np.log(np.diag(factor)).sum()) + 0.5 * float(away @ away)
        outer = 0.5 * inverse - 0.5 * (n + STRENGTH) / fit * np.outer(weights, weights)  # d loss / d kernel
        pull = outer * (5 / 3) * (1 + distance) * decay
        moment = pull.sum(axis=1) @ (scaled * scaled) - (scaled * (pull @ scaled)).sum(axis=0)
        slope = np.append(2 * moment, np.trace(outer) * math.exp(self.theta[-1]))
        return loss, slope + away / self._spread

    def predict(self, inputs: Array) -> tuple[Array, Array]:
        """(m, d) -> mean (m,), standard deviation of the noise-free function (m,)."""
        trend = _trend(inputs)
        cross = _matern(_distances(self._scaled(inputs), self._known)) + trend @ self._trend.T
        reduced = cross @ self._root.T
        spread = self._variance * (1.0 + (trend * trend).sum(axis=1) - (reduced * reduced).sum(axis=1))
        mean: Array = cross @ self._weights
        return mean, np.sqrt(np.maximum(spread, 1e-12))


def _trend(inputs: Array) -> Array:
    """(m, d) -> (m, 2 d): the trend's basis functions, scaled by their prior; their products are its covariance."""
    centred = 2 * inputs - 1
    features: Array = np.hstack([centred, centred * centred]) * math.sqrt(TREND / inputs.shape[1])
    return features


def _distances(left: Array, right: Array) -> Array:
    """(m, d), (n, d) -> (m, n): the root of 5 times the Euclidean distance."""
    squared = (left * left).sum(1)[:, None] + (right * right).sum(1)[None, :] - 2 * left @ right.T
    distances: Array = np.sqrt(5 * np.maximum(squared, 0.0))
    return distances


def _matern(distance: Array) -> Array:
    kernel: Array = (1 + distance + distance * distance / 3) * np.exp(-distance)
    return kernel
