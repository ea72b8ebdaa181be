"""``tune``: any trainable, searched by any Ray Tune searcher; resumable after a kill at any moment."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.jobs.tuning.ledger import Ledger, Trial

if TYPE_CHECKING:
    import pandas as pd

TIME = "training_iteration"


@dataclass(frozen=True)
class Search:
    """A finished search.

    Attributes:
        trials: In the order of suggestions.
        metric: What was optimised.
        mode: ``max`` or ``min``.
        seconds: Wall time, over all sessions.
    """

    trials: list[Trial]
    metric: str
    mode: str
    seconds: float

    @property
    def best(self) -> Trial:
        """Of the trials that ran to their end, or else of all that reported, the one with the best last score.

        Raises:
            UserError: If no trial reported a number.
        """
        trial = best_of(self.trials, self.mode)
        if trial is None:
            errors = "; ".join(sorted({trial.error for trial in self.trials if trial.error}))[:300]
            raise UserError(f"none of {len(self.trials)} trials reported {self.metric}: {errors or 'all were stopped'}")
        return trial

    def frame(self) -> pd.DataFrame:
        """One row a trial; see ``Ledger.frame``."""
        import pandas as pd

        from kdh_ray.jobs.tuning.ledger import trial_columns

        return pd.DataFrame([trial_columns(trial) for trial in self.trials])


def best_of(trials: Sequence[Trial], mode: str) -> Trial | None:
    """The best trial that ran to its end, else the best that reported; None if none did."""
    sign = 1.0 if mode == "max" else -1.0
    scored = [trial for trial in trials if trial.score is not None and trial.score == trial.score]
    finished = [trial for trial in scored if trial.status == "ok"]
    return max(finished or scored, key=lambda trial: sign * float(trial.score or 0.0), default=None)


def make_scheduler(name: str, max_t: float | None = None, grace: int = 1, reduction: float = 3.0) -> Any:
    """What stops poor trials early.

    Args:
        name: ``asha`` (Li et al., "A system for massively parallel hyperparameter tuning", 2020), ``median`` (Golovin
            et al., "Google Vizier", 2017) or ``none``.
        max_t: Units of training of the longest trial.
        grace: Units of training before a trial may be stopped.
        reduction: ASHA's rungs are ``grace * reduction**k``, and one trial in ``reduction`` goes on from each.

    Raises:
        ValueError: If there is no such scheduler.
    """
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

    if name == "asha":
        return ASHAScheduler(time_attr=TIME, max_t=max_t or 100, grace_period=grace, reduction_factor=reduction)
    if name == "median":
        # Without the time slice, it pauses trials for others to catch up, which here only costs.
        return MedianStoppingRule(time_attr=TIME, grace_period=grace, min_time_slice=float("inf"))
    if name == "none":
        return FIFOScheduler()
    raise ValueError(f"a scheduler is asha, median or none; got {name!r}")


def tune(
    objective: Any,
    space: Mapping[str, Any],
    *,
    searcher: Any,
    trials: int,
    metric: str,
    storage: str | os.PathLike[str],
    mode: Literal["max", "min"] = "max",
    scheduler: Any = None,
    max_t: float | None = None,
    concurrency: int | None = None,
    resources: Mapping[str, float] | None = None,
    time_budget: float | None = None,
    max_failures: int = 0,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    listener: Callable[[Trial], None] = lambda trial: None,
    job: JobConfig | None = None,
    verbose: bool = False,
) -> Search:
    """Search ``space`` for what makes ``objective`` best.

    Args:
        objective: A function of a configuration that calls ``ray.tune.report``, or a ``ray.tune.Trainable``. A class
            with ``reset_config`` keeps its worker from one trial to the next.
        space: Ray Tune domains and constants.
        searcher: Any ``ray.tune.search.Searcher``, fresh. One that can't ``save`` starts anew when resumed.
        trials: How many configurations to try, over all sessions.
        metric: What the objective reports.
        storage: Folder of the search, one search a folder.
        mode: Whether ``metric`` is to be high or low.
        scheduler: Any Ray Tune scheduler; none stops trials early by default. See ``make_scheduler``.
        max_t: Units of training (``training_iteration``) of a full trial; one that a scheduler stops there is ``ok``.
        concurrency: Trials at once; as many as the cluster has room for if not given.
        resources: Of a trial: ``{"CPU": 1, "GPU": 0}``.
        time_budget: Seconds of wall time over all sessions; what runs then is stopped.
        max_failures: Times that a failed trial goes on from its last checkpoint.
        resume: Go on with the search in ``storage``: trials that ended are not run again, those that were running
            go on from their last checkpoint. Starts one where there is none.
        callbacks: Ray Tune callbacks, such as trackers.
        listener: Called with a trial when it starts, reports, and ends.
        job: Whose ``address`` names a running Ray cluster.
        verbose: Show Ray's own log lines.

    Raises:
        UserError: If ``storage`` holds a search and ``resume`` is False, or the cluster hasn't the resources.
        KeyboardInterrupt: After Ctrl-C, when the trials have been taken down.
    """
    folder = Path(storage).expanduser().absolute()
    ledger = Ledger(folder)
    if ledger.trials and not resume:
        raise UserError(
            f"{folder} holds a search, {ledger.n_ended()} of {trials} trials done: resume it, or take another folder"
        )
    left = float("inf") if time_budget is None else time_budget - ledger.seconds
    with _environment(verbose):
        from kdh_ray.jobs.cluster import ray_session

        if len(ledger.trials) < trials or ledger.running():
            with ray_session(job or JobConfig(), verbose):
                from kdh_ray.jobs.tuning.recording import RecordedScheduler, RecordedSearch, Recorder

                search = RecordedSearch(searcher, ledger)
                recorded = RecordedScheduler(scheduler or make_scheduler("none"), ledger, metric, TIME, max_t)
                recorder = Recorder(search, recorded, metric, TIME, listener)
                if left > 0:
                    _fit(
                        objective, space, search, recorded, [recorder, *callbacks],
                        n=trials - ledger.n_ended(), metric=metric, mode=mode, folder=folder, left=left,
                        concurrency=concurrency, resources=dict(resources or {"CPU": 1}), max_failures=max_failures,
                        verbose=verbose,
                    )  # fmt: skip
                _settle(ledger, recorder, search, trials, time_budget)
    return Search(ledger.trials, metric, mode, ledger.seconds)


def _fit(
    objective: Any,
    space: Mapping[str, Any],
    search: Any,
    scheduler: Any,
    callbacks: list[Any],
    *,
    n: int,
    metric: str,
    mode: str,
    folder: Path,
    left: float,
    concurrency: int | None,
    resources: dict[str, float],
    max_failures: int,
    verbose: bool,
) -> None:
    """One session: ``n`` trials, those included that are taken up again."""
    from ray import tune as ray_tune

    ray_tune.Tuner(
        ray_tune.with_resources(objective, resources),
        param_space=dict(space),
        tune_config=ray_tune.TuneConfig(
            metric=metric,
            mode=mode,
            search_alg=search,
            scheduler=scheduler,
            num_samples=n,
            max_concurrent_trials=min(n, concurrency or room(resources)),
            time_budget_s=None if left == float("inf") else left,
            reuse_actors=_reusable(objective),
            trial_name_creator=lambda trial: _name(search.trial(trial.trial_id)),
            trial_dirname_creator=lambda trial: f"{_name(search.trial(trial.trial_id))}-{trial.trial_id}",
        ),
        run_config=ray_tune.RunConfig(
            name="ray",
            storage_path=str(folder),
            callbacks=callbacks,
            failure_config=ray_tune.FailureConfig(max_failures=max_failures),
            checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
            verbose=int(verbose),
        ),
    ).fit()


def _settle(ledger: Ledger, recorder: Any, search: Any, trials: int, time_budget: float | None) -> None:
    """What Tune left: at the end of the time budget it drops trials without a word, and after Ctrl-C it returns."""
    if time_budget is not None and ledger.seconds >= time_budget:
        for trial in ledger.running():
            recorder.end(trial, "the time budget was used up")
    elif ledger.running() or (len(ledger.trials) < trials and not search.finished):
        raise KeyboardInterrupt


def room(resources: Mapping[str, float]) -> int:
    """Trials of ``resources`` that the cluster has room for at once.

    Raises:
        UnavailableError: If no machine has room for one.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {kind: amount for kind, amount in resources.items() if amount > 0}
    fits = [min(int(node.get(kind, 0.0) / amount + 1e-9) for kind, amount in wanted.items()) for node in nodes]
    if not sum(fits):
        most = {kind: max(node.get(kind, 0.0) for node in nodes) for kind in wanted}
        raise UnavailableError(f"a trial takes {wanted}; the largest machine has {most}")
    return sum(fits)


