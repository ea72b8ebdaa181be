"""Experiment trackers: one run per trial, with its configuration and every report.

Most are Ray Tune's own callbacks; Optuna's storage is written by a listener, which sees a resumed search as one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kdh_ray.extras import require
from kdh_ray.tuning.trials import Listener

PACKAGES = {
    "mlflow": ("mlflow", "sqlalchemy"),
    "optuna": ("optuna", "sqlalchemy"),
    "tensorboard": ("tensorboardX",),
    "wandb": ("wandb",),
}
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
        One Ray Tune callback per tracker, except for ``optuna``; see :func:`make_listeners`.

    Raises:
        UnavailableError: If a package of a tracker is missing.
    """
    check_trackers(names)
    return [_MAKERS[name](project, folder) for name in names if name in _MAKERS]


def make_listeners(
    names: Sequence[str],
    project: str,
    folder: Path,
    space: Mapping[str, Any],
    metric: str,
    mode: str,
    further_objectives: Mapping[str, str] | None = None,
) -> list[Listener]:
    """Make the listeners of trackers for ``tune``.

    ``optuna`` writes to ``OPTUNA_STORAGE``, or else to ``optuna.db`` in ``folder``; optuna-dashboard displays either.

    Args:
        names: Names of trackers, from :data:`PACKAGES`.
        project: Name of the search in the trackers.
        folder: Folder of the search.
        space: Ray Tune's domains, by name.
        metric: Name of the result that the search optimises.
        mode: ``max`` or ``min``.
        further_objectives: Names of further results that it optimises, each with its mode.

    Returns:
        One listener for ``optuna``, if it is among the names.

    Raises:
        UnavailableError: If a package of a tracker is missing.
    """
    check_trackers(names)
    objectives = {metric: mode, **(further_objectives or {})}
    return [_optuna(project, folder, space, objectives)] if "optuna" in names else []


def _optuna(project: str, folder: Path, space: Mapping[str, Any], objectives: Mapping[str, str]) -> Listener:
    from kdh_ray.tuning.optuna_mirror import OptunaMirror

    folder.mkdir(parents=True, exist_ok=True)
    storage = os.environ.get("OPTUNA_STORAGE") or f"sqlite:///{folder.absolute() / 'optuna.db'}"
    return OptunaMirror(project, storage, space, objectives)


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
