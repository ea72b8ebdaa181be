"""Pareto fronts: which of several alternatives no other one beats in everything, and how good a front is."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def non_dominated(losses: ArrayLike) -> NDArray[np.bool_]:
    """Return which rows are on the Pareto front: no other row is at least as good in every loss and better in one.

    >>> non_dominated([[1, 4], [2, 2], [3, 3]]).tolist()
    [True, True, False]

    Args:
        losses: (n, n_losses); less is better.
    """
    values = np.asarray(losses, dtype=float)
    as_good = (values[:, None] <= values[None]).all(axis=2)  # (n, n): row against column
    better = (values[:, None] < values[None]).any(axis=2)
    return np.logical_not((as_good & better).any(axis=0))


def hypervolume(losses: ArrayLike, reference: ArrayLike) -> float:
    """Return the volume of what is better than a reference point and no better than some row.

    Of more than two losses, rows are added one by one, each with the volume that only it contributes (L. While, L.
    Bradstreet and L. Barone, "A fast way of calculating exact hypervolumes", IEEE Trans. Evol. Comput. 16, 2012: WFG).

    >>> hypervolume([[1, 3], [2, 1]], [4, 4])
    7.0

    Args:
        losses: (n, n_losses); less is better. Rows that are not better than the reference everywhere add nothing.
        reference: (n_losses,), of 2 losses or more.
    """
    limit = np.asarray(reference, dtype=float)
    values = np.asarray(losses, dtype=float).reshape(-1, len(limit))
    values = np.unique(values[(values < limit).all(axis=1)], axis=0)
    front = values[non_dominated(values)]
    if len(limit) == 2:  # steps from the left: each row's first loss goes up, its second one down
        heights = np.concatenate([limit[1:], front[:-1, 1]])[: len(front)] - front[:, 1]
        return float((limit[0] - front[:, 0]) @ heights)
    return sum(
        float(np.prod(limit - row)) - hypervolume(np.maximum(front[number + 1 :], row), limit)
        for number, row in enumerate(front)
    )
