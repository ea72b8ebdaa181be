"""Greedy choice of the models to average."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kdh_ray.evaluation.forward_selection import Logits, forward_selection


def score(logits: Logits) -> float:
    """Return the accuracy of the signs where every pair is true."""
    return float((logits > 0).mean())


@given(st.integers(1, 6), st.integers(1, 8), st.integers(0, 10_000))
def test_mean_is_never_worse_than_the_best_single(models: int, most: int, seed: int) -> None:
    logits = list(np.random.default_rng(seed).normal(0.2, 1, (models, 12, 3)).astype(np.float32))
    chosen = forward_selection(logits, score, most)
    assert len(set(chosen)) == len(chosen) <= most
    best = max(score(each) for each in logits)
    assert score(logits[chosen[0]]) == best
    assert score(np.asarray(np.mean([logits[index] for index in chosen], axis=0), np.float32)) >= best
    assert (len(chosen) == 1) or score(np.asarray(sum(logits[index] for index in chosen), np.float32)) > best


def test_models_that_err_elsewhere_are_added() -> None:
    right_on_first = np.array([[3.0, -1.0]], np.float32)
    right_on_second = np.array([[-1.0, 3.0]], np.float32)
    wrong = np.array([[-9.0, -9.0]], np.float32)
    assert forward_selection([wrong, right_on_first, right_on_second], score, 3) == [1, 2]