def _reusable(objective: Any) -> bool:
    """Whether a worker may run another trial after this one.

    For classes with ``reset_config``. Tune would reuse the workers of functions too, but fails the next trial if the
    last one's thread is not gone within 2 s, and a function can't keep what it has loaded.
    """
    from ray.tune import Trainable

    if not (isinstance(objective, type) and issubclass(objective, Trainable)):
        return False
    return any("reset_config" in base.__dict__ for base in objective.__mro__ if base is not Trainable)


def _name(trial: Trial) -> str:
    particle = trial.particle.get("particle")
    return f"trial-{trial.number:04d}" if particle is None else f"particle-{particle}-trial-{trial.number:04d}"


@contextmanager
def _environment(verbose: bool) -> Iterator[None]:
    """Settings that Tune takes from the environment alone; what the user has set stays."""
    settings = {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths of objectives mean what they say
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # the ledger is what is resumed from
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # so are the rows; trackers are the user's choice
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "1" if verbose else "0",
        "RAY_AIR_NEW_OUTPUT": "1" if verbose else "0",  # the new one prints tables even when it is told to be silent
    }
    mine = [name for name in settings if name not in os.environ]
    os.environ.update({name: settings[name] for name in mine})
    logger = logging.getLogger("ray.tune")
    level = logger.level
    if not verbose:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in mine:
            del os.environ[name]
