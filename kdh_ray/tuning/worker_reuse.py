"""Reuse of workers for one trial after another, and a workaround for Ray Tune's handling of it."""

from __future__ import annotations

from typing import Any


def reusable(objective: Any) -> bool:
    """Return True if a worker of ``objective`` can run another trial: for classes that define ``reset_config``.

    Tune would reuse the workers of functions too. But it fails the next trial if the last one's thread is still alive
    after 2 s, and a function can't keep what it has loaded.
    """
    from ray.tune import Trainable

    if not (isinstance(objective, type) and issubclass(objective, Trainable)):
        return False
    return any("reset_config" in base.__dict__ for base in objective.__mro__ if base is not Trainable)


def let_workers_start(tune_controller: Any) -> None:
    """Have Tune give free workers to new trials, and not to trials whose own worker is starting.

    Ray 2.60 does the latter, and kills the worker that is starting (``TuneController._maybe_reuse_cached_actor``).
    Where trials are shorter than the start of a worker, the first machines then run all trials, and a machine that
    joins never gets one. A trial whose worker still waits for resources takes the free worker, which may hold the very
    resources.

    Args:
        tune_controller: The view of Tune's controller that schedulers get.
    """
    controller = tune_controller._tune_controller
    reuse = controller._maybe_reuse_cached_actor

    def reuse_unless_starting(trial: Any) -> bool:
        worker = controller._trial_to_actor.get(trial)
        if worker is not None and controller._actor_manager.is_actor_started(worker):
            return False
        return bool(reuse(trial))

    controller._maybe_reuse_cached_actor = reuse_unless_starting
