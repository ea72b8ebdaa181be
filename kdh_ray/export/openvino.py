"""A classifier in OpenVINO's format, which is fastest on processors that multiply bfloat16 in AMX."""

from __future__ import annotations

from pathlib import Path

from kdh_runtime.graphs import openvino_graph

from kdh_ray import hardware
from kdh_ray.errors import CheckpointError
from kdh_ray.export.check import Agreement, Check, Exported


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
        agreement = check.compare(openvino_graph(graph, "bfloat16"))
        if agreement.is_close:
            return Exported("bfloat16", agreement, None, size)
        refused = agreement
    agreement = check.compare(openvino_graph(graph, "float32"))
    if not agreement.is_exact:
        raise CheckpointError(f"OpenVINO's graph differs from the original: {agreement}")
    return Exported("float32", agreement, refused, size)
