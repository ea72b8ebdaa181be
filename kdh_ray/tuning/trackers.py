"""Trackers of experiments, through Ray Tune's own callbacks: a run a trial, its configuration, and every report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from kdh_ray.errors import UnavailableError

PACKAGES = {"mlflow": ("mlflow", "sqlalchemy"), "tensorboard": ("tensorboardX",), "wandb": ("wandb",)}
"""What each tracker imports."""


def check_trackers(names: Sequence[str]) -> None:
    """Refuse a tracker that isn't installed, before anything starts.

    Raises:
        UnavailableError: With the tracker, what it lacks, and how to get it.
    """
    for name in names:
        missing = [package for package in PACKAGES[name] if find_spec(package) is None]
        if missing:
            raise UnavailableError(
                f"tune.trackers: {name} needs {' and '.join(missing)}, not installed: pip install 'kdh-ray[trackers]'"
            )


def make_trackers(names: Sequence[str], project: str, folder: Path) -> list[Any]:
    """Callbacks for ``tune``. Nothing leaves the machine unless the user has said where to, in the tracker's own way.

    MLflow writes to ``MLFLOW_TRACKING_URI``, or else to ``mlflow.db`` in ``folder``; Weights & Biases keeps its files
    in ``wandb`` in ``WANDB_DIR``, or else in ``folder``, unless ``WANDB_MODE=online``; TensorBoard's are in the
    trials' folders.

    Args:
        names: Of :data:`PACKAGES`.
        project: What trackers call the search.
        folder: Of the search.
    """
    check_trackers(names)
    return [_MAKERS[name](project, folder) for name in names]


def _mlflow(project: str, folder: Path) -> Any:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    folder.mkdir(parents=True, exist_ok=True)
    place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / 'mlflow.db'}"
    return MLflowLoggerCallback(tracking_uri=place, experiment_name=project)


def _tensorboard(project: str, folder: Path) -> Any:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()


def _wandb(project: str, folder: Path) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    # Told to wandb itself, since it runs in Ray's workers, which don't see what is set here after they were started;
    # the variable is for Ray, which asks for an API key otherwise.
    mode = os.environ.setdefault("WANDB_MODE", "offline")
    folder.mkdir(parents=True, exist_ok=True)
    return WandbLoggerCallback(project=project, mode=mode, dir=os.environ.get("WANDB_DIR") or str(folder))


_MAKERS = {"mlflow": _mlflow, "tensorboard": _tensorboard, "wandb": _wandb}
