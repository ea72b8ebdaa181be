"""Choose which of many models to average."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Logits = NDArray[np.float32]


def forward_selection(logits: Sequence[Logits], score: Callable[[Logits], float], most: int) -> list[int]:
    """Return the indices of models whose mean logits score best, found greedily, the best single model first.

    Each step adds the model that raises the score of the mean most, and the selection ends where none does (Caruana,
    Niculescu-Mizil, Crew and Ksikes, "Ensemble selection from libraries of models", ICML 2004; here a model is added at
    most once, so that the result is a plain mean of models).

    >>> truth = np.array([[1.0, -1.0]], np.float32)
    >>> models = [truth + [[0, 1]], truth + [[0, -1]], truth + [[5, 5]]]
    >>> forward_selection(models, lambda mean: -float(np.abs(mean - truth).sum()), most=3)
    [0, 1]

    Args:
        logits: Of each model, (n_documents, n_labels).
        score: Maps logits to a score; more is better.
        most: Largest number of models.
    """
    chosen: list[int] = []
    total, best = np.zeros(logits[0].shape, np.float32), -np.inf
    while len(chosen) < min(most, len(logits)):
        left = [index for index in range(len(logits)) if index not in chosen]
        scores = [score((total + logits[index]) / np.float32(len(chosen) + 1)) for index in left]
        if max(scores) <= best:
            break
        best, added = max(scores), left[int(np.argmax(scores))]
        chosen.append(added)
        total = total + logits[added]
    return chosen
