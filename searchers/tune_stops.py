"""Who ended a trial: its own code, or Ray Tune's scheduler.

Ray Tune (2.60) doesn't tell searchers. The last result of a trial has ``done=True`` whether the trial ended by itself,
met a stop criterion, or was stopped by a scheduler at its own report; ``done=False`` only where a scheduler stopped it
at another trial's, as HyperBand does. So the decisions of the scheduler are noted as they are made. The scheduler is
that of the controller that is calling the searcher; outside Ray Tune there is none.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MethodType
from typing import Any

from ray.tune.result import DONE
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from searchers.tune_caller import calling_controller

_STOPPED = "_trials_stopped"  # attribute of a watched scheduler: ids of the trials that it stopped


def watch_scheduler() -> None:
    """Note from now on which trials the calling controller's scheduler stops."""
    scheduler = _calling_scheduler()
    if scheduler is not None and not hasattr(scheduler, _STOPPED):
        setattr(scheduler, _STOPPED, set())
        # A method, and no closure, so that copies of the scheduler note their own decisions.
        scheduler.on_trial_result = MethodType(_noted_decision, scheduler)


def ended_itself(trial_id: str, result: Mapping[str, Any]) -> bool:
    """Return True if a trial came to its own end, or met a stop criterion, with its last result.

    Args:
        trial_id: Ray Tune's id of the trial.
        result: Its last result.
    """
    if not result.get(DONE):
        return False
    scheduler = _calling_scheduler()
    if scheduler is None or type(scheduler) is FIFOScheduler:  # the latter stops no trial; its subclasses do
        return True
    return trial_id not in getattr(scheduler, _STOPPED, (trial_id,))


def _noted_decision(scheduler: Any, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
    decision: str = type(scheduler).on_trial_result(scheduler, tune_controller, trial, result)
    if decision == TrialScheduler.STOP:
        getattr(scheduler, _STOPPED).add(trial.trial_id)
    return decision


def _calling_scheduler() -> Any:
    """Return the scheduler of the controller that is calling; None outside Ray Tune."""
    controller = calling_controller()
    return None if controller is None else controller.scheduler_alg
