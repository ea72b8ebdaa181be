"""Tuned thresholds are the best possible ones on the data that they were tuned on."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from kdh_ray.errors import DataError
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import TUNABLE, tune_global, tune_per_label

SHAPES = st.tuples(st.integers(1, 8), st.integers(1, 4))
# Few distinct values make ties; neighbouring floats leave no number between them.
VALUES = st.one_of(
    st.sampled_from([0.0, 1e-310, 0.25, 0.5, np.nextafter(0.5, 1.0), 0.75, np.nextafter(1.0, 0.0), 1.0]),
    st.floats(0.0, 1.0),
)
PAIRS = SHAPES.flatmap(
    lambda shape: st.tuples(arrays(np.int8, shape, elements=st.integers(0, 1)), arrays(float, shape, elements=VALUES))
)


@pytest.mark.parametrize("metric", TUNABLE)
@settings(max_examples=40, deadline=None)
@given(data=st.data(), pair=PAIRS)
def test_tuned_threshold_beats_any_fixed_one(
    metric: str, data: st.DataObject, pair: tuple[NDArray[np.int8], NDArray[np.float64]]
) -> None:
    targets, probabilities = pair
    fixed = data.draw(st.one_of(st.sampled_from(probabilities.ravel().tolist()), VALUES))
    tuned = score(targets, probabilities, tune_global(targets, probabilities, metric))[metric]
    assert tuned >= score(targets, probabilities, fixed)[metric] - 1e-9


@pytest.mark.parametrize("metric", ["f1_micro", "f1_macro"])
@settings(max_examples=40, deadline=None)
@given(pair=PAIRS)
def test_unshrunken_label_thresholds_beat_the_global_one(
    metric: str, pair: tuple[NDArray[np.int8], NDArray[np.float64]]
) -> None:
    targets, probabilities = pair
    best = score(targets, probabilities, tune_global(targets, probabilities, metric))[metric]
    own = tune_per_label(targets, probabilities, shrink=0.0, metric=metric)
    assert score(targets, probabilities, own)[metric] >= best - 1e-9


@settings(max_examples=40, deadline=None)
@given(pair=PAIRS, shrink=st.floats(0.0, 1e6))
def test_label_thresholds_lie_between_own_and_global(
    pair: tuple[NDArray[np.int8], NDArray[np.float64]], shrink: float
) -> None:
    shared, own = tune_global(*pair), tune_per_label(*pair, shrink=0.0)
    thresholds = tune_per_label(*pair, shrink=shrink)
    assert (thresholds >= np.minimum(own, shared) - 1e-9).all()
    assert (thresholds <= np.maximum(own, shared) + 1e-9).all()


def test_micro_label_thresholds_are_the_exact_optimum() -> None:
    generator = np.random.default_rng(0)
    targets = generator.integers(0, 2, (6, 2))
    probabilities = generator.random((6, 2))
    grid = [*probabilities.ravel(), 1.1]
    predictions = [probabilities >= (a, b) for a in grid for b in grid]
    best = max(2 * (predicted & targets).sum() / (predicted.sum() + targets.sum()) for predicted in predictions)
    own = tune_per_label(targets, probabilities, shrink=0.0)
    assert score(targets, probabilities, own)["f1_micro"] == pytest.approx(best)


def test_threshold_lies_midway_between_probabilities() -> None:
    assert tune_global([[1], [1], [0]], [[0.9], [0.4], [0.2]]) == pytest.approx(0.3)


def test_shrinkage_weighs_own_threshold_by_support() -> None:
    targets = np.array([[1, 0], [1, 0], [0, 1], [0, 0]])
    probabilities = np.array([[0.9, 0.1], [0.8, 0.1], [0.1, 0.3], [0.1, 0.1]])
    own, shared = tune_per_label(targets, probabilities, 0.0), tune_global(targets, probabilities)
    expected = (np.array([2, 1]) * own + 4 * shared) / (np.array([2, 1]) + 4)
    assert tune_per_label(targets, probabilities, shrink=4.0) == pytest.approx(expected)
    assert tune_per_label(targets, probabilities, shrink=np.inf) == pytest.approx([shared, shared])


def test_label_without_positives_takes_the_global_threshold() -> None:
    targets, probabilities = [[1, 0], [0, 0]], [[0.8, 0.7], [0.3, 0.6]]
    assert tune_per_label(targets, probabilities, shrink=0.0)[1] == tune_global(targets, probabilities)


def test_no_positive_at_all_leaves_one_half() -> None:
    assert tune_global(np.zeros((3, 2)), np.full((3, 2), 0.2)) == 0.5
    assert tune_per_label(np.zeros((3, 2)), np.full((3, 2), 0.2)).tolist() == [0.5, 0.5]


def test_unknown_metric_and_negative_shrinkage_are_refused() -> None:
    with pytest.raises(DataError, match="got 'hamming_loss'"):
        tune_global([[1]], [[0.5]], "hamming_loss")
    with pytest.raises(DataError, match="at least 0; got -1"):
        tune_per_label([[1]], [[0.5]], shrink=-1)
    with pytest.raises(DataError, match="at least 0; got nan"):
        tune_per_label([[1]], [[0.5]], shrink=float("nan"))
    with pytest.raises(DataError, match="f1_micro or f1_macro; got 'f1_blue'"):
        tune_per_label([[1]], [[0.5]], metric="f1_blue")
