"""Gaussian-process regression in NumPy, with a trend and a Matern 5/2 kernel with one length scale per coordinate.

The equations are those of C. E. Rasmussen and C. K. I. Williams, "Gaussian Processes for Machine Learning" (2006):
algorithm 2.1; the kernel of eq. 4.17; explicit basis functions with a normal prior of section 2.7; the marginal
likelihood of eq. 5.8 and its gradient, eq. 5.9, with the optimal signal variance inserted. The basis functions are each
coordinate and its square, which fit slow bowls and slopes under ripples that make the length scales short.

Hyperparameters are maximum a posteriori estimates, by a few steps of Rprop (M. Riedmiller and H. Braun, ICNN 1993) from
where the last fit ended. The steps at each new result add up, and no suggestion waits for an optimiser to converge.
"""

from __future__ import annotations

import math

import numpy as np

from searchers.parameters import Array

LENGTH_SPREAD, NOISE_SPREAD = 1.0, 2.0  # standard deviations of the log-normal priors
NOISE = math.log(1e-3)  # mode of the prior of noise variance / signal variance, as a logarithm
MUCH_NOISE = 2.0  # the same for values that are known to be noisy
TREND = 1.0  # prior variance of the slopes', and of the squares', sum in a corner of the cube / signal variance
STRENGTH = 4.0  # weight of the signal variance's prior: that of so many targets of variance 1


