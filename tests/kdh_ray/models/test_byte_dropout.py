"""Dropout by random bytes has the rate, mean and gradient of dropout."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from kdh_ray.models.byte_dropout import ByteDropout, use_byte_dropout


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_share_is_zeroed_and_mean_kept(rate: float) -> None:
    torch.manual_seed(0)
    output = ByteDropout(rate)(torch.ones(300_001))
    assert float((output == 0).float().mean()) == pytest.approx(rate, abs=0.005)
    assert float(output.mean()) == pytest.approx(1.0, abs=0.02)
    assert len(output.unique()) == 2


def test_every_position_is_equally_likely() -> None:
    """A random word provides eight bytes, which must be zeroed equally often."""
    torch.manual_seed(0)
    zeroed = (ByteDropout(0.25)(torch.ones(100_000, 8)) == 0).float().mean(0)
    torch.testing.assert_close(zeroed, torch.full((8,), 0.25), atol=0.01, rtol=0)


def test_gradient_has_the_same_mask() -> None:
    torch.manual_seed(0)
    value = torch.ones(1000, requires_grad=True)
    output = ByteDropout(0.3)(value)
    output.sum().backward()
    assert torch.equal(value.grad, output.detach())


@pytest.mark.parametrize(("rate", "training"), [(0.3, False), (0.0, True)])
def test_evaluation_and_rate_zero_change_nothing(rate: float, training: bool) -> None:
    value = torch.randn(100)
    assert torch.equal(ByteDropout(rate).train(training)(value), value)


def test_seed_repeats_the_mask() -> None:
    def draw() -> torch.Tensor:
        torch.manual_seed(7)
        return ByteDropout(0.5)(torch.ones(64, dtype=torch.bfloat16))

    assert torch.equal(draw(), draw())
    assert draw().dtype == torch.bfloat16


def test_dropout_at_any_depth_is_replaced() -> None:
    model = nn.Sequential(nn.Dropout(0.2), nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.4)))
    use_byte_dropout(model)
    found = [module for module in model.modules() if isinstance(module, nn.Dropout)]
    assert [type(module) for module in found] == [ByteDropout, ByteDropout]
    assert [module.p for module in found] == [0.2, 0.4]
