"""``tune``: any trainable, searched by any Ray Tune searcher; resumable after a kill at any moment."""

from __future__ import annotations

import errno
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.storage import locked_folder
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.trials import Listener, Trial, best_of, trial_columns

if TYPE_CHECKING:
    import pandas as pd

TIME = "training_iteration"
OUT_OF_TIME = "the time budget was used up"  # why a trial was stopped


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
            number, why = len(self.trials), errors or "none reported a number"
            raise UserError(f"none of {number} trials gave a {self.metric} to go by: {why}")
        return trial

    def frame(self) -> pd.DataFrame:
        """One row a trial; see ``Ledger.frame``."""
        import pandas as pd

        return pd.DataFrame([trial_columns(trial) for trial in self.trials])


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
    full: Callable[[Mapping[str, Any]], float | None] | None = None,
    also: Sequence[str] = (),
    concurrency: int | None = None,
    resources: Mapping[str, float] | None = None,
    time_budget: float | None = None,
    trial_time_limit: float | None = None,
    max_failures: int = 0,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    listener: Listener = lambda trial: None,
    name: str | None = None,
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
        scheduler: Any Ray Tune scheduler but those that suggest settings themselves, such as population based training;
            none stops trials early by default. See ``make_scheduler``. HyperBand starts new brackets when resumed.
        max_t: Units of training (``training_iteration``) of a full trial; one that a scheduler stops there is ``ok``.
        full: Units of training of a configuration's full run, where they differ; ``max_t`` for all if not given.
        also: Further results to keep with each report.
        concurrency: Trials at once; as many as the cluster has room for at the time if not given.
        resources: Of a trial: ``{"CPU": 1, "GPU": 0, "memory": 1e9}``.
        time_budget: Seconds of wall time over all sessions; what runs then is stopped.
        trial_time_limit: Seconds a trial may run; its worker is killed then, whatever it is doing.
        max_failures: Times that a failed trial goes on from its last checkpoint.
        resume: Go on with the search in ``storage``: trials that ended are not run again, those that were running
            go on from their last checkpoint. Starts one where there is none.
        callbacks: Ray Tune callbacks, such as trackers.
        listener: Called with a trial when it starts, reports, and ends.
        name: By which Ray's metrics know the search; the folder's if not given.
        job: Where: ``address`` and ``autoscaling``.
        verbose: Show Ray's own log lines.

    Raises:
        ValueError: If no trial may run at a time.
        UserError: If ``storage`` holds a search and ``resume`` is False, another one is running there, it can't be
            written, the objective doesn't report ``metric``, or the cluster hasn't the resources.
        KeyboardInterrupt: After Ctrl-C, when the trials have been taken down.
    """
    if concurrency is not None and concurrency < 1:
        raise ValueError(f"concurrency must be at least 1; got {concurrency}")
    folder = Path(storage).expanduser().absolute()
    with locked_folder(folder):
        ledger = Ledger(folder)
        if ledger.trials and not resume:
            done = f"{ledger.n_ended()} of {trials} trials done"
            raise UserError(f"{folder} holds a search, {done}: resume it, or take another folder")
        session = _Session(
            objective, dict(space), searcher, scheduler or make_scheduler("none"), ledger, folder,
            trials=trials, metric=metric, mode=mode, max_t=max_t, full=full or (lambda config: max_t), also=tuple(also),
            concurrency=concurrency, resources=dict(resources or {"CPU": 1}), time_budget=time_budget,
            trial_time_limit=trial_time_limit, max_failures=max_failures, callbacks=list(callbacks), listener=listener,
            name=name or folder.name, job=job or JobConfig(), verbose=verbose,
        )  # fmt: skip
        if len(ledger.trials) < trials or ledger.running():
            ledger.commit()  # a folder that can't be written is an error before anything starts
            from kdh_ray.cluster.session import ray_session

            with _environment(verbose), ray_session(session.job, verbose):
                session.run()
    return Search(ledger.trials, metric, mode, ledger.seconds)


@dataclass(frozen=True)
class _Session:
    """A search until it is done, interrupted or out of time; see ``tune`` for the attributes."""

    objective: Any
    space: dict[str, Any]
    searcher: Any
    scheduler: Any
    ledger: Ledger
    folder: Path
    trials: int
    metric: str
    mode: str
    max_t: float | None
    full: Callable[[Mapping[str, Any]], float | None]
    also: tuple[str, ...]
    concurrency: int | None
    resources: dict[str, float]
    time_budget: float | None
    trial_time_limit: float | None
    max_failures: int
    callbacks: list[Any]
    listener: Listener
    name: str
    job: JobConfig
    verbose: bool

    def run(self) -> None:
        """Run what is left of the search.

        Raises:
            UnavailableError: If the ledger can't be written any more.
            KeyboardInterrupt: After Ctrl-C.
        """
        from ray.tune import TuneError

        from kdh_ray.tuning.prometheus import SearchMetrics
        from kdh_ray.tuning.recorder import RecordedScheduler, RecordedSearch, Recorder

        limit = _limit(self.resources, self.concurrency, self.job)
        search = RecordedSearch(self.searcher, self.ledger, self.full, limit, whole=(TIME, self.max_t))
        scheduler = RecordedScheduler(self.scheduler, self.ledger, self.metric, TIME, self.max_t)
        search.stopped = scheduler.stopped
        metrics = SearchMetrics(self.name, self.mode, self.ledger.trials)

        def listener(trial: Trial) -> None:
            metrics(trial)
            self.listener(trial)

        recorder = Recorder(
            search, scheduler, self.metric, TIME, listener, also=self.also, time_limit=self.trial_time_limit
        )
        interrupts: list[bool] = []
        if self._seconds_left() > 0:
            try:
                with _interrupts() as interrupts:
                    self._tuner(search, scheduler, recorder).fit()
            except (TuneError, OSError) as error:
                raise self.ledger.fault or _fault(error, self.metric) from None
        self._settle(recorder, search)
        if any(interrupts):  # it came too late to leave a trial unfinished
            raise KeyboardInterrupt

    def _tuner(self, search: Any, scheduler: Any, recorder: Any) -> Any:
        from ray import tune as ray_tune

        from kdh_ray.tuning.worker_reuse import reusable

        left, n = self._seconds_left(), self.trials - self.ledger.n_ended()  # those included that are taken up again
        return ray_tune.Tuner(
            ray_tune.with_resources(self.objective, self.resources),
            param_space=self.space,
            tune_config=ray_tune.TuneConfig(
                metric=self.metric,
                mode=self.mode,
                search_alg=search,
                scheduler=scheduler,
                num_samples=n,
                max_concurrent_trials=n,  # the search itself hands out fewer, as there is room
                time_budget_s=None if left == float("inf") else left,
                reuse_actors=reusable(self.objective),
                trial_name_creator=lambda trial: search.trial(trial.trial_id).name,
                trial_dirname_creator=lambda trial: f"{search.trial(trial.trial_id).name}-{trial.trial_id}",
            ),
            run_config=ray_tune.RunConfig(
                name="ray",
                storage_path=str(self.folder),
                callbacks=[recorder, *self.callbacks],
                failure_config=ray_tune.FailureConfig(max_failures=self.max_failures),
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=int(self.verbose),
            ),
        )

    def _seconds_left(self) -> float:
        return float("inf") if self.time_budget is None else self.time_budget - self.ledger.seconds

    def _settle(self, recorder: Any, search: Any) -> None:
        """What Tune left: at the end of the time budget it drops trials without a word, after Ctrl-C it returns."""
        if self._seconds_left() <= 0:
            for trial in self.ledger.running():
                recorder.end(trial, OUT_OF_TIME)
        elif self.ledger.running() or (len(self.ledger.trials) < self.trials and not search.finished):
            raise KeyboardInterrupt


@contextmanager
def _interrupts() -> Iterator[list[bool]]:
    """Whether Ctrl-C came within a block that runs Tune, and Ctrl-C as it was before once the block has ended.

    Tune answers the first one by ending early and puts the handler before its own back; without one it leaves its own
    in place, which would swallow the next.
    """
    heard: list[bool] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield heard
        return
    try:
        yield heard
    finally:
        disabled = os.environ.get("TUNE_DISABLE_SIGINT_HANDLER", "0") != "0"
        heard.append(signal.getsignal(signal.SIGINT) is before and not disabled)
        signal.signal(signal.SIGINT, before)


def _fault(error: Exception, metric: str) -> Exception:
    """What to raise for an error of Ray Tune's own: a full disk, for one, is nothing for a traceback."""
    if "did not include the specified metric" in str(error):
        return UserError(f"the objective must report {metric!r}; a report came without it")
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UnavailableError(
            f"{error.filename or 'a file of the search'}: no disk space left; resume it when there is"
        )
    return error


def _limit(resources: dict[str, float], concurrency: int | None, job: JobConfig) -> Callable[[], float]:
    """How many trials may run at once, now.

    Raises:
        UnavailableError: If no machine has room for a trial, nor will have.
    """
    from kdh_ray.cluster.nodes import Room

    room = Room(resources)
    if not job.autoscaling:
        room.require()
    return room if concurrency is None else lambda: concurrency


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
