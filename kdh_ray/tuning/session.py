"""``tune``: a search over any trainable by any Ray Tune searcher, resumable after a kill at any moment."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.storage import local_folder, locked_folder
from kdh_ray.tuning.config_values import ConfigValues
from kdh_ray.tuning.ledger import DISK_FULL, Ledger
from kdh_ray.tuning.ray_process import InterruptWatch, tune_environment
from kdh_ray.tuning.result import SearchResult
from kdh_ray.tuning.schedulers import make_scheduler
from kdh_ray.tuning.settings import TuneSettings
from kdh_ray.tuning.space_text import space_text
from kdh_ray.tuning.trials import OUT_OF_TIME, Listener, Trial

if TYPE_CHECKING:
    from kdh_ray.tuning.recorder import Recorder


def tune(
    objective: Any,
    space: Mapping[str, Any],
    settings: TuneSettings,
    *,
    searcher: Any,
    storage: str | os.PathLike[str],
    scheduler: Any = None,
    resume: bool = False,
    callbacks: Sequence[Any] = (),
    listener: Listener = lambda trial: None,
) -> SearchResult:
    """Search ``space`` for the configuration with the best result of ``objective``.

    Example::

        def objective(config):
            for epoch in range(5):
                ray.tune.report({"loss": config["x"] ** 2 / (epoch + 1)})

        result = tune(
            objective,
            {"x": ray.tune.uniform(-1.0, 1.0)},
            TuneSettings(trials=20, metric="loss", mode="min"),
            searcher=ParticleSwarmSearch(seed=0),
            storage="runs/parabola",
        )
        print(result.best.config)

    Args:
        objective: A function of a configuration that calls ``ray.tune.report``, or a ``ray.tune.Trainable``. A class
            with ``reset_config`` keeps its worker from one trial to the next.
        space: Ray Tune domains and constants, by name.
        settings: Size, metric and limits of the search.
        searcher: A fresh ``ray.tune.search.Searcher``. One without ``save`` starts anew when the search is resumed.
        storage: Folder of the search, on this machine or a shared file system; each search needs its own.
        scheduler: A Ray Tune scheduler, see :func:`make_scheduler`; no trial is stopped early if not given. Schedulers
            that suggest configurations themselves, such as population based training, are not supported. HyperBand
            starts new brackets when the search is resumed.
        resume: Continue the search in ``storage``, or start one if there is none. Trials that ended are not repeated;
            trials that were interrupted resume from their last checkpoints.
        callbacks: Further Ray Tune callbacks, such as those of :func:`kdh_ray.tuning.trackers.make_trackers`.
        listener: Called with a trial when it starts, reports, and ends.

    Returns:
        All trials, those of earlier sessions included.

    Raises:
        UserError: If the space is empty; if ``storage`` holds a search and ``resume`` is False, or one with another
            metric, mode, searcher or space; if another search is running there, or it can't be written; if the
            objective doesn't report the metric, or the cluster lacks the resources of a trial.
        KeyboardInterrupt: After Ctrl-C, once the trials have been shut down.
    """
    folder, purpose = local_folder(storage), _purpose(settings, searcher)
    with locked_folder(folder):
        ledger = Ledger(folder, ConfigValues(space))
        if ledger.trials and not resume:
            raise UserError(
                f"{folder} holds a search, {ledger.n_ended()} of {settings.n_trials} trials done: resume it, or choose"
                " another folder"
            )
        ledger.purpose = _checked_purpose(ledger, purpose)
        ledger.space = _checked_space(ledger, space_text(space))
        session = _Session(
            objective, dict(space), settings, searcher, scheduler or make_scheduler("none"), ledger, callbacks, listener
        )
        exhausted = False
        if len(ledger.trials) < settings.n_trials or ledger.running():
            if not space:
                raise UserError("a search space needs a domain, such as tune.uniform(0, 1); got an empty one")
            ledger.commit()  # so that a folder that can't be written is an error before anything starts
            from kdh_ray.cluster.session import ray_session

            with tune_environment(settings.verbose), ray_session(settings.job, settings.verbose):
                exhausted = session.run()
    return SearchResult(
        ledger.trials, settings.metric, settings.mode, ledger.seconds, exhausted, settings.further_objectives
    )


def _purpose(settings: TuneSettings, searcher: Any) -> dict[str, str]:
    """Return what every session of a search has in common.

    Raises:
        UserError: If the searcher holds results back, which would be lost when the search is resumed, or has other
            objectives than the settings.
    """
    while hasattr(searcher, "searcher"):  # such as Tune's ConcurrencyLimiter
        if getattr(searcher, "batch", False):
            raise UserError("a search can't resume with ConcurrencyLimiter(batch=True); use TuneSettings.concurrency")
        searcher = searcher.searcher
    algorithm = getattr(searcher, "algorithm", None)
    name = algorithm if isinstance(algorithm, str) else type(searcher).__name__
    further = getattr(searcher, "further_objectives", {})
    if further != settings.further_objectives:
        raise UserError(
            f"the searcher must be made with further_objectives={dict(settings.further_objectives)!r}, as the settings"
            f" have; got {dict(further)!r}"
        )
    metrics = ", ".join([settings.metric, *(f"{mode} {metric}" for metric, mode in further.items())])
    return {"metric": metrics, "mode": settings.mode, "searcher": name}


def _checked_purpose(ledger: Ledger, purpose: dict[str, str]) -> dict[str, str]:
    """Return the purpose of a search after comparing it with that of its earlier sessions.

    Raises:
        UserError: If they differ.
    """
    if ledger.trials and ledger.purpose and ledger.purpose != purpose:
        saved, asked = (f"the {p['mode']} of {p['metric']} by {p['searcher']}" for p in (ledger.purpose, purpose))
        raise UserError(f"{ledger.folder} holds a search for {saved}, not for {asked}: choose another folder")
    return purpose


def _checked_space(ledger: Ledger, space: dict[str, str]) -> dict[str, str]:
    """Return a search space after comparing it with that of the search's earlier sessions.

    Raises:
        UserError: If they differ, unless it is empty: then the results of a finished search are read.
    """
    if not ledger.trials or not ledger.space or not space:
        return space or ledger.space
    names = [name for name in {**ledger.space, **space} if ledger.space.get(name) != space.get(name)]
    if names:
        raise UserError(f"{ledger.folder} holds a search of another space ({', '.join(names)}): choose another folder")
    return space


@dataclass(frozen=True)
class _Session:
    """A search from its start, or its resumption, until it is done, interrupted or out of time."""

    objective: Any
    space: dict[str, Any]
    settings: TuneSettings
    searcher: Any
    scheduler: Any
    ledger: Ledger
    callbacks: Sequence[Any]
    listener: Listener

    def run(self) -> bool:
        """Run the remaining trials.

        Returns:
            True if the searcher had no more configurations to suggest.

        Raises:
            UnavailableError: If the ledger can't be written any more.
            KeyboardInterrupt: After Ctrl-C.
        """
        from ray.tune import TuneError

        recorder = self._recorder()
        watch = InterruptWatch()
        if self._seconds_left() > 0:
            try:
                with watch:
                    self._tuner(recorder).fit()
            except (TuneError, OSError) as error:
                raise self.ledger.fault or _translate(error, self.settings.metric) from None
        self._finish(recorder)
        if watch.interrupted:  # by a Ctrl-C too late to leave a trial unfinished
            raise KeyboardInterrupt
        return recorder.exhausted

    def _recorder(self) -> Recorder:
        from kdh_ray.tuning.prometheus import SearchMetrics
        from kdh_ray.tuning.recorder import Recorder

        name = self.settings.name or self.ledger.folder.name
        metrics = SearchMetrics(name, self.settings.mode, self.ledger.trials)

        def listener(trial: Trial) -> None:
            metrics(trial)
            self.listener(trial)

        limit = _trial_limit(self.settings)
        return Recorder(self.searcher, self.ledger, self.settings, listener=listener, limit=limit)

    def _tuner(self, recorder: Recorder) -> Any:
        from ray import tune as ray_tune

        from kdh_ray.tuning.adapters import RecordedScheduler, RecordedSearcher, RecordingCallback
        from kdh_ray.tuning.worker_reuse import reusable

        settings, seconds_left = self.settings, self._seconds_left()
        left = settings.n_trials - self.ledger.n_ended()  # interrupted ones included: they are new trials to Tune
        n_trials = sys.maxsize if left == float("inf") else int(left)
        return ray_tune.Tuner(
            ray_tune.with_resources(self.objective, dict(settings.resources)),
            param_space=self.space,
            tune_config=ray_tune.TuneConfig(
                metric=settings.metric,
                mode=settings.mode,
                search_alg=RecordedSearcher(recorder),
                scheduler=RecordedScheduler(self.scheduler, recorder),
                num_samples=n_trials,
                max_concurrent_trials=n_trials,  # RecordedSearcher limits them to the room that there is
                time_budget_s=None if seconds_left == float("inf") else seconds_left,
                reuse_actors=reusable(self.objective),
                trial_name_creator=lambda trial: recorder.trial(trial.trial_id).name,
                trial_dirname_creator=lambda trial: f"{recorder.trial(trial.trial_id).name}-{trial.trial_id}",
            ),
            run_config=ray_tune.RunConfig(
                name="ray",
                storage_path=str(self.ledger.folder),
                callbacks=[RecordingCallback(recorder), *self.callbacks],
                failure_config=ray_tune.FailureConfig(max_failures=settings.max_failures),
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=int(settings.verbose),
            ),
        )

    def _seconds_left(self) -> float:
        budget = self.settings.time_budget
        return float("inf") if budget is None else budget - self.ledger.seconds

    def _finish(self, recorder: Recorder) -> None:
        """Record the trials that Tune left: out of time, it drops them without an event; after Ctrl-C it returns."""
        if self._seconds_left() <= 0:
            recorder.stop_running(OUT_OF_TIME)
            if note := nothing_reported(self.ledger.trials, self.settings.time_budget):
                warnings.warn(note, RuntimeWarning, stacklevel=3)
        elif self.ledger.running() or (len(self.ledger.trials) < self.settings.n_trials and not recorder.exhausted):
            raise KeyboardInterrupt


def nothing_reported(trials: Sequence[Trial], time_budget: float | None) -> str:
    """Return a warning about a search whose time ended before it learnt anything; empty for any other."""
    if time_budget is None or any(trial.reports for trial in trials):
        return ""
    before = f"any of {len(trials)} trials reported" if trials else "a trial started"
    return f"time_budget: {time_budget:g} s ended before {before}; starting workers takes seconds, which count"


def _translate(error: Exception, metric: str) -> Exception:
    """Return a one-line error for an error of Ray Tune with a known cause; otherwise the error itself."""
    if "did not include the specified metric" in str(error):
        return UserError(f"the objective must report {metric!r}; a report came without it")
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return UnavailableError(
            f"{error.filename or 'a file of the search'}: no disk space left; free some and resume the search"
        )
    return error


def _trial_limit(settings: TuneSettings) -> Callable[[], float]:
    """Return a function that returns how many trials may run at once.

    Raises:
        UnavailableError: If no machine has room for a trial, and the cluster doesn't grow.
    """
    from kdh_ray.cluster.nodes import Room

    room, concurrency = Room(settings.resources), settings.concurrency
    if not settings.job.autoscaling:
        room.require()
    return room if concurrency is None else lambda: concurrency