class GaussianProcess:
    """A fitted process.

    Args:
        inputs: Samples in the unit cube, (n, d).
        targets: Standardised values, (n,).
        theta: Hyperparameters to start the fit from, (d + 1,): logarithms of the length scales, and of noise variance /
            signal variance. None for the mode of the prior, from which four times as many steps are taken.
        steps: Number of gradient steps of the fit.
        noise: Mode of the prior of noise variance / signal variance, as a logarithm.
        bowl: Standard deviation, as a multiple of the signal's, of a prior mean that is lowest in the middle of the
            cube: ranges are chosen around good values, so that of points that the data can't tell apart, the one nearer
            to the middle is likelier good (M.-L. Cauwet et al., "Fully parallel hyperparameter search", ICML 2020).
        relative_noise: Noise variance of each sample as a multiple of the fitted one, (n,); by default 1 for all.

    Attributes:
        theta: Fitted hyperparameters, (d + 1,).
    """

    def __init__(
        self,
        inputs: Array,
        targets: Array,
        theta: Array | None,
        steps: int,
        *,
        noise: float = NOISE,
        bowl: float = 0.0,
        relative_noise: Array | None = None,
    ) -> None:
        self._inputs, self._targets = inputs, targets
        self._relative_noise = np.ones(len(targets)) if relative_noise is None else relative_noise
        self._trend = _trend(inputs)
        d = inputs.shape[1]
        # Distances in a cube grow with the root of its dimension, and so does the prior's length scale.
        self._prior = np.append(np.full(d, math.log(0.5 * math.sqrt(d))), noise)
        self._spread = np.append(np.full(d, LENGTH_SPREAD), NOISE_SPREAD)
        self.theta = self._prior.copy() if theta is None else theta
        self._bowl = 0.0
        self._fit(4 * steps if theta is None else steps)
        self._solve()
        # The signal variance at its maximum a posteriori: (y^T K^-1 y + s) / (n + s), with s = STRENGTH
        self._variance = (float(targets @ self._weights) + STRENGTH) / (len(targets) + STRENGTH)
        self._bowl = bowl * math.sqrt(self._variance)
        if bowl:
            self._solve()

    def _solve(self) -> None:
        """Factorise the kernel matrix, (n, n), and solve for the weights K^-1 y, (n,) (algorithm 2.1)."""
        self._scaled_inputs = self._scaled(self._inputs)
        kernel = _matern(_distances(self._scaled_inputs, self._scaled_inputs)) + self._trend @ self._trend.T
        kernel[np.diag_indices(len(kernel))] += self._noise()
        self._root = np.linalg.inv(np.linalg.cholesky(kernel))
        self._weights = self._root.T @ (self._root @ (self._targets - self._prior_mean(self._inputs)))

    def believe(self, inputs: Array) -> None:
        """Add the predictions at ``inputs``, (m, d), to the samples: means stay, deviations shrink around them."""
        if len(inputs):
            mean, _ = self.predict(inputs)
            self._inputs, self._targets = np.vstack([self._inputs, inputs]), np.append(self._targets, mean)
            self._trend = np.vstack([self._trend, _trend(inputs)])
            self._relative_noise = np.append(self._relative_noise, np.ones(len(inputs)))
            self._solve()

    def _prior_mean(self, inputs: Array) -> Array:
        """Return the prior mean at ``inputs``, (m, d), (m,): sum_j (c_j^2 - 1/3), with c from -1 to 1, scaled.

        Over the cube, c_j^2 has mean 1/3 and variance 4/45. Coordinates of categories are 0 or 1, so that c_j^2 is 1.
        """
        centred = 2 * inputs - 1
        mean: Array = self._bowl * (centred * centred - 1 / 3).sum(axis=1) / math.sqrt(4 / 45 * inputs.shape[1])
        return mean

    def _scaled(self, inputs: Array) -> Array:
        return inputs * np.exp(-self.theta[:-1])

    def _noise(self) -> Array:
        """Return the noise variance of each sample / signal variance, (n,)."""
        noise: Array = math.exp(self.theta[-1]) * self._relative_noise + 1e-7
        return noise

    def _fit(self, steps: int) -> None:
        """Minimise the loss by Rprop: each hyperparameter's step grows while its slope keeps its sign, else halves."""
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
        """Return the negative log posterior of ``theta``, up to a constant, and its gradient, (d + 1,)."""
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
        # eq. 5.8 with the optimal signal variance, and priors: (n + s)/2 log(y^T K^-1 y + s) + log|K|/2 + |away|^2/2
        loss = 0.5 * (n + STRENGTH) * math.log(fit) + float(np.log(np.diag(factor)).sum()) + 0.5 * float(away @ away)
        outer = 0.5 * inverse - 0.5 * (n + STRENGTH) / fit * np.outer(weights, weights)  # d loss / d K
        # d k / d log(length_i) = (5/3) (1 + r) exp(-r) (x_i - x'_i)^2 / length_i^2, with r of _distances
        pull = outer * (5 / 3) * (1 + distance) * decay
        moment = pull.sum(axis=1) @ (scaled * scaled) - (scaled * (pull @ scaled)).sum(axis=0)
        # d K / d log(noise) is the diagonal matrix of the noise variances.
        slope = np.append(2 * moment, np.diag(outer) @ self._relative_noise * math.exp(self.theta[-1]))
        return loss, slope + away / self._spread

    def predict(self, inputs: Array) -> tuple[Array, Array]:
        """Return the mean, (m,), and standard deviation, (m,), of the noise-free function at ``inputs``, (m, d)."""
        trend = _trend(inputs)
        cross = _matern(_distances(self._scaled(inputs), self._scaled_inputs)) + trend @ self._trend.T
        reduced = cross @ self._root.T
        # eq. 2.26: k(x, x) - k_x^T K^-1 k_x, times the signal variance
        spread = self._variance * (1.0 + (trend * trend).sum(axis=1) - (reduced * reduced).sum(axis=1))
        mean: Array = self._prior_mean(inputs) + cross @ self._weights
        return mean, np.sqrt(np.maximum(spread, 1e-12))


def _trend(inputs: Array) -> Array:
    """Return the basis functions of the trend at ``inputs``, (m, d), scaled by their prior: (m, 2 d).

    Their scalar products are the trend's covariance.
    """
    centred = 2 * inputs - 1
    features: Array = np.hstack([centred, centred * centred]) * math.sqrt(TREND / inputs.shape[1])
    return features


def _distances(left: Array, right: Array) -> Array:
    """Return sqrt(5) times the Euclidean distances of ``left``, (m, d), to ``right``, (n, d): (m, n)."""
    squared = (left * left).sum(1)[:, None] + (right * right).sum(1)[None, :] - 2 * left @ right.T
    distances: Array = np.sqrt(5 * np.maximum(squared, 0.0))
    return distances


def _matern(distance: Array) -> Array:
    """Return the Matern 5/2 kernel (1 + r + r^2 / 3) exp(-r), eq. 4.17, at r of `_distances`."""
    kernel: Array = (1 + distance + distance * distance / 3) * np.exp(-distance)
    return kernel
