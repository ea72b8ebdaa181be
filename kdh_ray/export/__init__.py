"""Export of trained classifiers to files that run without torch.

>>> from kdh_ray.export import export_onnx
"""

from kdh_ray.export.check import Agreement, Exported
from kdh_ray.export.folder import export_onnx

__all__ = ["Agreement", "Exported", "export_onnx"]
