"""The exported graph computes what the classifier computes, at every size of batch, text and segments."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray

from kdh_ray.export.fused_attention import fuse_attention
from kdh_ray.export.int8_graph import count_integer_products, int8_graph
from kdh_ray.export.onnx_graph import onnx_graph
from kdh_ray.models.checkpoint import load_checkpoint
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.int8 import to_int8

Inputs = dict[str, NDArray[np.int64]]


def batch(size: int, length: int, vocabulary: int, seed: int = 0) -> Inputs:
    """Documents of all lengths up to ``length``, in segments of up to four tokens."""
    generator = np.random.default_rng(seed)
    ids = generator.integers(5, vocabulary, (size, length))
    lengths = generator.integers(2, length + 1, size)
    lengths[0] = length
    mask = (np.arange(length) < lengths[:, None]).astype(np.int64)
    numbers = np.where(mask > 0, np.arange(length) // 4, -1)
    numbers[:, 0] = -1
    numbers[-1] = -1 if size > 1 else numbers[-1]  # one document without segments
    return {"input_ids": ids, "attention_mask": mask, "segment_numbers": numbers,
            "segment_axis": np.arange(int(numbers.max()) + 1)}  # fmt: skip


def run(graph: onnx.ModelProto, inputs: Inputs) -> list[Any]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = {each.name for each in session.get_inputs()}
    return session.run(None, {name: array for name, array in inputs.items() if name in names})


@pytest.fixture(scope="module")
def classifier(checkpoint: Path) -> Classifier:
    return load_checkpoint(checkpoint)[0].eval()


@pytest.fixture(scope="module")
def graph(exported: Path) -> onnx.ModelProto:
    return onnx.load(exported / "model.onnx")


def original(classifier: Classifier, inputs: Inputs) -> NDArray[np.float32]:
    tensors = [torch.from_numpy(inputs[name]) for name in ("input_ids", "attention_mask", "segment_numbers")]
    with torch.inference_mode():
        return classifier(*tensors).documents.numpy()


@pytest.mark.parametrize("size", [1, 2, 7, 33])
@pytest.mark.parametrize("length", [2, 9, 64])
def test_graph_agrees_at_every_size(classifier: Classifier, graph: onnx.ModelProto, size: int, length: int) -> None:
    inputs = batch(size, length, classifier.encoder.config.vocab_size)
    logits, segments = run(graph, inputs)
    np.testing.assert_allclose(logits, original(classifier, inputs), atol=1e-4)
    assert segments.shape == (size, len(inputs["segment_axis"]), 3)


def test_graph_without_segments_agrees(whole_checkpoint: Path, whole_exported: Path) -> None:
    classifier = load_checkpoint(whole_checkpoint)[0].eval()
    inputs = batch(5, 12, classifier.encoder.config.vocab_size)
    (logits,) = run(onnx.load(whole_exported / "model.onnx"), inputs)
    np.testing.assert_allclose(logits, original(classifier, inputs), atol=1e-4)


def test_tracing_leaves_the_classifier_alone(whole_checkpoint: Path) -> None:
    classifier = load_checkpoint(whole_checkpoint)[0].train()
    attention = classifier.encoder.config._attn_implementation
    onnx_graph(classifier)
    assert classifier.training
    assert classifier.encoder.config._attn_implementation == attention


def test_int8_graph_multiplies_integers(graph: onnx.ModelProto) -> None:
    integers, floats = count_integer_products(int8_graph(graph))
    assert integers == 4 * 6  # four layers: query, key, value, output, and two of the feed-forward part
    assert floats == 1  # the head
    assert count_integer_products(graph) == (0, integers + floats)


def test_int8_graph_agrees_with_int8_in_torch(classifier: Classifier, graph: onnx.ModelProto) -> None:
    inputs = batch(7, 40, classifier.encoder.config.vocab_size)
    exact = original(classifier, inputs)
    twin = copy.deepcopy(classifier)
    to_int8(twin.encoder)
    error = np.abs(run(int8_graph(graph), inputs)[0] - original(twin, inputs)).max()
    assert error < 0.2 * np.ptp(exact)
    assert error < 2 * np.abs(original(twin, inputs) - exact).max() + 1e-3


def test_int8_logits_do_not_depend_on_the_batch(classifier: Classifier, graph: onnx.ModelProto) -> None:
    small = int8_graph(graph)
    inputs = batch(9, 30, classifier.encoder.config.vocab_size)
    together = run(small, inputs)[0]
    for row in range(9):
        alone = {name: array[row : row + 1] for name, array in inputs.items() if name != "segment_axis"}
        np.testing.assert_allclose(
            run(small, alone | {"segment_axis": inputs["segment_axis"]})[0][0], together[row], atol=1e-3
        )


def test_file_names_no_path_of_this_machine(exported: Path) -> None:
    content = (exported / "model.onnx").read_bytes()
    for folder in (Path(__file__).parents[3], Path(torch.__file__).parent):
        assert str(folder).encode() not in content


def test_int8_graph_fuses_every_attention(graph: onnx.ModelProto) -> None:
    kinds = [node.op_type for node in int8_graph(graph).graph.node]
    assert kinds.count("MultiHeadAttention") == 4
    assert "Softmax" not in kinds


def test_fused_attention_computes_the_same(classifier: Classifier, graph: onnx.ModelProto) -> None:
    fused = onnx.ModelProto()
    fused.CopyFrom(graph)
    fused.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
    assert fuse_attention(fused.graph) == 4
    inputs = batch(7, 40, classifier.encoder.config.vocab_size)
    np.testing.assert_allclose(run(fused, inputs)[0], run(graph, inputs)[0], atol=1e-5)


def test_what_is_no_attention_stays(graph: onnx.ModelProto) -> None:
    other = onnx.ModelProto()
    other.CopyFrom(graph)
    for node in other.graph.node:
        if node.op_type == "Softmax":
            node.op_type = "LogSoftmax"
    unchanged = other.SerializeToString(deterministic=True)
    assert fuse_attention(other.graph) == 0
    assert other.SerializeToString(deterministic=True) == unchanged
