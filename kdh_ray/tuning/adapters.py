"""Adapters between Ray Tune and a :class:`kdh_ray.tuning.recorder.Recorder`: a searcher, a scheduler and a callback.

The searcher and the scheduler wrap the user's own. The adapters have no state of the search; the recorder has it all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train._internal.session import _TrainingResult
from ray.tune import Callback, Checkpoint
from ray.tune.result import DONE
from ray.tune.schedulers import HyperBandScheduler, TrialScheduler
from ray.tune.search import ConcurrencyLimiter, Searcher

from kdh_ray.tuning.recorder import PickledAsStub, Recorder
from kdh_ray.tuning.trials import TIME_ATTR
from kdh_ray.tuning.worker_reuse import let_workers_start


class RecordedSearcher(PickledAsStub, Searcher):  # type: ignore[misc]  # Ray is untyped
    """The recorder's searcher, with every suggestion recorded.

    A resumed search first suggests the configurations of the trials that were interrupted. No suggestion is made while
    as many trials run as the recorder's limit allows: Tune's own limit is fixed for a session.
    """

    # No attribute may be called ``searcher``: Tune would unwrap it and bypass the recorder.

    def __init__(self, recorder: Recorder) -> None:
        super().__init__(metric=recorder.searcher.metric, mode=recorder.searcher.mode)
        self._recorder = recorder
        self._max_concurrent: int | None = None

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Pass Tune's metric, mode and search space on, then restore the searcher, in Tune's own order."""
        searcher = self._recorder.searcher
        accepted = searcher.set_search_properties(metric, mode, config, **spec)
        if self._recorder.restore_searcher():
            self._limit_searcher()  # the earlier session's limit may have been another
        return bool(accepted)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Pass Tune's limit on, unless the user's searcher has a limiter of its own."""
        self._max_concurrent = max_concurrent
        return self._limit_searcher()

    def _limit_searcher(self) -> bool:
        searcher = self._recorder.searcher
        if self._max_concurrent is None or isinstance(searcher, ConcurrencyLimiter):
            return False
        return bool(searcher.set_max_concurrency(self._max_concurrent))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration, ``Searcher.FINISHED``, or None for none at the moment."""
        if not self._recorder.has_room():
            return None
        resumed = self._recorder.resume_trial(trial_id)
        if resumed is not None:
            return resumed
        config = self._recorder.searcher.suggest(trial_id)
        if config == Searcher.FINISHED:
            self._recorder.exhausted = True
        elif config is not None:
            self._recorder.add_trial(trial_id, config)
        return config  # type: ignore[no-any-return]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a result on."""
        self._recorder.report_to_searcher(trial_id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass the end of a trial on."""
        self._recorder.complete_in_searcher(trial_id, result, error)

    def save(self, checkpoint_path: str) -> None:
        """Save the state of the user's searcher."""
        self._recorder.searcher.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        """Restore the state of the user's searcher."""
        self._recorder.searcher.restore(checkpoint_path)


@dataclass(frozen=True, eq=False)
class _EarlierTrial:
    """A trial of an earlier session, with the attributes of a Tune trial that schedulers read."""

    trial_id: str
    status: str = "TERMINATED"


class RecordedScheduler(PickledAsStub, TrialScheduler):  # type: ignore[misc]
    """The user's scheduler, with every stop recorded.

    Tune restores no schedulers, so a resumed search first replays the earlier trials: rungs and medians are then what
    they were. Tune hands its controller to schedulers only, so workers are set up here too.
    """

    def __init__(self, scheduler: TrialScheduler, recorder: Recorder) -> None:
        super().__init__()
        self._scheduler, self._recorder = scheduler, recorder
        self._begun = False

    @property
    def metric(self) -> str | None:
        """Metric of the user's scheduler."""
        return self._scheduler.metric  # type: ignore[no-any-return]

    @property
    def supports_buffered_results(self) -> bool:
        """False: each result is recorded before the next arrives."""
        return False

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """Pass Tune's metric and mode on."""
        return bool(self._scheduler.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Pass a new trial on; before the first, replay those of earlier sessions."""
        if not self._begun:
            self._begun = True
            let_workers_start(tune_controller)
            self._replay(tune_controller)
        self._scheduler.on_trial_add(tune_controller, trial)

    def _replay(self, tune_controller: Any) -> None:
        if isinstance(self._scheduler, HyperBandScheduler):  # its brackets would wait for the earlier trials to resume
            return
        for trial in self._recorder.ledger.trials:
            # A trial that resumes from a checkpoint repeats its later reports.
            until = float("inf") if trial.ended else trial.checkpoint_result.get(TIME_ATTR, 0.0)
            earlier = _EarlierTrial(trial.id)
            self._scheduler.on_trial_add(tune_controller, earlier)
            for report in trial.reports:
                if report.time <= until:
                    result = {TIME_ATTR: report.time, self._recorder.settings.metric: report.score}
                    self._scheduler.on_trial_result(tune_controller, earlier, result)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return the scheduler's decision on a trial that reported; one that reported no number has to stop."""
        if self._recorder.is_faulty(trial.trial_id, result):
            return str(TrialScheduler.STOP)
        decision: str = self._scheduler.on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP and self._recorder.is_spared(trial.trial_id, result):
            return str(TrialScheduler.CONTINUE)
        if decision == TrialScheduler.STOP:
            self._recorder.mark_stopped(trial.trial_id, result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        """Pass the end of a trial on. One that is not done was stopped: HyperBand stops other trials, too."""
        if self._recorder.is_faulty(trial.trial_id, result):
            self._scheduler.on_trial_error(tune_controller, trial)
            return
        if not result.get(DONE):
            self._recorder.mark_stopped(trial.trial_id, result)
        self._scheduler.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Pass a failure on."""
        self._scheduler.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        """Pass on that a trial was stopped while it was paused."""
        self._recorder.mark_stopped(trial.trial_id, trial.last_result)
        self._scheduler.on_trial_remove(tune_controller, trial)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        """Return the scheduler's choice."""
        return self._scheduler.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        """Return the scheduler's own description."""
        return str(self._scheduler.debug_string())


class RecordingCallback(PickledAsStub, Callback):  # type: ignore[misc]
    """Passes Tune's events to the recorder, resumes trials from checkpoints, and kills those past their time limit.

    Tune calls it right after the searcher.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Have a trial of an earlier session resume from its checkpoint."""
        record = self._recorder.trial(trial.trial_id)
        if record.checkpoint is not None and Path(record.checkpoint).exists():
            # Tune falls back on this where a trial has saved no checkpoint in this session.
            trial._restore_checkpoint_result = _TrainingResult(
                Checkpoint.from_directory(record.checkpoint), dict(record.checkpoint_result)
            )
        self._recorder.start(trial.trial_id)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Kill the workers of overdue trials, which may be in a call that never returns. Called 10 times a second."""
        overdue = self._recorder.overdue()
        if not overdue:
            return
        for trial in trials:
            if trial.trial_id in overdue and trial.status == "RUNNING":
                self._recorder.mark_timed_out(trial.trial_id)
                trial.max_failures = 0  # or Tune would restart it
                ray.kill(trial.temporary_state.ray_actor)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        """Record a result."""
        self._recorder.report(trial.trial_id, result)

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        """Record a checkpoint."""
        self._recorder.keep_checkpoint(trial.trial_id, str(checkpoint.path), trial.last_result)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the end of a trial."""
        self._recorder.complete(trial.trial_id)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        """Record the failure of a trial."""
        self._recorder.fail(trial.trial_id, _cause(trial))

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """Record the failures that Tune reports to no searcher or callback: those of a worker's set-up."""
        for trial in trials:
            if trial.status == "ERROR" and not self._recorder.trial(trial.trial_id).ended:
                self._recorder.complete_in_searcher(trial.trial_id, error=True)
                self._recorder.end(trial.trial_id, "failed", _cause(trial))


def _cause(trial: Any) -> str:
    """Return the error that ended a trial, in one line, from the file in which Tune stores its failures."""
    try:
        lines = Path(trial.error_file).read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, TypeError):  # Tune has no file for a trial without a folder
        return "unknown"
    lines = [line.strip() for line in lines if line.strip()] or ["unknown"]
    last = max((number for number, line in enumerate(lines) if line.startswith("Failure # ")), default=-1)
    lines = lines[last + 1 :] or ["unknown"]  # those of the last failure
    # A traceback ends with the error. Ray's own errors, such as a lost worker, begin with it.
    has_traceback = "ray::" in lines[0] or lines[0].startswith("Traceback")
    return (lines[-1] if has_traceback else lines[0])[:300]
