"""Dropout whose masks cost little on CPUs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class ByteDropout(nn.Dropout):
    """Dropout that decides by one random byte an element.

    PyTorch draws a float for each element, one at a time: a twentieth of a training step on a CPU. Here the rate is
    rounded to a 256th, and the elements kept are scaled by what that makes exact. Off CPUs it is ``nn.Dropout``.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Zero a random share ``p`` of the elements in training, and scale the others."""
        threshold = round(256 * self.p)
        if not self.training or threshold == 0 or input.device.type != "cpu":
            return super().forward(input)
        return _Masked.apply(input, _mask(input, threshold))  # type: ignore[no-untyped-call, no-any-return]


def _mask(like: Tensor, threshold: int) -> Tensor:
    """Zero where a random byte is below ``threshold``, the inverse of the share kept elsewhere; shape and format of
    ``like``."""
    words = torch.empty((like.numel() + 7) // 8, dtype=torch.int64).random_(-(2**63), None)
    kept = words.view(torch.uint8)[: like.numel()].view(like.shape) >= threshold
    return kept.to(like.dtype).mul_(256 / (256 - threshold)) if threshold < 256 else torch.zeros_like(like)


class _Masked(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, input: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return input * mask

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (mask,) = ctx.saved_tensors
        return gradients[0] * mask, None


def use_byte_dropout(model: nn.Module) -> None:
    """Replace every ``nn.Dropout`` within ``model``."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if type(child) is nn.Dropout:
                setattr(parent, name, ByteDropout(child.p))
