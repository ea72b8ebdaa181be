"""A classifier as an ONNX graph: one for every batch size, document length and number of segments."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from kdh_ray.errors import CheckpointError
from kdh_ray.extras import require
from kdh_ray.models.classifier import Classifier

if TYPE_CHECKING:
    import onnx

OPSET = 20  # the first with Gelu, which is several passes over the activations less than its formula
TOKENS = ("input_ids", "attention_mask")
SEGMENTS = ("segment_numbers", "segment_axis")
"""Further inputs of a classifier with segments; see ``Classifier.forward``."""


class _Traced(nn.Module):
    """A classifier whose outputs are plain tensors, as the exporter needs them."""

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        segment_numbers: Tensor | None = None,
        segment_axis: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Return the documents' logits, and those of their segments if the classifier reads segments."""
        output = self.classifier(input_ids, attention_mask, segment_numbers, segment_axis)
        return (output.documents,) if output.segments is None else (output.documents, output.segments)


def onnx_graph(classifier: Classifier) -> onnx.ModelProto:
    """Return a classifier as a float32 ONNX model.

    Inputs are ``input_ids`` and ``attention_mask``, (batch, length) int64; with segments also ``segment_numbers``,
    (batch, length) int64, and ``segment_axis``, (segments,) int64: 0, 1, ... Outputs are ``logits``, (batch, n_labels),
    and ``segment_logits``, (batch, segments, n_labels), minus infinity where a document has no such segment.

    Args:
        classifier: Copied; the original stays as it is.

    Raises:
        UnavailableError: If the packages ``onnx`` and ``onnxscript`` are not installed.
        CheckpointError: If the encoder holds an operation that ONNX lacks.
    """
    require("export", "export", "onnx", "onnxscript")
    traced = copy.deepcopy(classifier).cpu().float().eval()
    # Eager attention becomes plain MatMul and Softmax, which onnxruntime fuses.
    traced.encoder.set_attn_implementation("eager")
    inputs, names, axes = _example(traced.segment_head is not None)
    outputs = ["logits", "segment_logits"][: len(names) // 2]
    with _quiet():
        try:
            program = torch.onnx.export(
                _Traced(traced), inputs, dynamo=True, opset_version=OPSET, dynamic_shapes=axes, input_names=names,
                output_names=outputs, external_data=False, verbose=False,
            )  # fmt: skip
        except torch.onnx.errors.OnnxExporterError as error:
            reason = " ".join(str(error.__cause__ or error).split())[:200]
            raise CheckpointError(f"{type(traced.encoder).__name__} can't be exported to ONNX: {reason}") from None
    return program.model_proto  # type: ignore[union-attr]


def _example(segments: bool) -> tuple[tuple[Tensor, ...], list[str], tuple[dict[int, Any], ...]]:
    """Return a small batch with padding, the inputs' names and their axes of variable size."""
    batch, length, count = (torch.export.Dim(name, min=1) for name in ("batch", "length", "segments"))
    # Neither size may be 0 or 1: torch.export takes such a size for a constant.
    ids = torch.ones((2, 6), dtype=torch.int64)
    mask = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])
    inputs, axes = (ids, mask), ({0: batch, 1: length},) * 2
    if not segments:
        return inputs, list(TOKENS), axes
    numbers = torch.tensor([[-1, 0, 0, 1, 1, -1], [-1, 0, 1, -1, -1, -1]])  # -1: special tokens and padding
    return (*inputs, numbers, torch.arange(2)), [*TOKENS, *SEGMENTS], (*axes, axes[0], {0: count})


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's advice about its own internals."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
