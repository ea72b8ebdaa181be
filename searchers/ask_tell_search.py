"""Ray Tune's `Searcher` contract over any optimiser with ask and tell.

What Ray Tune (2.60) reports to searchers, and how `AskTellSearch` interprets it:

* A stop by a scheduler, a stop criterion and a trial's own end all arrive as ``on_trial_complete`` with a result. The
  trial's fidelity is ``time_attr`` of that result, compared with ``max_t``, or else with the largest seen.
* The last report of a stopped trial reaches ``on_trial_complete`` only. A trial that is stopped while it is paused
  completes without a result or an error; its last report is used.
* Trials that a time budget cut off are never completed. There are two ways to continue:

  - ``Tuner.restore`` resumes the experiment. Tune sets the searcher's properties, then restores the searcher, then runs
    those trials further. So they are live.
  - The user restores the searcher and starts a new experiment, which sets the properties afterwards, and doesn't know
    the old trials. They are given up and don't count against the concurrency, as with Ray's OptunaSearch and
    HyperOptSearch, whose ConcurrencyLimiter starts empty there. If one reports after all, it is live again.

  Without a ``param_space`` Tune sets no properties, and the two look alike: old trials are live once they report.
* A restarted trial can have an id that was never suggested. And a snapshot lags behind, so that completions are
  repeated after a restore. So unknown ids are ignored with one warning, and a second completion changes nothing.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from ray.tune.experiment import Trial
from ray.tune.result import DEFAULT_METRIC
from ray.tune.search import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher
from ray.tune.utils import flatten_dict

from searchers.parameters import plain
from searchers.space import Space
from searchers.swarm import Move
from searchers.tune_space import convert

logger = logging.getLogger(__name__)

STATE_VERSION = 3


class Optimiser(Protocol):
    """An optimiser with ask and tell. It minimises.

    Attributes:
        space: The search space.
        full_fidelity: Fidelity of a full run.
    """

    space: Space
    full_fidelity: float

    def ask(self) -> Move | None:
        """Return the next move to evaluate; None if results have to come first."""

    def report(self, move_id: int, value: float | None, fidelity: float) -> None:
        """Report the value of a running move at a fidelity on its way."""

    def tell(self, move_id: int, value: float | None, fidelity: float | None = None) -> None:
        """Tell the value of a move, None if it failed, and its fidelity, None for a full run."""

    def give_up(self, move_id: int) -> None:
        """Stop waiting for a lost move."""

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Suggest a configuration, or part of one, next."""

    def add_evaluated(self, config: Mapping[str, Any], value: float | None, fidelity: float | None = None) -> None:
        """Learn from a run made elsewhere."""

    def exhausted(self) -> bool:
        """Return True if every configuration of a finite space has been suggested."""

    def get_state(self) -> dict[str, Any]:
        """Return the whole state as JSON values."""


