"""Extremely randomised regression trees in NumPy, all grown together, level by level.

P. Geurts, D. Ernst, L. Wehenkel, "Extremely randomized trees", Machine Learning 63 (2006). Every tree sees every
sample. A node draws one threshold per feature, uniformly between the node's extremes, and splits by the feature whose
threshold reduces the variance most (K = all features). Leaves are pure.

A search needs small forests, and often. Growing the trees together takes a quarter of scikit-learn's time at 100
samples, and needs no scikit-learn.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from searchers.parameters import Array

_LEAF = -1


class ExtraTrees:
    """A fitted forest.

    Args:
        inputs: Samples, (n, d).
        targets: Values, (n,).
        n_trees: Number of trees.
        rng: Draws the thresholds.
    """

    def __init__(self, inputs: Array, targets: Array, n_trees: int, rng: np.random.Generator) -> None:
        n = len(inputs)
        self._n_trees = n_trees
        self._features: list[NDArray[np.intp]] = []
        self._thresholds: list[Array] = []
        self._children: list[NDArray[np.intp]] = []
        self._values: list[Array] = []
        rows = np.tile(np.arange(n), n_trees)  # indices of samples, grouped by node, (n * n_trees,)
        starts = np.arange(n_trees) * n  # start of each node's group in ``rows``, (n_nodes,)
        first = n_trees  # index of the next level's first node
        while len(starts):
            rows, starts = self._grow(inputs, targets, rows, starts, first, rng)
            first += len(starts)
        self._feature, self._threshold = np.concatenate(self._features), np.concatenate(self._thresholds)
        self._child, self._value = np.concatenate(self._children), np.concatenate(self._values)

    def _grow(
        self,
        inputs: Array,
        targets: Array,
        rows: NDArray[np.intp],
        starts: NDArray[np.intp],
        first: int,
        rng: np.random.Generator,
    ) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Split the nodes of one level; return the rows and starts of the next."""
        x, y = inputs[rows], targets[rows]
        counts = np.diff(np.append(starts, len(rows)))
        node = np.repeat(np.arange(len(starts)), counts)  # of each row
        low, high = np.minimum.reduceat(x, starts), np.maximum.reduceat(x, starts)
        threshold = low + rng.random(low.shape) * (high - low)
        left = x < threshold[node]
        n_left = np.add.reduceat(left, starts, dtype=float)
        total = np.add.reduceat(y, starts)
        sum_left = np.add.reduceat(np.where(left, y[:, None], 0.0), starts)
        # Minimising the variance within the children is maximising (sum y_left)^2 / n_left + (sum y_right)^2 / n_right.
        n_right, sum_right = counts[:, None] - n_left, total[:, None] - sum_left
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = sum_left**2 / n_left + sum_right**2 / n_right
        gain[(n_left == 0) | (n_right == 0)] = -np.inf
        feature = np.argmax(gain, axis=1)
        nodes = np.arange(len(starts))
        pure = np.minimum.reduceat(y, starts) == np.maximum.reduceat(y, starts)
        leaf = pure | ~np.isfinite(gain[nodes, feature])
        self._features.append(np.where(leaf, _LEAF, feature))
        self._thresholds.append(threshold[nodes, feature])
        self._children.append(np.where(leaf, 0, first + 2 * (np.cumsum(~leaf) - 1)))
        self._values.append(total / counts)

        # Order the rows by node, left child first, without those of leaves.
        kept = ~leaf[node]
        goes_left = left[np.arange(len(rows)), feature[node]]
        order = np.flatnonzero(kept)[np.lexsort((~goes_left[kept], node[kept]))]
        split = np.flatnonzero(~leaf)
        lefts = n_left[split, feature[split]].astype(np.intp)
        sizes = np.column_stack([lefts, counts[split] - lefts]).reshape(-1)
        return rows[order], np.cumsum(sizes) - sizes

    def predict(self, inputs: Array) -> Array:
        """Return each tree's predictions at ``inputs``, (m, d), as an array (n_trees, m)."""
        columns = np.arange(len(inputs))[None, :]
        node = np.repeat(np.arange(self._n_trees)[:, None], len(inputs), axis=1)
        while True:
            feature = self._feature[node]
            inner = feature != _LEAF
            if not inner.any():
                return self._value[node]
            right = inputs[columns, np.where(inner, feature, 0)] >= self._threshold[node]
            node = np.where(inner, self._child[node] + right, node)
