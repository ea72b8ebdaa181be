"""Attention of an exported graph as one operator of onnxruntime instead of sixteen nodes a layer.

onnxruntime has ``MultiHeadAttention`` in its own domain. It fuses the pattern by itself only for graphs of other
exporters.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import onnx

DOMAIN = "com.microsoft"
_HEADS_FIRST = [0, 2, 1, 3]  # (batch, length, heads, size) -> (batch, heads, length, size), and back
_KEYS = [0, 2, 3, 1]  # -> (batch, heads, size, length)


class _Mismatch(Exception):
    """The nodes around a softmax are not those of attention."""


def fuse_attention(graph: onnx.GraphProto) -> int:
    """Replace attention in place, wherever the nodes are softmax(scale q kᵀ + mask) v of linear layers with biases.

    Other kinds of attention stay as they are. The graph needs an import of the domain ``com.microsoft`` afterwards.

    Returns:
        Number of fused layers.
    """
    finder = _Finder(graph)
    fused = 0
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        try:
            finder.fuse(softmax)
            fused += 1
        except _Mismatch:
            continue
    nodes = [finder.replaced.get(node.output[0], node) for node in graph.node if node.output[0] not in finder.dropped]
    del graph.node[:]
    graph.node.extend(nodes)
    return fused


class _Finder:
    """Follows the edges of a graph from a softmax."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.makers = {name: node for node in graph.node for name in node.output}
        self.uses = Counter(name for node in graph.node for name in node.input)
        self.users = {name: node for node in graph.node for name in node.input}
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.replaced: dict[str, onnx.NodeProto] = {}  # by the output that stays
        self.dropped: set[str] = set()  # outputs of nodes that go

    def fuse(self, softmax: onnx.NodeProto) -> None:
        """Replace the attention around a softmax.

        Raises:
            _Mismatch: If it is none; the graph stays as it is.
        """
        from onnx import helper, numpy_helper

        masked = self._maker(softmax.input[0], "Add")
        scaled = self._maker(masked.input[0], "Mul")
        scores = self._maker(scaled.input[0], "MatMul")
        mixed = self._user(softmax.output[0], "MatMul")
        queries, query_bias, heads, query_nodes = self._projection(scores.input[0], _HEADS_FIRST)
        keys, key_bias, _, key_nodes = self._projection(scores.input[1], _KEYS)
        values, value_bias, _, value_nodes = self._projection(mixed.input[1], _HEADS_FIRST)
        back = self._transpose(self._user(mixed.output[0], "Transpose"), _HEADS_FIRST)
        joined = self._user(back.output[0], "Reshape")
        output = joined.output[0]
        bias = numpy_helper.from_array(np.concatenate([query_bias, key_bias, value_bias]), f"{output}/bias")
        scale = float(self._constant(scaled.input[1]))
        self.graph.initializer.append(bias)
        self.replaced[output] = helper.make_node(
            "MultiHeadAttention", [queries, keys, values, bias.name, "", masked.input[1]], [output], name=output,
            domain=DOMAIN, num_heads=heads, scale=scale,
        )  # fmt: skip
        gone = [masked, scaled, scores, softmax, mixed, back, *query_nodes, *key_nodes, *value_nodes]
        self.dropped |= {node.output[0] for node in gone}

    def _projection(
        self, name: str, order: list[int]
    ) -> tuple[str, NDArray[np.float32], int, tuple[onnx.NodeProto, ...]]:
        """Return a linear layer's product, its bias, the number of heads, and the nodes from there to ``name``."""
        transposed = self._transpose(self._maker(name, "Transpose"), order)
        divided = self._maker(transposed.input[0], "Reshape")
        biased = self._maker(divided.input[0], "Add")
        product, bias = biased.input
        if bias not in self.weights:
            product, bias = bias, product
        shift = self._constant(bias)
        size = self._head_size(divided.input[1])
        if shift.ndim != 1 or len(shift) % size:
            raise _Mismatch
        return product, shift.astype(np.float32), len(shift) // size, (transposed, divided, biased)

    def _head_size(self, shape: str) -> int:
        """Return the last number of a shape (batch, length, heads, size)."""
        maker = self.makers.get(shape)
        last = maker.input[-1] if maker is not None and maker.op_type == "Concat" else shape
        size = int(self._constant(last).reshape(-1)[-1])
        if size < 1:
            raise _Mismatch
        return size

    def _maker(self, name: str, kind: str) -> onnx.NodeProto:
        """Return the node that makes a value which nothing else uses."""
        node = self.makers.get(name)
        if node is None or node.op_type != kind or self.uses[name] != 1:
            raise _Mismatch
        return node

    def _user(self, name: str, kind: str) -> onnx.NodeProto:
        """Return the only node that uses a value."""
        node = self.users.get(name)
        if node is None or node.op_type != kind or self.uses[name] != 1:
            raise _Mismatch
        return node

    def _transpose(self, node: onnx.NodeProto, order: list[int]) -> onnx.NodeProto:
        if [list(attribute.ints) for attribute in node.attribute if attribute.name == "perm"] != [order]:
            raise _Mismatch
        return node

    def _constant(self, name: str) -> NDArray[Any]:
        from onnx import numpy_helper

        if name not in self.weights:
            raise _Mismatch
        return np.asarray(numpy_helper.to_array(self.weights[name]))
