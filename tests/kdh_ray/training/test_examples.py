from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kdh_ray.training.examples import grouped_batches


@settings(deadline=None)
@given(st.lists(st.integers(1, 512), min_size=1, max_size=400), st.integers(1, 33), st.integers(0, 5))
def test_batches_hold_every_document_once(lengths: list[int], size: int, seed: int) -> None:
    batches = grouped_batches(np.array(lengths), size, np.random.default_rng(seed))
    assert sorted(int(i) for batch in batches for i in batch) == list(range(len(lengths)))
    assert all(len(batch) <= size for batch in batches)


def test_batches_save_padding() -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(10, 400, size=640)

    def padded(batches: list[np.ndarray]) -> int:  # type: ignore[type-arg]
        return sum(int(lengths[batch].max()) * len(batch) for batch in batches)

    random = [np.arange(640)[i : i + 16] for i in range(0, 640, 16)]
    assert padded(grouped_batches(lengths, 16, generator)) < 0.7 * padded(random)


def test_order_differs_from_epoch_to_epoch() -> None:
    lengths = np.full(64, 7)
    first, second = (grouped_batches(lengths, 8, np.random.default_rng([0, epoch])) for epoch in (1, 2))
    assert [list(batch) for batch in first] != [list(batch) for batch in second]
