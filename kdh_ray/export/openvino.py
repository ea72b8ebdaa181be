"""A classifier in OpenVINO's format, which is fastest on processors that multiply bfloat16 in AMX."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray import hardware
from kdh_ray.errors import CheckpointError
from kdh_ray.export.check import Agreement, Check, Exported, Run

PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}
"""Number format -> OpenVINO's hint, which is always given: its own choice differs from processor to processor."""


def to_openvino(file: Path, check: Check) -> Exported:
    """Replace an ONNX file by ``model.xml`` and ``model.bin``, and check these.

    Raises:
        CheckpointError: If the float32 graph differs from the original.
    """
    import openvino

    graph = file.with_name("model.xml")
    openvino.save_model(openvino.Core().read_model(file), graph, compress_to_fp16=False)
    file.unlink()
    size = graph.with_suffix(".bin").stat().st_size
    refused: Agreement | None = None
    if "amx_bf16" in hardware.describe(gpus=False).flags:
        agreement = check.compare(openvino_run(graph, "bfloat16"))
        if agreement.is_close:
            return Exported("bfloat16", agreement, None, size)
        refused = agreement
    agreement = check.compare(openvino_run(graph, "float32"))
    if not agreement.is_exact:
        raise CheckpointError(f"OpenVINO's graph differs from the original: {agreement}")
    return Exported("float32", agreement, refused, size)


def openvino_run(file: Path, precision: str) -> Run:
    """Open a graph with OpenVINO on the CPU, in ``float32`` or ``bfloat16`` arithmetic."""
    import openvino

    compiled = openvino.Core().compile_model(file, "CPU", {"INFERENCE_PRECISION_HINT": PRECISIONS[precision]})

    def run(inputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        outputs = compiled.create_infer_request().infer(inputs)
        return [np.array(outputs[port], dtype=np.float32) for port in compiled.outputs]

    return run
