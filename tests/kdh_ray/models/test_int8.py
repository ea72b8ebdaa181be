"""Linear layers with eight-bit integers stay close to exact ones, with outliers, too."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kdh_ray.models.int8 import Int8Linear, quantize_rows, to_int8


@settings(deadline=None)
@given(
    rows=st.integers(1, 5),
    width=st.integers(1, 9),
    exponents=st.lists(st.integers(-20, 20), min_size=5, max_size=5),
    seed=st.integers(0, 99),
)
def test_error_is_at_most_half_a_step(rows: int, width: int, exponents: list[int], seed: int) -> None:
    magnitudes = torch.tensor([[10.0**exponent] for exponent in exponents[:rows]])
    numbers = torch.randn(rows, width, generator=torch.Generator().manual_seed(seed)) * magnitudes
    integers, scale = quantize_rows(numbers)
    assert integers.dtype == torch.int8
    assert int(integers.abs().max()) == 127
    assert bool(((integers * scale - numbers).abs() <= 0.5001 * scale).all())


def test_outlier_token_leaves_other_tokens_exact() -> None:
    torch.manual_seed(0)
    linear, words = nn.Linear(64, 32), torch.randn(2, 10, 64)
    words[:, 0] *= 1000  # as the separators of large encoders
    with torch.inference_mode():
        exact, coarse = linear(words), Int8Linear(linear)(words)
    assert coarse.shape == (2, 10, 32)
    error = (coarse - exact).norm(dim=-1) / exact.norm(dim=-1)
    assert 0 < error.max() < 0.03


@pytest.mark.parametrize("bias", [True, False])
def test_zeros_map_to_the_bias(bias: bool) -> None:
    linear = nn.Linear(8, 3, bias=bias)
    wanted = linear.bias.expand(4, 3) if bias else torch.zeros(4, 3)
    with torch.inference_mode():
        assert torch.equal(Int8Linear(linear)(torch.zeros(4, 8)), wanted)


def test_every_linear_layer_is_replaced() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)))
    to_int8(model)
    assert [type(module).__name__ for module in model.modules() if not list(module.children())] == [
        "Int8Linear", "LayerNorm", "Int8Linear",
    ]  # fmt: skip
    assert [name for name, weight in model.state_dict().items() if weight.dtype == torch.int8] == [
        "0.weight", "1.1.weight",
    ]  # fmt: skip
