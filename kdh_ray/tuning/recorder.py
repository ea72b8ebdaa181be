"""The state of a search in progress: which trials run, when they have to end, and what the ledger holds of them.

:mod:`kdh_ray.tuning.adapters` connects a :class:`Recorder` to Ray Tune.
"""

from __future__ import annotations

import copy
import math
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import UserError
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.settings import TuneSettings
from kdh_ray.tuning.trials import TIME_ATTR, VIOLATION, Listener, Report, Status, Trial

if TYPE_CHECKING:
    from ray.tune.search import Searcher


class PickledAsStub:
    """Mixin that pickles as an empty object.

    Tune pickles all its components for ``Tuner.restore``, which is not used here. A search's listener can't always be
    pickled.
    """

    def __reduce__(self) -> tuple[type[object], tuple[()]]:
        return object, ()


class Recorder(PickledAsStub):
    """Writes the events of a search into its ledger.

    Ray Tune gives each trial a new id in each session. The ledger and the user's searcher know a trial by the id of
    the session that suggested it, so that a resumed search looks uninterrupted to the searcher. Methods take Tune's
    ids of this session.

    Args:
        searcher: The user's searcher. It is saved with the ledger at each event.
        ledger: Trials of this session and of earlier ones.
        settings: Settings of the search.
        listener: Called with a trial when it starts, reports, and ends.
        limit: Function that returns how many trials may run at once. It is called before each suggestion, since
            machines join and leave the cluster.

    Attributes:
        exhausted: True once the searcher has nothing more to suggest.
    """

    def __init__(
        self,
        searcher: Searcher,
        ledger: Ledger,
        settings: TuneSettings,
        *,
        listener: Listener = lambda trial: None,
        limit: Callable[[], float] = lambda: math.inf,
    ) -> None:
        self.searcher = searcher
        self.ledger = ledger
        self.settings = settings
        self.exhausted = False
        self._listener = listener
        self._limit = limit
        self._interrupted = ledger.running()  # by the end of an earlier session; they resume first
        self._trials: dict[str, Trial] = {}
        self._live: set[str] = set()
        self._stopped: set[str] = set()  # by the scheduler, before the full length
        self._timed_out: set[str] = set()
        self._deadlines: dict[str, float] = {}  # on the clock of time.monotonic
        self._last_results: dict[str, dict[str, Any]] = {}  # of live trials

    def trial(self, trial_id: str) -> Trial:
        """Return the ledger's trial that Tune knows by ``trial_id``."""
        return self._trials[trial_id]

    def commit(self, trial: Trial) -> None:
        """Write the ledger after a change of ``trial``."""
        describe = getattr(self.searcher, "particle_of", None)
        if describe is not None:
            with suppress(KeyError):  # a searcher whose state could not be saved doesn't know earlier trials
                trial.particle = dict(describe(trial.id))
        self.ledger.commit(self.searcher)

    # Suggestions

    def restore_searcher(self) -> bool:
        """Restore the searcher's state from the ledger, if there is one.

        Returns:
            True if there is a state.

        Raises:
            UserError: If the searcher can't read the state.
        """
        if self.ledger.searcher is None:
            return False
        try:
            self.searcher.restore(str(self.ledger.searcher))
        except ValueError as error:
            raise UserError(f"{self.ledger.folder}: this version can't resume the search: {error}") from None
        return True

    def has_room(self) -> bool:
        """Return True if another trial may run now."""
        return len(self._live) < self._limit()

    def resume_trial(self, trial_id: str) -> dict[str, Any] | None:
        """Give ``trial_id`` to an interrupted trial, and return its configuration; None if there is none left."""
        if not self._interrupted:
            return None
        trial = self._interrupted.pop(0)
        self._trials[trial_id] = trial
        self._live.add(trial_id)
        return copy.deepcopy(trial.config)

    def add_trial(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """Record a suggestion as a new trial."""
        number = len(self.ledger.trials) + 1
        trial = Trial(number, trial_id, copy.deepcopy(dict(config)), full=self.settings.full_time(config))
        self.ledger.trials.append(trial)
        self._trials[trial_id] = trial
        self._live.add(trial_id)
        self.commit(trial)

    def report_to_searcher(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a live trial's result to the searcher."""
        self._last_results[trial_id] = result
        self.searcher.on_trial_result(self.trial(trial_id).id, result)

    def complete_in_searcher(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Pass the end of a trial to the searcher, with the outcome that it should learn from."""
        self._live.discard(trial_id)
        result, error = self._outcome(trial_id, result, error)
        self.searcher.on_trial_complete(self.trial(trial_id).id, result=result, error=error)

    def _outcome(self, trial_id: str, result: dict[str, Any] | None, error: bool) -> tuple[dict[str, Any] | None, bool]:
        """Return an ended trial's result and error flag, which differ from Tune's in three cases.

        A trial that timed out is an error to Tune, but its last result counts. So does the last result of a trial that
        was stopped while it was paused, which Tune completes without one. And a trial that came to its own end counts
        as a full run, however short it was: searchers take every time below ``max_t`` for an early stop.
        """
        last = self._last_results.pop(trial_id, None)
        if error:
            return (last, False) if last and trial_id in self._timed_out else (result, True)
        result = last if result is None else result
        came_to_own_end = trial_id not in self._stopped and self.trial(trial_id).feasible
        if result and came_to_own_end and self.settings.max_t is not None:
            result = {**result, TIME_ATTR: self.settings.max_t}
        return result, False

    # The life of a trial

    def start(self, trial_id: str) -> None:
        """Record that a worker starts or resumes a trial, and set its deadline."""
        trial, limit = self.trial(trial_id), self.settings.trial_time_limit
        if limit is not None:
            earlier = float(trial.checkpoint_result.get("time_total_s", 0.0))
            self._deadlines.setdefault(trial_id, time.monotonic() + limit - earlier)
        self._listener(trial)

    def report(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Record a trial's result."""
        trial, metric = self.trial(trial_id), self.settings.metric
        if metric in result:
            values = {name: float(result[name]) for name in self.settings.extra_results if name in result}
            seconds = float(result.get("time_total_s", 0.0))
            trial.add(Report(float(result[TIME_ATTR]), float(result[metric]), seconds, values))
        trial.worker = f"{result.get('hostname', '')}:{result.get('pid', '')}"
        self.commit(trial)
        self._listener(trial)

    def keep_checkpoint(self, trial_id: str, checkpoint: str, result: Mapping[str, Any]) -> None:
        """Record a trial's new checkpoint and the result that belongs to it, and remove the former checkpoint."""
        trial = self.trial(trial_id)
        before, trial.checkpoint = trial.checkpoint, checkpoint
        names = ("training_iteration", "time_total_s", self.settings.metric)
        trial.checkpoint_result = {name: result[name] for name in names if name in result}
        self.commit(trial)
        if before is not None and before != checkpoint:
            shutil.rmtree(before, ignore_errors=True)

    def mark_stopped(self, trial_id: str, result: Mapping[str, Any]) -> None:
        """Note that the scheduler stopped a trial at ``result``; at the full length, that is its own end."""
        max_t = self.settings.max_t
        if max_t is None or result.get(TIME_ATTR, 0.0) < max_t:
            self._stopped.add(trial_id)

    def overdue(self) -> set[str]:
        """Return Tune's ids of the trials that are past their deadlines."""
        now = time.monotonic()
        return {trial_id for trial_id, deadline in self._deadlines.items() if now >= deadline}

    def mark_timed_out(self, trial_id: str) -> None:
        """Note that a trial is killed for its time limit; the error that follows is then no failure."""
        del self._deadlines[trial_id]
        self._timed_out.add(trial_id)

    def complete(self, trial_id: str) -> None:
        """Record that a trial ended without an error."""
        trial = self.trial(trial_id)
        if not trial.feasible:
            self.end(trial_id, "stopped", f"over its budget by {100 * trial.values[VIOLATION]:.0f} %")
        else:
            self.end(trial_id, "stopped" if trial_id in self._stopped else "ok")

    def fail(self, trial_id: str, cause: str) -> None:
        """Record that a trial ended with an error, because of ``cause`` or of its time limit."""
        if trial_id in self._timed_out:
            self.end(trial_id, "stopped", f"timed out after {self.settings.trial_time_limit:g} s")
        else:
            self.end(trial_id, "failed", cause)

    def end(self, trial_id: str, status: Status, error: str = "") -> None:
        """Record how a trial ended, and remove its checkpoint."""
        self._deadlines.pop(trial_id, None)
        self._end(self.trial(trial_id), status, error)

    def stop_running(self, reason: str) -> None:
        """Record every trial that has not ended as stopped for ``reason``: Tune drops them without an event."""
        for trial in self.ledger.running():
            self._end(trial, "stopped", reason)

    def _end(self, trial: Trial, status: Status, error: str) -> None:
        checkpoint, trial.checkpoint = trial.checkpoint, None
        trial.checkpoint_result = {}
        trial.status, trial.error = status, error
        self.commit(trial)
        if checkpoint is not None:  # only after the commit: a killed search resumes from it until then
            shutil.rmtree(Path(checkpoint), ignore_errors=True)
        self._listener(trial)
