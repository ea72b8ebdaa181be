"""Attention for training on CPUs, which takes one document at a time, each at its own length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NAME = "document-wise"
FULL_ATTENTION = frozenset({"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"})
"""Architectures without windows, causal masks or score biases, whose attention can be chosen."""


class _DocumentWise(torch.autograd.Function):
    """``softmax(q k^T) v`` for each document, without its padding.

    A document's scores, (n_heads, n_tokens, n_tokens), fit into a processor's cache, and those of a batch don't.
    Document by document, padding needs neither a mask nor work. PyTorch's fused kernel recomputes the scores in its
    backward pass, which costs three times its forward pass on CPUs; here they are stored, in the format of the inputs.

    Scaled dot-product attention: Vaswani et al. 2017, arXiv:1706.03762, eq. 1. ``query`` is scaled by the caller.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
        """Compute (n_documents, n_heads, n_tokens, width) from three of that shape and the documents' tokens."""
        output = torch.zeros_like(query)  # zero at padding
        all_weights = []
        for q, k, v, out, n in zip(query, key, value, output, lengths, strict=True):
            scores = torch.bmm(q[:, :n], k[:, :n].transpose(1, 2))  # (n_heads, n, n): S = Q K^T
            weights = torch.softmax(scores, -1)  # P = softmax(S), row by row
            out[:, :n] = torch.bmm(weights, v[:, :n])  # O = P V
            all_weights.append(weights)
        ctx.save_for_backward(query, key, value, *all_weights)
        ctx.lengths = lengths
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        """Compute the gradients of query, key and value from that of the output; d stands for a gradient."""
        query, key, value, *all_weights = ctx.saved_tensors
        d_query, d_key, d_value = (torch.zeros_like(each) for each in (query, key, value))
        for i, (weights, n) in enumerate(zip(all_weights, ctx.lengths, strict=True)):
            d_output = gradients[0][i, :, :n]  # (n_heads, n, width)
            d_value[i, :, :n] = torch.bmm(weights.transpose(1, 2), d_output)  # dV = P^T dO
            d_weights = torch.bmm(d_output, value[i, :, :n].transpose(1, 2))  # dP = dO V^T
            # dS = P * (dP - rowsum(dP * P)), the derivative of the softmax
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            d_query[i, :, :n] = torch.bmm(d_scores, key[i, :, :n])  # dQ = dS K
            d_key[i, :, :n] = torch.bmm(d_scores.transpose(1, 2), query[i, :, :n])  # dK = dS^T Q
        return d_query, d_key, d_value, None


def document_wise_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Compute attention for transformers, in training on a CPU; see ``_DocumentWise``.

    Args:
        module: The attention of a layer, unused.
        query, key, value: (n_documents, n_heads, n_tokens, width).
        attention_mask: (n_documents, 1, n_tokens, n_tokens), true where a token is seen. Padding must be on the right,
            where ``collate`` puts it. None without padding.
        scaling: Factor of the scores; ``1 / sqrt(width)`` if None.
        dropout: Must be 0: attention probabilities have no dropout here (see ``load_encoder``).

    Returns:
        (n_documents, n_tokens, n_heads, width), zero at padding; and None instead of the weights.

    Raises:
        ValueError: If ``dropout`` is not 0.
    """
    if dropout:
        raise ValueError(f"{NAME} attention has no dropout; got {dropout}")
    count, _heads, tokens, width = query.shape
    lengths = [tokens] * count if attention_mask is None else attention_mask[:, 0, 0].sum(-1).tolist()
    scaled = query * (width**-0.5 if scaling is None else scaling)
    with torch.autocast(query.device.type, enabled=False):  # the inputs have their format already
        output = _DocumentWise.apply(scaled, key, value, lengths)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2), None


def select_attention(encoder: Any, device: str, precision: str) -> None:
    """Select the attention with which an encoder trains fastest: document-wise in bfloat16 on a CPU, fused elsewhere.

    An encoder whose tokens don't all see each other is left unchanged. A process that receives an encoder must call
    this again, since transformers knows the document-wise attention only in processes that registered it.

    Args:
        encoder: A transformers model, changed in place.
        device: ``cpu`` or ``cuda``.
        precision: ``float32`` or ``bfloat16``.
    """
    if encoder.config.model_type not in FULL_ATTENTION:
        return
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

    AttentionInterface.register(NAME, document_wise_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    encoder.set_attn_implementation(NAME if device == "cpu" and precision == "bfloat16" else "sdpa")
