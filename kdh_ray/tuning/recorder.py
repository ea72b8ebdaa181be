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

from ray.tune.result import DONE
from ray.tune.utils import flatten_dict

from kdh_ray.errors import UserError
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.numbers import fault, number
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
        self._faults: dict[str, str] = {}  # of trials that reported something else than numbers
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
            UserError: If the searcher can't read the state, or the state is of another search.
        """
        if self.ledger.searcher is None:
            return False
        try:
            self.searcher.restore(str(self.ledger.searcher))
        except Exception as error:  # any searcher's, about its own format
            reason = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
            raise UserError(f"{self.ledger.folder}: this version can't resume the search: {reason}") from None
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
        config: dict[str, Any] = self.ledger.values.with_placeholders(trial.config)
        return config

    def add_trial(self, trial_id: str, config: Mapping[str, Any]) -> None:
        """Record a suggestion as a new trial."""
        resolved = self.ledger.values.resolve(copy.deepcopy(dict(config)))
        trial = Trial(len(self.ledger.trials) + 1, trial_id, resolved, full=self.settings.full_time(resolved))
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
        """Return an ended trial's result and error flag, which differ from Tune's in four cases.

        A trial that reported something else than a number has failed. One that timed out is an error to Tune, but its
        last result counts. So does the last result of a trial that was stopped while it was paused, which Tune
        completes without one. And a trial that came to its own end counts as a full run, however short it was:
        searchers take every time below ``max_t`` for an early stop. To Tune, trials that a scheduler stopped at their
        own reports are ``done``, too; here only those are that came to their own ends.
        """
        last = self._last_results.pop(trial_id, None)
        if trial_id in self._faults:
            return None, True
        if error:
            return ({**last, DONE: False}, False) if last and trial_id in self._timed_out else (result, True)
        result = last if result is None else result
        if not result:
            return result, False
        came_to_own_end = trial_id not in self._stopped and self.trial(trial_id).feasible
        full = {TIME_ATTR: self.settings.max_t} if came_to_own_end and self.settings.max_t is not None else {}
        return {**result, **full, DONE: came_to_own_end}, False

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
        flat = flatten_dict(dict(result))
        score = number(flat.get(metric))
        if score is not None and not self.is_faulty(trial_id, flat):
            found = {name: number(flat.get(name)) for name in self.settings.recorded_results}
            values = {name: value for name, value in found.items() if value is not None}
            seconds = float(result.get("time_total_s", 0.0))
            trial.add(Report(float(result[TIME_ATTR]), score, seconds, values))
        trial.worker = f"{result.get('hostname', '')}:{result.get('pid', '')}"
        self.commit(trial)
        self._listener(trial)

    def is_faulty(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return True if a trial reported something else than numbers, in a flat result or before; it has to end."""
        reason = fault(result, (self.settings.metric, *self.settings.recorded_results))
        if reason:
            self._faults.setdefault(trial_id, reason)
        return trial_id in self._faults

    def keep_checkpoint(self, trial_id: str, checkpoint: str, result: Mapping[str, Any]) -> None:
        """Record a trial's new checkpoint and the result that belongs to it, and remove the former checkpoint."""
        trial = self.trial(trial_id)
        before, trial.checkpoint = trial.checkpoint, checkpoint
        names, flat = ("training_iteration", "time_total_s", self.settings.metric), flatten_dict(dict(result))
        trial.checkpoint_result = {name: flat[name] for name in names if number(flat.get(name)) is not None}
        self.commit(trial)
        if before is not None and before != checkpoint:
            shutil.rmtree(before, ignore_errors=True)

    def is_spared(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        """Return True if the scheduler may not stop a trial at ``result``, before its full length."""
        spared, max_t = self.settings.spared, self.settings.max_t
        whole = max_t is not None and result.get(TIME_ATTR, 0.0) >= max_t
        return spared is not None and not whole and spared(self.trial(trial_id).config)

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
        if trial_id in self._faults:
            self.end(trial_id, "failed", self._faults[trial_id])
        elif not trial.feasible:
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
