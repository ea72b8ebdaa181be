"""A search's way into its ledger: around the user's searcher and scheduler, and beside them as a Tune callback."""

from __future__ import annotations

import copy
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.train._internal.session import _TrainingResult
from ray.tune import Callback, Checkpoint
from ray.tune.result import DONE
from ray.tune.schedulers import HyperBandScheduler, TrialScheduler
from ray.tune.search import Searcher

from kdh_ray.errors import UserError
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.trials import Listener, Report, Trial
from kdh_ray.tuning.worker_reuse import let_workers_start


class _StaysHere:
    """Tune pickles all that it is given, for a restoration that is not used here; listeners can't always be pickled."""

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()


class RecordedSearch(_StaysHere, Searcher):  # type: ignore[misc]  # Ray is untyped
    """Passes everything on to a searcher, and keeps each suggestion in the ledger.

    A resumed search first hands out the configurations of trials that were running, under the ids by which the
    searcher knows them, so that it never notices. It hands out nothing while ``limit()`` trials run: Tune's own limit
    is fixed for a session, and machines come and go. A trial that came to its own end counts as a full run, however
    short: searchers know the time ``whole[0]`` alone, and would take it for one that was stopped before ``whole[1]``.

    Attributes:
        timed_out: Tune's ids of trials that took too long.
        stopped: Tune's ids of trials that the scheduler stopped.
        finished: Whether the searcher has nothing more to suggest.
    """

    # The attribute must not be called ``searcher``, which Tune unwraps.

    def __init__(
        self,
        inner: Searcher,
        ledger: Ledger,
        full: Callable[[Mapping[str, Any]], float | None] = lambda config: None,
        limit: Callable[[], float] = lambda: float("inf"),
        whole: tuple[str, float | None] = ("", None),
    ) -> None:
        super().__init__(metric=inner.metric, mode=inner.mode)
        self._whole = whole
        self._inner, self._ledger, self._full, self._limit = inner, ledger, full, limit
        self._live: set[str] = set()
        self._last: dict[str, dict[str, Any]] = {}
        self.timed_out: set[str] = set()
        self.stopped: set[str] = set()
        self._to_resume = ledger.running()
        self._trials: dict[str, Trial] = {}
        self._max_concurrent: int | None = None
        self.finished = False

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        known = self._inner.set_search_properties(metric, mode, config, **spec)
        if self._ledger.searcher is not None:  # in this order, as Tune does it itself
            try:
                self._inner.restore(str(self._ledger.searcher))
            except ValueError as error:
                raise UserError(
                    f"{self._ledger.folder}: the search can't be taken up by this version: {error}"
                ) from None
            if self._max_concurrent is not None:  # which may differ from the earlier session's
                self._inner.set_max_concurrency(self._max_concurrent)
        return bool(known)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        self._max_concurrent = max_concurrent
        return bool(self._inner.set_max_concurrency(max_concurrent))

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if len(self._live) >= self._limit():
            return None
        config = self._suggest(trial_id)
        if config is not None and config != Searcher.FINISHED:
            self._live.add(trial_id)
        return config

    def _suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if self._to_resume:
            trial = self._to_resume.pop(0)
            self._trials[trial_id] = trial
            return copy.deepcopy(trial.config)
        config = self._inner.suggest(trial_id)
        if config is None or config == Searcher.FINISHED:
            self.finished = config is not None
            return config  # type: ignore[no-any-return]
        trial = Trial(len(self._ledger.trials) + 1, trial_id, copy.deepcopy(config), full=self._full(config))
        self._ledger.trials.append(trial)
        self._trials[trial_id] = trial
        self.commit(trial)
        return config  # type: ignore[no-any-return]

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        self._last[trial_id] = result
        self._inner.on_trial_result(self._trials[trial_id].id, result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self._live.discard(trial_id)
        last = self._last.pop(trial_id, None)
        own_end = not error and trial_id not in self.stopped and self._trials[trial_id].feasible
        if last and (trial_id in self.timed_out if error else result is None):  # None: it was stopped in a pause
            result, error = last, False  # what it had reached counts
        time_attr, longest = self._whole
        if result and longest is not None and own_end:
            result = {**result, time_attr: longest}
        self._inner.on_trial_complete(self._trials[trial_id].id, result=result, error=error)

    def save(self, checkpoint_path: str) -> None:
        self._inner.save(checkpoint_path)

    def restore(self, checkpoint_path: str) -> None:
        self._inner.restore(checkpoint_path)

    def trial(self, trial_id: str) -> Trial:
        """The ledger's trial behind Tune's id of this session."""
        return self._trials[trial_id]

    def commit(self, trial: Trial) -> None:
        """Write the ledger, after a change of ``trial``."""
        describe = getattr(self._inner, "particle_of", None)
        if describe is not None:
            with suppress(KeyError):  # of a searcher that could not be restored
                trial.particle = dict(describe(trial.id))
        self._ledger.commit(self._inner)


@dataclass(frozen=True, eq=False)
class _Earlier:
    """As much of a Tune trial as schedulers look at; stands for one of an earlier session."""

    trial_id: str
    status: str = "TERMINATED"


class RecordedScheduler(_StaysHere, TrialScheduler):  # type: ignore[misc]
    """Passes everything on to a scheduler; tells which trials it stopped, and it of trials of earlier sessions.

    It is also the one part of a search that Tune hands its controller to.
    """

    def __init__(self, inner: TrialScheduler, ledger: Ledger, metric: str, time_attr: str, max_t: float | None) -> None:
        super().__init__()
        self._inner, self._ledger = inner, ledger
        self._name, self._time_attr, self._max_t = metric, time_attr, max_t
        self._begun = False
        self.stopped: set[str] = set()

    @property
    def metric(self) -> str | None:
        return self._inner.metric  # type: ignore[no-any-return]

    @property
    def supports_buffered_results(self) -> bool:
        return False

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return bool(self._inner.set_search_properties(metric, mode, **spec))

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        if not self._begun:
            self._begun = True
            let_workers_start(tune_controller)
            self._replay(tune_controller)
        self._inner.on_trial_add(tune_controller, trial)

    def _replay(self, tune_controller: Any) -> None:
        """Rungs and medians as they were: Tune restores searchers, but not schedulers."""
        if isinstance(self._inner, HyperBandScheduler):  # its brackets wait for their trials to go on
            return
        for trial in self._ledger.trials:
            # A trial that goes on from a checkpoint reports again what came after that.
            until = float("inf") if trial.ended else trial.checkpoint_result.get(self._time_attr, 0.0)
            earlier = _Earlier(trial.id)
            self._inner.on_trial_add(tune_controller, earlier)
            for report in (report for report in trial.reports if report.time <= until):
                result = {self._time_attr: report.time, self._name: report.score}
                self._inner.on_trial_result(tune_controller, earlier, result)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        decision: str = self._inner.on_trial_result(tune_controller, trial, result)
        if decision == TrialScheduler.STOP:
            self._stop(trial, result)
        return decision

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        if not result.get(DONE):  # HyperBand also stops trials other than the one that reports
            self._stop(trial, result)
        self._inner.on_trial_complete(tune_controller, trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        self._inner.on_trial_error(tune_controller, trial)

    def on_trial_remove(self, tune_controller: Any, trial: Any) -> None:
        self._stop(trial, trial.last_result)  # while it paused
        self._inner.on_trial_remove(tune_controller, trial)

    def _stop(self, trial: Any, result: Mapping[str, Any]) -> None:
        if self._max_t is None or result.get(self._time_attr, 0.0) < self._max_t:
            self.stopped.add(trial.trial_id)

    def choose_trial_to_run(self, tune_controller: Any) -> Any:
        return self._inner.choose_trial_to_run(tune_controller)

    def debug_string(self) -> str:
        return str(self._inner.debug_string())


class Recorder(_StaysHere, Callback):  # type: ignore[misc]
    """Writes what happens to trials into the ledger, and ends those that take too long.

    Tune calls it right after the searcher, and between any two events, ten times a second.
    """

    def __init__(
        self,
        search: RecordedSearch,
        scheduler: RecordedScheduler,
        metric: str,
        time_attr: str,
        listener: Listener,
        *,
        also: Sequence[str] = (),
        time_limit: float | None = None,
    ) -> None:
        self._search, self._scheduler, self._listener = search, scheduler, listener
        self._metric, self._time_attr, self._also, self._time_limit = metric, time_attr, also, time_limit
        self._deadlines: dict[int, float] = {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._search.trial(trial.trial_id)
        if record.checkpoint is not None and Path(record.checkpoint).exists():
            # What Tune falls back on where a trial has saved nothing itself in this session.
            trial._restore_checkpoint_result = _TrainingResult(
                Checkpoint.from_directory(record.checkpoint), dict(record.checkpoint_result)
            )
        if self._time_limit is not None:
            earlier = float(record.checkpoint_result.get("time_total_s", 0.0))
            self._deadlines.setdefault(record.number, time.monotonic() + self._time_limit - earlier)
        self._listener(record)

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Kill workers whose trial is over its time limit: they may be in a call that never returns."""
        if all(time.monotonic() < deadline for deadline in self._deadlines.values()):
            return
        for trial in (trial for trial in trials if trial.status == "RUNNING"):
            number = self._search.trial(trial.trial_id).number
            if time.monotonic() >= self._deadlines.get(number, float("inf")):
                del self._deadlines[number]
                self._search.timed_out.add(trial.trial_id)
                trial.max_failures = 0  # it is not taken up again
                ray.kill(trial.temporary_state.ray_actor)

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: Mapping[str, Any], **info: Any
    ) -> None:
        record = self._search.trial(trial.trial_id)
        if self._metric in result:
            seconds = float(result.get("time_total_s", 0.0))
            values = {name: float(result[name]) for name in self._also if name in result}
            record.add(Report(float(result[self._time_attr]), float(result[self._metric]), seconds, values))
        record.worker = f"{result.get('hostname', '')}:{result.get('pid', '')}"
        self._search.commit(record)
        self._listener(record)

    def on_checkpoint(self, iteration: int, trials: list[Any], trial: Any, checkpoint: Any, **info: Any) -> None:
        record = self._search.trial(trial.trial_id)
        before, record.checkpoint = record.checkpoint, str(checkpoint.path)
        kept = ("training_iteration", "time_total_s", self._time_attr, self._metric)
        record.checkpoint_result = {name: trial.last_result[name] for name in kept if name in trial.last_result}
        self._search.commit(record)
        if before is not None and before != record.checkpoint:
            shutil.rmtree(before, ignore_errors=True)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._search.trial(trial.trial_id)
        if not record.feasible:
            self._end(record, "stopped", f"over its budget by {100 * record.values['violation']:.0f} %")
        else:
            self._end(record, "stopped" if trial.trial_id in self._scheduler.stopped else "ok")

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        record = self._search.trial(trial.trial_id)
        if trial.trial_id in self._search.timed_out:
            self._end(record, "stopped", f"timed out after {self._time_limit:g} s")
        else:
            self._end(record, "failed", _cause(trial))

    def on_experiment_end(self, trials: list[Any], **info: Any) -> None:
        """A trial whose worker couldn't be set up fails without a word to searchers or callbacks."""
        for trial in trials:
            record = self._search.trial(trial.trial_id)
            if trial.status == "ERROR" and not record.ended:
                self._search.on_trial_complete(trial.trial_id, error=True)
                self._end(record, "failed", _cause(trial))

    def end(self, record: Trial, reason: str) -> None:
        """Stop a trial that Tune has left."""
        self._end(record, "stopped", reason)

    def _end(self, record: Trial, status: Any, error: str = "") -> None:
        self._deadlines.pop(record.number, None)
        checkpoint, record.checkpoint, record.checkpoint_result = record.checkpoint, None, {}
        record.status, record.error = status, error
        self._search.commit(record)
        if checkpoint is not None:  # hundreds of megabytes each
            shutil.rmtree(checkpoint, ignore_errors=True)
        self._listener(record)


def _cause(trial: Any) -> str:
    """The error behind a trial's end, in one line, from the file that Tune keeps of it."""
    try:
        lines = Path(trial.error_file).read_text(encoding="utf-8", errors="replace").splitlines()
    except (OSError, TypeError):  # Tune keeps no file where the trial has no folder
        return "unknown"
    lines = [line.strip() for line in lines if line.strip()] or ["unknown"]
    last = max((number for number, line in enumerate(lines) if line.startswith("Failure # ")), default=-1)
    lines = lines[last + 1 :] or ["unknown"]  # of the last failure
    raised = "ray::" in lines[0] or lines[0].startswith("Traceback")
    return (lines[-1] if raised else lines[0])[:300]
