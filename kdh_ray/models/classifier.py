"""A multi-label classifier: a pretrained encoder, pooling, and a linear head; over documents and their parts."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from kdh_ray.config import Pooling
from kdh_ray.errors import CheckpointError
from kdh_ray.models.byte_dropout import ByteDropout

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel


@dataclass
class Output:
    """Logits of a batch.

    Attributes:
        documents: (n_documents, n_labels) logits.
        segments: (n_documents, n_segments, n_labels) logits; padding segments hold -inf. None without segments.
        pooled: (n_documents, hidden) mean of each document's last hidden states, or that of its first token.
    """

    documents: Tensor
    segments: Tensor | None
    pooled: Tensor


class Classifier(nn.Module):
    """Encoder and multi-label head.

    Without segments, a document's logits are a linear map of its pooled hidden states: their mean, or that of the first
    token. With segments (sentences, sections), each segment's hidden states are mean-pooled and mapped to segment
    logits, and

        document logits = log sum_s exp(segment logits_s) + linear(pooled document),

    the log-sum-exp being the smooth maximum of multiple-instance learning (Ramon and De Raedt, "Multi instance neural
    networks", 2000): a document has a label where one of its segments has it. It also shows which segment speaks for
    which label.
    """

    def __init__(
        self, encoder: PreTrainedModel, n_labels: int, segments: bool, dropout: float, pooling: Pooling = "mean"
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.pooling = pooling
        hidden = int(encoder.config.hidden_size)
        self.dropout = ByteDropout(dropout)
        self.document_head = nn.Linear(hidden, n_labels)
        self.segment_head = nn.Linear(hidden, n_labels) if segments else None
        for head in self.heads():
            nn.init.normal_(head.weight, std=0.02)  # BERT's initializer_range
            nn.init.zeros_(head.bias)

    def heads(self) -> list[nn.Linear]:
        """The linear maps on top of the encoder."""
        return [self.document_head, *([self.segment_head] if self.segment_head is not None else [])]

    @property
    def n_labels(self) -> int:
        """Number of labels."""
        return self.document_head.out_features

    @property
    def pad_id(self) -> int:
        """Token id of padding."""
        return int(self.encoder.config.pad_token_id or 0)

    def start_from_priors(self, document_rate: NDArray[np.float64], segment_rate: NDArray[np.float64] | None) -> None:
        """Set biases so that the untrained head predicts each label's rate (Lin et al., 2017, section 3.3).

        Args:
            document_rate: (n_labels,) share of training documents that have the label.
            segment_rate: (n_labels,) share of training segments that have it.
        """

        def log_odds(rate: NDArray[np.float64]) -> Tensor:
            clipped = np.clip(rate, 1e-3, 1 - 1e-3)  # log odds of 0 and 1 are infinite
            return torch.tensor(np.log(clipped / (1 - clipped)), dtype=torch.float32)

        with torch.no_grad():
            if self.segment_head is None or segment_rate is None:
                self.document_head.bias.copy_(log_odds(document_rate))
            else:
                self.segment_head.bias.copy_(log_odds(segment_rate))

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        segment_numbers: Tensor | None = None,
        segment_axis: Tensor | None = None,
    ) -> Output:
        """Return the logits of a batch.

        Args:
            input_ids: (n_documents, n_tokens) token ids.
            attention_mask: (n_documents, n_tokens), 1 for tokens and 0 for padding.
            segment_numbers: (n_documents, n_tokens) segment of each token, -1 for none. A document whose tokens are
                in no segment has its own mean as its only segment.
            segment_axis: (n_segments,) 0, 1, ..., for exporters, to which a maximum of the numbers would be a constant.
        """
        # (n_documents, n_tokens, hidden)
        hidden = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        pooled = hidden[:, 0] if self.pooling == "cls" else _document_means(hidden, attention_mask)
        # (n_documents, n_labels); float32 under autocast too, since losses and log-sum-exp need the digits.
        documents = self.document_head(self.dropout(pooled)).float()
        if self.segment_head is None:
            return Output(documents, None, pooled)
        vectors, present = _segment_means(hidden, attention_mask, segment_numbers, segment_axis)
        segments = self.segment_head(self.dropout(vectors)).float()  # (n_documents, n_segments, n_labels)
        segments = segments.masked_fill(~present.unsqueeze(-1), float("-inf"))
        return Output(documents + torch.logsumexp(segments, dim=1), segments, pooled)


def _document_means(hidden: Tensor, attention_mask: Tensor) -> Tensor:
    """Return (n_documents, hidden) means: h_d = sum_t m_dt h_dt / sum_t m_dt."""
    weights = attention_mask.to(hidden.dtype)
    return torch.einsum("bt,bth->bh", weights, hidden) / weights.sum(1, keepdim=True)


def _segment_means(
    hidden: Tensor, attention_mask: Tensor, numbers: Tensor | None, axis: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return (n_documents, n_segments, hidden) means, and (n_documents, n_segments) whether a segment has tokens."""
    if numbers is None:
        numbers = torch.full_like(attention_mask, -1)
    undivided = (numbers >= 0).sum(1, keepdim=True) == 0  # (n_documents, 1)
    numbers = torch.where(undivided & (attention_mask > 0), torch.zeros_like(numbers), numbers)
    if axis is None:
        axis = torch.arange(int(numbers.max()) + 1, device=numbers.device)
    membership = (numbers.unsqueeze(1) == axis.view(1, -1, 1)).to(hidden.dtype)  # (n_documents, n_segments, n_tokens)
    tokens = membership.sum(2)  # (n_documents, n_segments)
    means = torch.bmm(membership, hidden) / tokens.clamp(min=1).unsqueeze(-1)
    return means, tokens > 0


def encoder_layers(encoder: PreTrainedModel) -> nn.ModuleList:
    """The encoder's stack of transformer layers (``encoder.layer`` of BERT, ``transformer.layer`` of DistilBERT).

    Raises:
        CheckpointError: If the architecture has no such stack.
    """
    depth = getattr(encoder.config, "num_hidden_layers", None)  # a pair of towers, such as CLIP, has two of them
    for name, module in encoder.named_modules():
        if isinstance(module, nn.ModuleList) and len(module) == depth and name.split(".")[-1] in ("layer", "layers"):
            return module
    found = "none" if depth is None else f"none of {depth}"
    raise CheckpointError(
        f"{type(encoder).__name__}: an encoder has a stack of layers with weights of their own; found {found}"
    )


def longest_text(encoder: PreTrainedModel) -> int | None:
    """Return the number of tokens for which an encoder has positions; None if positions have no embeddings.

    Architectures that count positions from the padding token on, such as RoBERTa, use fewer than they have.
    """
    found = [
        module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1)
        for name, module in encoder.named_modules()
        if isinstance(module, nn.Embedding) and name.split(".")[-1] in ("position_embeddings", "embed_positions", "wpe")
    ]
    found += [buffer.shape[-1] for name, buffer in encoder.named_buffers() if found and name.endswith("position_ids")]
    return min(found, default=None)


