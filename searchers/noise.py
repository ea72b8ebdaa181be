"""Noisy values: a choice by the posterior mean of all results, in place of the luckiest single value.

The lowest of many noisy values is too low: it owes its rank to chance ("optimizer's curse", J. E. Smith and R. L.
Winkler, Management Science 52, 2006). A Gaussian process over all results shares what neighbours have measured, and
its mean is judged instead ("effective best solution", D. Huang et al., "Global optimization of stochastic black-box
systems via sequential kriging meta-models", J. Global Optim. 34, 2006).
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from searchers.parameters import Array

_NORMAL = NormalDist()


def normal_scores(values: Array) -> Array:
    """Return the van der Waerden scores of values, (n,): the normal quantiles of their ranks.

        z_i = Phi^-1((rank_i - 1/2) / n)

    Ranks make the scores independent of the metric's unit, and of outliers, which noise makes both ways. Equal values
    share their mean rank. Failures (inf) count as the worst value.
    """
    ordered, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    middle = (ends - counts / 2) / len(values)  # (mean rank - 1/2) / n of each distinct value
    if len(ordered) == 1:
        return np.zeros(len(values))
    scores: Array = np.array([_NORMAL.inv_cdf(share) for share in middle])[index]
    return scores


def value_at(score: float, values: Array) -> float:
    """Return the value whose normal score among ``values``, (n,), is ``score``: the inverse of `normal_scores`."""
    finite = values[np.isfinite(values)]
    order = np.argsort(finite)
    return float(np.interp(score, normal_scores(finite)[order], finite[order]))


def relative_noise(deviations: Array) -> Array:
    """Return noise variances as multiples of their median, (n,).

    Args:
        deviations: Standard deviation of each value, (n,); NaN where it is unknown, which counts as the median.
    """
    known = np.isfinite(deviations) & (deviations > 0)
    if not known.any():
        return np.ones(len(deviations))
    multiples = np.where(known, deviations, 1.0) / np.median(deviations[known])
    return np.where(known, np.maximum(multiples, 1e-2) ** 2, 1.0)
