"""Former name of :mod:`kdh_ray.tuning`, with the signature that ``tune`` had in version 0.1."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from kdh_ray import tuning
from kdh_ray.tuning import SearchResult, TuneSettings, make_scheduler
from kdh_ray.tuning.trials import Listener

__all__ = ["make_scheduler", "tune"]

_RENAMED = {"full": "full_length", "also": "extra_results"}


def tune(
    objective: Any,
    space: Mapping[str, Any],
    *,
    searcher: Any,
    storage: str | os.PathLike[str],
    scheduler: Any = None,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    listener: Listener = lambda trial: None,
    **settings: Any,
) -> SearchResult:
    """Search as :func:`kdh_ray.tuning.tune` does.

    ``settings`` are the fields of a ``TuneSettings``; ``full`` and ``also`` are the former names of ``full_length`` and
    ``extra_results``, and None stands for a default.

    Raises:
        TypeError: If ``settings`` has a name that is not a field.
    """
    warnings.warn(
        "kdh_ray.jobs.tuning is now kdh_ray.tuning, whose tune() takes a TuneSettings", FutureWarning, stacklevel=2
    )
    given = {_RENAMED.get(name, name): value for name, value in settings.items() if value is not None}
    return tuning.tune(
        objective, space, TuneSettings(**given), searcher=searcher, storage=storage, scheduler=scheduler,
        resume=resume, callbacks=callbacks, listener=listener,
    )  # fmt: skip