class AskTellSearch(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Base class of Ray Tune searchers over an `Optimiser`; subclasses make and restore one.

    Args:
        space: Tune domains or this package's parameters; if not given, Tune passes its ``param_space``.
        metric: Name of the result to optimise; if not given, Tune passes its own.
        mode: ``min`` or ``max``.
        points_to_evaluate: Configurations to run first, nested or flat (``"a/b"``), complete or in part.
        evaluated_rewards: Known results of ``points_to_evaluate``, which are then not run.
        time_attr: Name of the result that counts a trial's progress; None treats all trials as full runs.
        max_t: ``time_attr`` of a full run; if not given, that of Tune's ``stop`` criterion, or else the largest seen.

    Raises:
        ValueError: If the metric or mode is a list, or the settings or the space are invalid.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | Space | None = None,
        metric: str | None = None,
        mode: str | None = None,
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        evaluated_rewards: Sequence[float] | None = None,
        time_attr: str | None = "training_iteration",
        max_t: float | None = None,
    ) -> None:
        if isinstance(metric, (list, tuple)) or mode not in (None, "min", "max"):
            raise ValueError(f"a searcher needs one metric, and mode 'min' or 'max'; got {metric!r} and {mode!r}")
        if evaluated_rewards is not None and len(evaluated_rewards) != len(points_to_evaluate or ()):
            raise ValueError("evaluated_rewards needs one number for each of points_to_evaluate")
        if max_t is not None and not 0 < max_t < math.inf:
            raise ValueError(f"max_t must be a number > 0; got {max_t}")
        super().__init__(metric=metric, mode=mode)
        self._mode = mode
        self._metric = DEFAULT_METRIC if mode and not metric else metric
        self._points = [dict(point) for point in points_to_evaluate or ()]
        self._rewards = None if evaluated_rewards is None else list(evaluated_rewards)
        self._time_attr = time_attr
        self._max_t: float | None = plain(max_t)
        self._max_t_given = max_t is not None
        self._max_concurrent: int | None = None
        self._optimiser: Optimiser | None = None
        self._space_given = space is not None
        self._deferred_state: dict[str, Any] | None = None  # optimiser state that needs the search space first
        self._live_trial_mapping: dict[str, int] = {}  # trial id -> pending move
        # Live trials that belong to an earlier experiment, as long as they don't report. A dict, for its order.
        self._absent: dict[str, None] = {}
        self._in_experiment = False
        self._completed: dict[str, None] = {}
        self._reports: dict[str, tuple[float | None, float | None]] = {}  # live trial -> last value, fidelity
        self._warned = False
        if space is not None:
            self._set_up(_as_space(space), None)

    # For subclasses

    def _make_optimiser(self, space: Space, budget: int | None) -> Optimiser:
        """Make the optimiser of ``space``; ``budget`` is Tune's ``num_samples``, None if unknown."""
        raise NotImplementedError

    def _restore_optimiser(self, state: dict[str, Any], space: Space | None) -> Optimiser:
        """Return the optimiser that ``state`` describes; raise ValueError if it needs a space and has none."""
        raise NotImplementedError

    # Set-up

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Take over Tune's metric, mode and ``param_space``.

        Returns:
            False if there is another search space already.

        Raises:
            ValueError: If the metric or mode is a list, the mode changes although there are results, or the space
                can't be searched.
        """
        if isinstance(metric, (list, tuple)) or mode not in (None, "min", "max"):
            raise ValueError(f"a searcher needs one metric, and mode 'min' or 'max'; got {metric!r} and {mode!r}")
        if mode and self._mode and mode != self._mode and (self._completed or self._reports):
            raise ValueError(f"this searcher has results with mode {self._mode!r}; it can't continue with {mode!r}")
        self._mode = mode or self._mode
        self._metric = metric or self._metric or (DEFAULT_METRIC if self._mode else None)
        if not self._max_t_given:
            stop = spec.get("stop")
            full = _number(stop.get(self._time_attr)) if self._time_attr and isinstance(stop, Mapping) else None
            self._max_t = full if full is not None and full > 0 else None
            if self._optimiser is not None and self._max_t is not None:
                self._optimiser.full_fidelity = self._max_t
        self._in_experiment = True
        self._absent = dict.fromkeys(self._live_trial_mapping)
        self._give_up_absent()
        if self._space_given:
            return False
        space = convert(config, keep_objects=False)
        if self._deferred_state is not None:
            self._optimiser = self._restore_optimiser(self._deferred_state, space)
            self._deferred_state = None
            self._give_up_absent()
        if self._optimiser is not None:  # restored, or set up by an earlier call
            return space == self._optimiser.space
        samples = spec.get("num_samples")
        self._set_up(space, samples if isinstance(samples, int) and samples > 0 else None)
        return True

    def _give_up_absent(self) -> None:
        if self._optimiser is not None:
            for trial_id in self._absent:
                self._optimiser.give_up(self._live_trial_mapping[trial_id])

    def _set_up(self, space: Space, budget: int | None) -> None:
        if space.n_parameters == 0:
            return
        self._optimiser = self._make_optimiser(space, budget)
        if self._max_t is not None:
            self._optimiser.full_fidelity = self._max_t
        if self._rewards is None:
            for point in self._points:
                self._optimiser.enqueue(point)
        elif self._mode:
            self._learn_rewards()

    def _learn_rewards(self) -> None:
        """Learn from ``evaluated_rewards``, once the mode is known: it may come after the space."""
        rewards, self._rewards, points, self._points = self._rewards or [], None, self._points, []
        for point, reward in zip(points, rewards, strict=True):
            self.add_evaluated_point(point, reward)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit the number of trials that run at once: ``suggest`` returns None beyond it."""
        self._max_concurrent = max_concurrent
        return True

    def _ready_optimiser(self) -> Optimiser:
        if self._optimiser is None:
            raise RuntimeError(UNDEFINED_SEARCH_SPACE.format(cls=type(self).__name__, space="space"))
        if not self._metric or not self._mode:
            raise RuntimeError(
                UNDEFINED_METRIC_MODE.format(cls=type(self).__name__, metric=self._metric, mode=self._mode)
            )
        if self._rewards:
            self._learn_rewards()
        return self._optimiser

    # Trials

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return a configuration.

        Returns:
            The configuration; None while no trial can start; ``Searcher.FINISHED`` once a finite space is exhausted.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
            ValueError: If the trial has a suggestion already.
        """
        optimiser = self._ready_optimiser()
        if trial_id in self._live_trial_mapping or trial_id in self._completed:
            raise ValueError(f"trial {trial_id} has a suggestion already")
        n_live = len(self._live_trial_mapping) - len(self._absent)
        if self._max_concurrent is not None and n_live >= self._max_concurrent:
            return None
        if optimiser.exhausted():
            finished: str = Searcher.FINISHED
            return finished
        move = optimiser.ask()
        if move is None:
            return None
        self._live_trial_mapping[trial_id] = move.id
        return move.config

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a report on, and store it in case the trial's end comes without the metric."""
        if self._is_ours(trial_id):
            value, fidelity = self._read(result)
            if self._metric in result or trial_id not in self._reports:
                self._reports[trial_id] = value, fidelity
            if fidelity is not None:
                self._ready_optimiser().report(self._live_trial_mapping[trial_id], value, fidelity)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the optimiser the result. A trial that never reported a finite number counts as failed."""
        if not self._is_ours(trial_id):
            return
        move_id = self._live_trial_mapping.pop(trial_id)
        self._completed[trial_id] = None
        value, fidelity = self._reports.pop(trial_id, (None, None))
        if result:
            final, reached = self._read(result)
            if value is None or self._metric in result:  # else the last report stays, with its own fidelity
                value, fidelity = final, fidelity if reached is None else reached
        self._ready_optimiser().tell(move_id, None if error else value, fidelity)

    def _is_ours(self, trial_id: str) -> bool:
        """Return True for a live trial of this searcher, which isn't absent from now on."""
        if trial_id in self._live_trial_mapping:
            self._absent.pop(trial_id, None)
            return True
        if trial_id not in self._completed and not self._warned:
            logger.warning("Trial %s was not suggested by this searcher; its results are ignored.", trial_id)
            self._warned = True
        return False

    def _read(self, result: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """Return the value to minimise and the fidelity of a result; None for what it lacks."""
        value = _number(result.get(self._metric or ""))
        fidelity = _number(result.get(self._time_attr)) if self._time_attr else None
        if fidelity is not None and fidelity >= 0:
            self._update_full_fidelity(fidelity)
        else:
            fidelity = None
        return (-value if value is not None and self._mode == "max" else value), fidelity

    def _update_full_fidelity(self, fidelity: float) -> None:
        """Set the fidelity of a full run: ``max_t``, or else the largest so far."""
        optimiser = self._ready_optimiser()
        full = optimiser.full_fidelity
        if self._max_t is not None:
            optimiser.full_fidelity = self._max_t
        elif not math.isfinite(full) or fidelity > full:
            optimiser.full_fidelity = fidelity

    def add_evaluated_point(
        self,
        parameters: dict[str, Any],
        value: float | None,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a run made elsewhere.

        Args:
            parameters: Its configuration. Names that are not in the space are ignored.
            value: Its result, in the metric's own direction.
            error: True if it failed.
            pruned: True if it was stopped early. Its fidelity is then the number of ``intermediate_values``; other runs
                count as full runs.
            intermediate_values: Its results along the way.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
            ValueError: If a parameter is missing or outside the space.
        """
        optimiser = self._ready_optimiser()
        number = None if error else _number(value)
        fidelity = float(len(intermediate_values or ())) if pruned else None
        optimiser.add_evaluated(parameters, -number if number is not None and self._mode == "max" else number, fidelity)

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learn from the ended trials of an earlier experiment, each at the fidelity that it reached.

        Ray's own method treats every trial that a scheduler stopped as pruned, also those at its ``max_t``, and doesn't
        count their reports. Runs of different lengths would count as equals.

        Args:
            trials_or_analysis: One trial, several, or an object with ``trials``, such as an ``ExperimentAnalysis``.
            metric: Name of the result to learn from; trials without it are skipped.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
            ValueError: If a trial's parameter is missing or outside the space.
        """
        optimiser = self._ready_optimiser()
        trials = getattr(trials_or_analysis, "trials", trials_or_analysis)
        for trial in trials if isinstance(trials, (list, tuple)) else [trials]:
            result = {**flatten_dict(trial.last_result), **trial.last_result}  # a metric may be named "eval/loss"
            if trial.status in (Trial.TERMINATED, Trial.ERROR) and metric in result:
                value, fidelity = self._read({**result, self._metric or metric: result[metric]})
                value = None if trial.status == Trial.ERROR else value
                optimiser.add_evaluated(trial.config, value, fidelity)

    # State

    def get_state(self) -> dict[str, Any]:
        """Return the whole state as JSON values."""
        return {
            "version": STATE_VERSION,
            "metric": self._metric,
            "mode": self._mode,
            "max_t": self._max_t,
            "max_t_given": self._max_t_given,
            "time_attr": self._time_attr,
            "max_concurrent": self._max_concurrent,
            "optimiser": self._deferred_state if self._optimiser is None else self._optimiser.get_state(),
            "live": dict(self._live_trial_mapping),
            "absent": list(self._absent),
            "completed": list(self._completed),
            "reports": dict(self._reports),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` returned, live trials included.

        Raises:
            ValueError: If the state is of another version or of another search space.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"version of a searcher's state must be {STATE_VERSION}; got {state.get('version')!r}")
        self._metric, self._mode = state["metric"] or self._metric, state["mode"] or self._mode
        self._max_t, self._time_attr = state["max_t"], state["time_attr"]
        self._max_t_given = state["max_t_given"]
        if self._max_concurrent is None:  # a limit that was set since then is newer
            self._max_concurrent = state["max_concurrent"]
        self._live_trial_mapping = dict(state["live"])
        self._absent = dict.fromkeys(state["absent"] if self._in_experiment else state["live"])
        self._completed = dict.fromkeys(state["completed"])
        self._reports = {trial_id: (value, fidelity) for trial_id, (value, fidelity) in state["reports"].items()}
        saved = state["optimiser"]
        if saved is None:
            return
        self._points, self._rewards = [], None  # the optimiser's state has them
        if self._optimiser is not None:
            self._optimiser = self._restore_optimiser(saved, self._optimiser.space)
        elif Space.is_restorable(saved["space"]):
            self._optimiser = self._restore_optimiser(saved, None)
        else:
            self._deferred_state = saved

    def save(self, checkpoint_path: str) -> None:
        """Write the state to a file, as JSON whatever its name."""
        Path(checkpoint_path).write_text(json.dumps(self.get_state(), allow_nan=False), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Read the state that ``save`` wrote. If JSON can't hold the space, restoring completes once Tune passes it."""
        self.set_state(json.loads(Path(checkpoint_path).read_text(encoding="utf-8")))


def _as_space(space: Mapping[str, Any] | Space) -> Space:
    return space if isinstance(space, Space) else convert(space)


def _number(value: Any) -> float | None:
    """Return a value as a finite float; None if it is none."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
