"""Linear layers with eight-bit integers, for inference on a CPU."""

from __future__ import annotations

import torch
from torch import Tensor, nn

LARGEST_INTEGER = 127
SMALLEST = 1e-30  # in place of the largest value of a row of zeros, which stays zero


class Int8Linear(nn.Module):
    """Linear layer that multiplies integers: one scale per row of the weights, one per token of the activations.

    ``y = (X_int8 W_int8^T) * s_x * s_w + b``, vector-wise absmax quantisation (Dettmers et al. 2022, LLM.int8(),
    arXiv:2208.07339, section 3.1). One scale for all tokens, as in ``torch.ao.quantization.quantize_dynamic``, ruins
    encoders with outliers (Bondarenko et al. 2021, arXiv:2109.12948): in all-mpnet-base-v2, activations at separators
    and full stops reach a hundred times the spread of their layer, which leaves too few steps for words.

    Args:
        linear: The layer whose weights are quantised.
    """

    weight: Tensor
    scale: Tensor

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        weight, scale = quantize_rows(linear.weight.detach())
        self.register_buffer("weight", weight)  # (n_outputs, n_inputs) int8
        self.register_buffer("scale", scale.T)  # (1, n_outputs)
        self.bias = linear.bias

    def forward(self, inputs: Tensor) -> Tensor:
        """Map (..., n_inputs) to (..., n_outputs)."""
        tokens, scale = quantize_rows(inputs.flatten(0, -2))  # (n_tokens, n_inputs) int8, (n_tokens, 1)
        products = torch._int_mm(tokens, self.weight.T)  # (n_tokens, n_outputs) int32
        outputs: Tensor = (products * scale).mul_(self.scale)
        if self.bias is not None:
            outputs.add_(self.bias)
        return outputs.view(*inputs.shape[:-1], -1)


def quantize_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Quantise each row by its largest absolute value: ``s = max |x| / 127``, ``x_int8 = round(x / s)``.

    Args:
        rows: (n_rows, n).

    Returns:
        (n_rows, n) int8 from -127 to 127, and (n_rows, 1) scales s, by which they are multiplied to restore the rows.
    """
    largest = rows.abs().amax(dim=1, keepdim=True)
    scale = largest.clamp_(min=SMALLEST) / LARGEST_INTEGER
    return (rows / scale).round_().to(torch.int8), scale


def to_int8(model: nn.Module) -> None:
    """Replace every linear layer of a model, in place."""
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.Linear):
                setattr(module, name, Int8Linear(child))
