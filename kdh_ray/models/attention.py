"""Attention for training on CPUs: one document at a time, each at its own length."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

NAME = "document-wise"
FULL_ATTENTION = frozenset({"bert", "camembert", "distilbert", "electra", "roberta", "xlm-roberta"})
"""Architectures without windows, causal masks or score biases, that let their attention be chosen."""


class _DocumentWise(torch.autograd.Function):
    """softmax(q k^T) v for each document, without its padding.

    A document's scores (heads x length x length) fit into a processor's cache, a batch's do not; and where documents
    are taken one by one, padding needs neither a mask nor work. PyTorch's fused kernel recomputes the scores in its
    backward pass, which on CPUs costs three times its forward pass; here they are kept, in the format of the inputs.
    """

    @staticmethod
    def forward(ctx: Any, query: Tensor, key: Tensor, value: Tensor, lengths: list[int]) -> Tensor:
        output = torch.zeros_like(query)
        kept = []
        for q, k, v, out, n in zip(query, key, value, output, lengths, strict=True):
            weights = torch.softmax(torch.bmm(q[:, :n], k[:, :n].transpose(1, 2)), -1)
            out[:, :n] = torch.bmm(weights, v[:, :n])
            kept.append(weights)
        ctx.save_for_backward(query, key, value, *kept)
        ctx.lengths = lengths
        return output

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, *kept = ctx.saved_tensors
        to_query, to_key, to_value = (torch.zeros_like(each) for each in (query, key, value))
        for i, (weights, n) in enumerate(zip(kept, ctx.lengths, strict=True)):
            given = gradients[0][i, :, :n]
            to_value[i, :, :n] = torch.bmm(weights.transpose(1, 2), given)
            to_weights = torch.bmm(given, value[i, :, :n].transpose(1, 2))
            to_scores = torch._softmax_backward_data(to_weights, weights, -1, weights.dtype)
            to_query[i, :, :n] = torch.bmm(to_scores, key[i, :, :n])
            to_key[i, :, :n] = torch.bmm(to_scores.transpose(1, 2), query[i, :, :n])
        return to_query, to_key, to_value, None


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
    """What transformers calls for attention, in training on a CPU; see ``_DocumentWise``.

    Args:
        module: The layer's attention.
        query, key, value: (n_documents, n_heads, n_tokens, width).
        attention_mask: (n_documents, 1, n_tokens, n_tokens), true where a token is seen; padding is on the right, as
            ``collate`` puts it. None without padding.
        scaling: Of the scores; one over the root of the width if None.
        dropout: Must be 0: attention probabilities get none here (see ``load_encoder``).

    Returns:
        (n_documents, n_tokens, n_heads, width), zero at padding; and no attention weights.
    """
    if dropout:
        raise ValueError(f"{NAME} attention has no dropout; got {dropout}")
    count, _heads, tokens, width = query.shape
    lengths = [tokens] * count if attention_mask is None else attention_mask[:, 0, 0].sum(-1).tolist()
    scaled = query * (width**-0.5 if scaling is None else scaling)
    with torch.autocast(query.device.type, enabled=False):
        output = _DocumentWise.apply(scaled, key, value, lengths)  # type: ignore[no-untyped-call]
    return output.transpose(1, 2), None


def select_attention(encoder: Any, device: str, precision: str) -> None:
    """Give an encoder the attention that trains fastest: document by document in bfloat16 on a CPU, fused elsewhere.

    An encoder whose tokens don't all see each other stays as it is. A process that was sent one calls this again:
    transformers knows this module's attention only where it has been registered.
    """
    if encoder.config.model_type not in FULL_ATTENTION:
        return
    from transformers import AttentionInterface
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask

    AttentionInterface.register(NAME, document_wise_attention)
    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, sdpa_mask)
    encoder.set_attn_implementation(NAME if device == "cpu" and precision == "bfloat16" else "sdpa")
