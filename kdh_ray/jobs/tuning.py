"""Former name of :mod:`kdh_ray.tuning`, with the arguments that ``tune`` had in version 0.1."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from kdh_ray import tuning
from kdh_ray.tuning import SearchResult, TuneSettings, make_scheduler

__all__ = ["make_scheduler", "tune"]

_RENAMED = {"full": "full_length", "also": "extra_results"}
_SETTINGS = {field.name for field in fields(TuneSettings)}


def tune(objective: Any, space: Mapping[str, Any], **arguments: Any) -> SearchResult:
    """Search as :func:`kdh_ray.tuning.tune` does.

    The fields of ``TuneSettings`` are arguments of their own. ``full`` and ``also`` are the former names of
    ``full_length`` and ``extra_results``, and None stands for a default.

    Raises:
        TypeError: If an argument is unknown or missing.
    """
    warnings.warn(
        "kdh_ray.jobs.tuning is now kdh_ray.tuning, whose tune() takes a TuneSettings", FutureWarning, stacklevel=2
    )
    given = {_RENAMED.get(name, name): value for name, value in arguments.items() if value is not None}
    settings = TuneSettings(**{name: value for name, value in given.items() if name in _SETTINGS})
    return tuning.tune(objective, space, settings, **{name: given[name] for name in given if name not in _SETTINGS})
