"""Ray Tune schedulers that stop poor trials early."""

from __future__ import annotations

from typing import Any

from kdh_ray.tuning.trials import TIME_ATTR


def make_scheduler(name: str, max_t: float | None = None, grace: int = 1, reduction: float = 3.0) -> Any:
    """Make a Ray Tune scheduler.

    Args:
        name: ``asha`` (Li et al., "A system for massively parallel hyperparameter tuning", MLSys 2020), ``median``
            (the median stopping rule of Golovin et al., "Google Vizier", KDD 2017, section 3.2.1), or ``none``, which
            stops no trial.
        max_t: Units of training of the longest trial; 100 for ASHA if not given.
        grace: Units of training before a trial may be stopped.
        reduction: ASHA's reduction factor eta: its rungs are at ``grace * eta**k`` units, and the best 1 / eta of the
            trials continue from each.

    Returns:
        A ``ray.tune.schedulers.TrialScheduler``.

    Raises:
        ValueError: If there is no scheduler of that name.
    """
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

    if name == "asha":
        return ASHAScheduler(time_attr=TIME_ATTR, max_t=max_t or 100, grace_period=grace, reduction_factor=reduction)
    if name == "median":
        # With a finite time slice the rule pauses trials until others catch up, which only costs time here.
        return MedianStoppingRule(time_attr=TIME_ATTR, grace_period=grace, min_time_slice=float("inf"))
    if name == "none":
        return FIFOScheduler()
    raise ValueError(f"a scheduler is asha, median or none; got {name!r}")
