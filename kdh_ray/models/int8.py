"""Linear layers in eight-bit integers, for inference on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Int8Linear(nn.Module):
    """A linear layer that multiplies integers: weights with a scale a row, activations with one a token.

    Vector-wise absmax quantisation (Dettmers et al. 2022, LLM.int8(), arXiv:2208.07339). One scale for all tokens, as
    ``torch.ao.quantization.quantize_dynamic`` has, ruins encoders with outliers (Bondarenko et al. 2021,
    arXiv:2109.12948): all-mpnet-base-v2's activations at separators and full stops reach a hundred times their layer's
    spread, and words are left with no steps.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantized(linear.weight.detach())
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale.T)
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """(..., n_inputs) -> (..., n_outputs)."""
        tokens, scale = quantized(inputs.flatten(0, -2))
        outputs: Tensor = (torch._int_mm(tokens, self.weight.T) * scale).mul_(self.scale)
        if self.bias is not None:
            outputs.add_(self.bias)
        return outputs.view(*inputs.shape[:-1], -1)


def quantized(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Integers from -127 to 127, (n_rows, n), and what one of them is worth in each row, (n_rows, 1)."""
    largest = rows.abs().amax(dim=1, keepdim=True)
    scale = largest.clamp_(min=1e-30) / 127  # rows of zeros stay zero
    return (rows / scale).round_().to(torch.int8), scale


def to_int8(model: nn.Module) -> None:
    """Replace every linear layer of a model."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
