"""Workers that run one trial after another: which may, and what Ray Tune gets wrong about it."""

from __future__ import annotations

from typing import Any


def reusable(objective: Any) -> bool:
    """Whether a worker may run another trial after this one.

    For classes with ``reset_config``. Tune would reuse the workers of functions too, but fails the next trial if the
    last one's thread is not gone within 2 s, and a function can't keep what it has loaded.
    """
    from ray.tune import Trainable

    if not (isinstance(objective, type) and issubclass(objective, Trainable)):
        return False
    return any("reset_config" in base.__dict__ for base in objective.__mro__ if base is not Trainable)


def let_workers_start(view: Any) -> None:
    """Have Tune give a worker that becomes free to a new trial, and leave workers that start alone.

    Ray 2.60 gives it to a trial whose own worker is starting, and kills that one
    (``TuneController._maybe_reuse_cached_actor``). Where trials are shorter than the start of a worker, the machines
    whose workers were there first then run them all, and one that joins never gets any. A trial whose worker waits for
    resources still takes the free one, which may hold just those.

    Args:
        view: What Tune lets schedulers see of its controller.
    """
    controller = view._tune_controller
    reuse = controller._maybe_reuse_cached_actor

    def reuse_unless_starting(trial: Any) -> bool:
        worker = controller._trial_to_actor.get(trial)
        if worker is not None and controller._actor_manager.is_actor_started(worker):
            return False
        return bool(reuse(trial))

    controller._maybe_reuse_cached_actor = reuse_unless_starting
