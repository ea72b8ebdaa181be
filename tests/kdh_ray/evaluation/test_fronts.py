"""Pareto fronts and their hypervolume."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdh_ray.evaluation.fronts import hypervolume, non_dominated


def test_front_keeps_equals():
    assert non_dominated([[1, 2], [1, 2], [2, 1], [3, 3]]).tolist() == [True, True, True, False]


@pytest.mark.parametrize(
    ("losses", "reference", "volume"),
    [
        ([], [1, 1], 0.0),
        ([[0.5, 0.5]], [1, 1], 0.25),
        ([[0.5, 1.0], [2, 0]], [1, 1], 0.0),  # not better than the reference
        ([[1, 3], [2, 1], [3, 3]], [4, 4], 7.0),
        ([[0, 1, 1], [1, 0, 1], [1, 1, 0]], [2, 2, 2], 4.0),
    ],
)
def test_hypervolume_of_known_fronts(losses, reference, volume):
    assert hypervolume(losses, reference) == pytest.approx(volume)


def test_hypervolume_nears_that_of_a_continuous_front():
    xs = np.linspace(0, 1, 501)
    assert hypervolume(np.c_[xs, 1 - np.sqrt(xs)], [1, 1]) == pytest.approx(2 / 3, abs=3e-3)  # ZDT1
    assert hypervolume(np.c_[xs, 1 - xs**2], [1, 1]) == pytest.approx(1 / 3, abs=3e-3)  # ZDT2


@given(st.lists(st.tuples(*[st.integers(0, 6)] * 3), max_size=8))
def test_hypervolume_counts_dominated_cells(rows):
    cells = np.indices((5, 5, 5)).reshape(3, -1).T  # of side 1, up to the reference
    covered = sum(any((np.array(row) <= cell).all() for row in rows) for cell in cells)
    assert hypervolume(rows, [5, 5, 5]) == covered
