"""An ONNX graph for onnxruntime whose linear layers multiply eight-bit integers.

Vector-wise absmax quantisation, as :mod:`kdh_ray.models.int8` does it in torch: weights have a scale per output,
activations one per token. onnxruntime's own dynamic quantisation has one scale per tensor, so that a document's logits
depend on the documents in its batch. Embeddings are stored as integers with a scale per row.

Integer products are a third of the time of such a graph. The rest goes by the number of passes over activations, which
operators of onnxruntime's own domain save: ``MatMulIntegerToFloat`` scales its outputs itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.export.fused_attention import DOMAIN, fuse_attention

if TYPE_CHECKING:
    import onnx

STEPS = 127  # integers run from -127 to 127
SMALLEST = 1e-30  # rows of zeros stay zero
SMALLEST_TABLE = 10_000  # numbers
ZERO = 128  # activations are unsigned with this zero point: kernels multiply unsigned by signed bytes fastest


def int8_graph(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return a copy of a float32 model with linear layers and embeddings in eight bits.

    Matrix products of two activations stay in float32, as do the heads: they are small, and their output decides.
    """
    import onnx
    from onnx import helper

    rewritten = onnx.ModelProto()
    rewritten.CopyFrom(model)
    rewritten.opset_import.append(helper.make_opsetid(DOMAIN, 1))
    fuse_attention(rewritten.graph)
    _Rewriter(rewritten.graph).run()
    onnx.checker.check_model(rewritten)
    return rewritten


def count_integer_products(model: onnx.ModelProto) -> tuple[int, int]:
    """Return how many products with weights of a model are of integers, and how many are of floats."""
    weights = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 2}
    integers = sum(node.op_type == "MatMulIntegerToFloat" for node in model.graph.node)
    floats = sum(node.op_type == "MatMul" and node.input[1] in weights for node in model.graph.node)
    return integers, floats


class _Rewriter:
    """Replaces the nodes of a graph one by one."""

    def __init__(self, graph: onnx.GraphProto) -> None:
        self.graph = graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.added: dict[str, NDArray[Any]] = {}
        self.nodes: list[onnx.NodeProto] = []
        self.quantised: dict[str, tuple[str, str]] = {}  # activation -> its integers and their scales
        biased = [node for node in graph.node if node.op_type == "Add"]
        self.head_products = {node.input[0] for node in biased if node.input[1].endswith("_head.bias")}

    def run(self) -> None:
        """Rewrite the graph in place."""
        from onnx import numpy_helper

        for node in self.graph.node:
            if node.op_type == "MatMul" and self._is_matrix(node.input[1]) and node.output[0] not in self.head_products:
                self._linear(node.input[0], node.input[1], node.output[0])
            elif node.op_type == "Gather" and self._is_table(node.input[0]):
                self._embedding(node.input[0], node.input[1], node.output[0])
            else:
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input}
        kept = [tensor for name, tensor in self.weights.items() if name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend(kept)
        self.graph.initializer.extend(numpy_helper.from_array(array, name) for name, array in self.added.items())

    def _is_matrix(self, name: str) -> bool:
        return name in self.weights and len(self.weights[name].dims) == 2

    def _is_table(self, name: str) -> bool:
        """Return True if a weight holds embeddings, not a small table such as relative position biases."""
        return self._is_matrix(name) and np.prod(self.weights[name].dims) >= SMALLEST_TABLE

    def _linear(self, inputs: str, weight: str, output: str) -> None:
        """inputs (..., n) float @ weight (n, m) -> output (..., m), from integers."""
        matrix, per_output = _quantised(self._array(weight), axis=0)  # (n, m) int8, (1, m)
        integers, scale = self._activation(inputs, len(matrix))
        self.added[f"{weight}/int8"], self.added[f"{weight}/scale"] = matrix, per_output[0]
        self.added["int8/one"] = np.array(1, dtype=np.float32)
        # y = s_x s_w (x_uint8 - zero) @ w_int8, with s_x per token and s_w per output. The operator takes only one
        # scale for all of x, so that s_x is left to a node of its own.
        names = [integers, f"{weight}/int8", "int8/one", f"{weight}/scale", "int8/zero"]
        product = self._node("MatMulIntegerToFloat", names, f"{output}/float", domain=DOMAIN)
        self._node("Mul", [product, scale], output)

    def _activation(self, name: str, width: int) -> tuple[str, str]:
        """Return the integers of an activation (..., width) and their scales; query, key and value share theirs."""
        if name not in self.quantised:
            self.added |= {
                # ReduceMax has its axes as an input since opset 18.
                "int8/axis": np.array([-1], dtype=np.int64),
                "int8/rows": np.array([-1], dtype=np.int64),
                f"int8/rows/{width}": np.array([-1, width], dtype=np.int64),
                "int8/smallest": np.array(SMALLEST, dtype=np.float32),
                "int8/steps": np.array(STEPS, dtype=np.float32),
                "int8/zero": np.array(ZERO, dtype=np.uint8),
            }
            size = self._node("Abs", [name], f"{name}/abs")
            size = self._node("ReduceMax", [size, "int8/axis"], f"{name}/largest", keepdims=1)
            size = self._node("Max", [size, "int8/smallest"], f"{name}/range")
            scale = self._node("Div", [size, "int8/steps"], f"{name}/scale")  # (..., 1)
            # QuantizeLinear has a scale for each place of one axis: all tokens are put on it.
            rows = self._node("Reshape", [name, f"int8/rows/{width}"], f"{name}/rows")  # (tokens, width)
            scales = self._node("Reshape", [scale, "int8/rows"], f"{name}/scales")  # (tokens,)
            count = self._node("Shape", [scales], f"{name}/count")
            zeros = self._node("Expand", ["int8/zero", count], f"{name}/zeros")
            rows = self._node("QuantizeLinear", [rows, scales, zeros], f"{name}/quantised", axis=0)  # halves to even
            shape = self._node("Shape", [name], f"{name}/shape")
            self.quantised[name] = self._node("Reshape", [rows, shape], f"{name}/uint8"), scale
        return self.quantised[name]

    def _embedding(self, table: str, indices: str, output: str) -> None:
        """Look up rows as integers and scale them."""
        self.added[f"{table}/int8"], self.added[f"{table}/scale"] = _quantised(self._array(table), axis=1)
        rows = self._node("Gather", [f"{table}/int8", indices], f"{output}/int8")
        rows = self._node("Cast", [rows], f"{output}/float", to=_type("FLOAT"))
        scale = self._node("Gather", [f"{table}/scale", indices], f"{output}/scale")
        self._node("Mul", [rows, scale], output)

    def _array(self, name: str) -> NDArray[np.float32]:
        from onnx import numpy_helper

        return np.asarray(numpy_helper.to_array(self.weights[name]))

    def _node(self, kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output


def _type(name: str) -> int:
    from onnx import TensorProto

    return int(getattr(TensorProto, name))


def _quantised(weight: NDArray[np.float32], axis: int) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Return integers and their scale for each row (``axis`` 1) or column (``axis`` 0)."""
    # s = max |w| / 127 along the axis, w_int8 = round(w / s)
    scale = np.maximum(np.abs(weight).max(axis=axis, keepdims=True), SMALLEST).astype(np.float32) / STEPS
    return np.round(weight / scale).astype(np.int8), scale.astype(np.float32)