def freeze_layers(classifier: Classifier, count: int) -> None:
    """Keep the weights of the embeddings and of the ``count`` lowest layers (all, where there are fewer) as they are.

    What is below the lowest trained layer then needs neither activations nor gradients nor moments (Lee et al., "What
    would Elsa do? Freezing layers during transformer fine-tuning", 2019). With 0 the embeddings are trained too.
    """
    if count:
        embeddings = [module for name, module in classifier.encoder.named_children() if "embed" in name]
        for module in (*embeddings, *encoder_layers(classifier.encoder)[:count]):
            module.requires_grad_(False)


def take_layers(classifier: Classifier, count: int) -> Classifier:
    """A student with ``count`` evenly spaced layers of ``classifier``, embeddings and heads included.

    Layer i of the student is layer floor(i * n / count) of the teacher: every second one for half the depth, as in
    DistilBERT (Sanh et al., 2019, section 3).

    Raises:
        CheckpointError: If the encoder has fewer layers than that.
    """
    depth = len(encoder_layers(classifier.encoder))
    if count > depth:
        raise CheckpointError(f"layers: the start has {depth} encoder layers; got {count}")
    student = copy.deepcopy(classifier)
    stack = encoder_layers(student.encoder)
    chosen = [i * depth // count for i in range(count)]
    kept = [stack[i] for i in chosen]
    del stack[:]
    stack.extend(kept)
    cut_config(student.encoder.config, chosen)
    return student


def cut_config(config: PreTrainedConfig, chosen: list[int]) -> None:
    """Make a configuration, in place, that of an encoder with only the layers of these numbers."""
    config.num_hidden_layers = len(chosen)
    for name in ("layer_types", "attention_window"):  # what ModernBERT and Longformer say of each layer
        if isinstance(each := getattr(config, name, None), list):
            setattr(config, name, [each[i] for i in chosen])
