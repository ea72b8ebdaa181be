"""The graph of a classifier, opened by onnxruntime or OpenVINO."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_runtime.errors import FolderError
from kdh_runtime.folder import Config

Graph = Callable[[dict[str, NDArray[Any]]], list[NDArray[Any]]]
"""From named inputs to the outputs, in order. Threads may call one at the same time."""

OPENVINO_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}

_PACKAGES = {
    "onnxruntime": "onnxruntime: pip install onnxruntime",
    "openvino": "OpenVINO: pip install 'kdh-runtime[openvino]'",
}  # by engine


def open_graph(folder: Path, config: Config, threads: int | None) -> Graph:
    """Open the graph of an exported classifier on the CPU.

    Raises:
        FolderError: If the file can't be read, or the engine that it needs is not installed.
    """
    try:
        if config.engine == "openvino":
            return openvino_graph(folder / "model.xml", config.precision, threads)
        return onnxruntime_graph(folder / "model.onnx", threads)
    except ModuleNotFoundError:
        raise FolderError(f"{folder} needs {_PACKAGES[config.engine]}") from None
    except Exception as error:  # the exceptions of both libraries have no public base
        raise FolderError(f"{folder}: the graph can't be read: {' '.join(str(error).split())[:200]}") from None


def onnxruntime_graph(file: Path, threads: int | None = None) -> Graph:
    """Open an ONNX file with onnxruntime; as many threads as the machine has cores if None."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # idle threads use no CPU
    session = onnxruntime.InferenceSession(
        str(file), options, providers=["CPUExecutionProvider"],
        disabled_optimizers=["SkipLayerNormFusion"],  # the fused operator is slower than an addition and a norm
    )  # fmt: skip
    return lambda inputs: list(session.run(None, inputs))


def openvino_graph(file: Path, precision: str, threads: int | None = None) -> Graph:
    """Open a graph in OpenVINO's format, in ``float32`` or ``bfloat16`` arithmetic."""
    import openvino

    # The hint is explicit: on its own, OpenVINO picks bfloat16 or float32 by the processor.
    options = {"INFERENCE_PRECISION_HINT": OPENVINO_PRECISIONS[precision], "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        options["INFERENCE_NUM_THREADS"] = str(threads)
    compiled = openvino.Core().compile_model(file, "CPU", options)

    def run(inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        outputs = compiled.create_infer_request().infer(inputs)  # a request serves one thread
        return [np.array(outputs[port], dtype=np.float32) for port in compiled.outputs]

    return run
