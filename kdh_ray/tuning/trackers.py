"""Experiment trackers, by Ray Tune's own callbacks: one run per trial, with its configuration and every report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdh_ray.extras import require

PACKAGES = {"mlflow": ("mlflow", "sqlalchemy"), "tensorboard": ("tensorboardX",), "wandb": ("wandb",)}
"""The packages that each tracker imports."""


def check_trackers(names: Sequence[str]) -> None:
    """Check that all trackers are installed, so that a missing one is an error before anything starts.

    Args:
        names: Names of trackers, from :data:`PACKAGES`.

    Raises:
        UnavailableError: If a package of a tracker is missing; the message says how to install it.
    """
    for name in names:
        require(f"tune.trackers: {name}", "trackers", *PACKAGES[name])


def make_trackers(names: Sequence[str], project: str, folder: Path) -> list[Any]:
    """Make the callbacks of trackers for ``tune``.

    Nothing leaves the machine unless the user has set an address in the tracker's own way. MLflow writes to
    ``MLFLOW_TRACKING_URI``, or else to ``mlflow.db`` in ``folder``. Weights & Biases writes to the folder ``wandb`` in
    ``WANDB_DIR``, or else in ``folder``, unless ``WANDB_MODE=online``. TensorBoard writes to the trials' folders.

    Args:
        names: Names of trackers, from :data:`PACKAGES`.
        project: Name of the search in the trackers.
        folder: Folder of the search.

    Returns:
        One Ray Tune callback per tracker.

    Raises:
        UnavailableError: If a package of a tracker is missing.
    """
    check_trackers(names)
    return [_MAKERS[name](project, folder) for name in names]


def _mlflow(project: str, folder: Path) -> Any:
    from ray.air.integrations.mlflow import MLflowLoggerCallback

    folder.mkdir(parents=True, exist_ok=True)
    uri = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder.absolute() / 'mlflow.db'}"
    return MLflowLoggerCallback(tracking_uri=uri, experiment_name=project)


def _tensorboard(project: str, folder: Path) -> Any:
    from ray.tune.logger import TBXLoggerCallback

    return TBXLoggerCallback()


def _wandb(project: str, folder: Path) -> Any:
    from ray.air.integrations.wandb import WandbLoggerCallback

    # Both the variable and the argument are needed. Ray reads the variable, and asks for an API key without it. wandb
    # itself runs in Ray's workers, which don't see variables that are set here after they started.
    mode = os.environ.setdefault("WANDB_MODE", "offline")
    folder.mkdir(parents=True, exist_ok=True)
    return WandbLoggerCallback(project=project, mode=mode, dir=os.environ.get("WANDB_DIR") or str(folder))


_MAKERS = {"mlflow": _mlflow, "tensorboard": _tensorboard, "wandb": _wandb}
