"""Ray Tune's `Searcher` contract over any optimiser that asks and tells; nothing about swarms is here.

What Tune (2.60) does and does not say, and what follows here:

* A scheduler's stop, a stop criterion and a natural end all arrive as ``on_trial_complete`` with a result. How far the
  trial came is its fidelity: ``time_attr`` of that result, against ``max_t`` or else the largest seen.
* A stopped trial's last report reaches ``on_trial_complete`` alone. A trial stopped while paused completes with no
  result and no error: its last report stands in.
* Trials cut off by a time budget are never completed. Resuming an experiment (`Tuner.restore`), Tune sets the
  searcher's properties, restores it, and runs those trials on: they are live. A searcher that the user restores has its
  properties set after that, by a new experiment, which knows nothing of the old one's trials: they are given up, and
  count against the concurrency no longer, as with Ray's OptunaSearch and HyperOptSearch, whose ConcurrencyLimiter
  starts empty there. Should one be heard of after all, it is live again, and its result is used. (Without a
  ``param_space`` Tune sets no properties, and the two can't be told apart: trials count once they are heard of.)
* Restarted trials can come back under ids that were never suggested; a snapshot lags, so that completions are replayed
  after a restore. So completions are idempotent, and unknown ids are ignored with one warning.
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
    """What is searched with. Minimises."""

    space: Space
    full_fidelity: float

    def ask(self) -> Move | None: ...

    def report(self, move_id: int, value: float | None, fidelity: float) -> None:
        """What a run under way has shown."""

    def tell(self, move_id: int, value: float | None, fidelity: float | None = None) -> None: ...

    def give_up(self, move_id: int) -> None:
        """Nobody waits for a move any longer."""

    def enqueue(self, point: Mapping[str, Any]) -> None: ...

    def add_evaluated(self, config: Mapping[str, Any], value: float | None, fidelity: float | None = None) -> None: ...

    def exhausted(self) -> bool:
        """True if every configuration of a finite space has been asked for."""

    def get_state(self) -> dict[str, Any]:
        """JSON values."""


class AskTellSearch(Searcher):  # type: ignore[misc]  # Ray is untyped
    """A Tune searcher over an `Optimiser`. Subclasses say how to make one.

    Args:
        space: Tune domains or this package's parameters; if not given, Tune passes its ``param_space``.
        metric: The result to optimise; Tune passes its own if not given.
        mode: ``min`` or ``max``.
        points_to_evaluate: Configurations to run first, nested or flat (``"a/b"``), whole or in part.
        evaluated_rewards: Results of ``points_to_evaluate``, which are then learnt from and not run.
        time_attr: The result that counts how far a trial came; None compares all trials as full runs.
        max_t: ``time_attr`` of a full run. If not given: Tune's ``stop`` criterion on it, else the largest seen.

    Raises:
        ValueError: If the metric or mode is a list, or the settings or space are impossible.
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
            raise ValueError(f"one metric is optimised, with mode 'min' or 'max'; got {metric!r} and {mode!r}")
        if evaluated_rewards is not None and len(evaluated_rewards) != len(points_to_evaluate or ()):
            raise ValueError("evaluated_rewards has one number for each of points_to_evaluate")
        if max_t is not None and not 0 < max_t < math.inf:
            raise ValueError(f"max_t is a number > 0; got {max_t}")
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
        self._unplaced: dict[str, Any] | None = None  # a restored state that waits for its search space
        self._live_trial_mapping: dict[str, int] = {}  # trial -> move in the air
        self._absent: dict[str, None] = {}  # those of them that belong to an earlier experiment, as far as is known
        self._in_experiment = False
        self._completed: dict[str, None] = {}
        self._reports: dict[str, tuple[float | None, float | None]] = {}  # of live trials: last value, fidelity
        self._warned = False
        if space is not None:
            self._set_up(_as_space(space), None)

    # For subclasses

    def _make(self, space: Space, budget: int | None) -> Optimiser:
        """An optimiser over ``space``; ``budget`` is Tune's ``num_samples`` where it is known."""
        raise NotImplementedError

    def _remake(self, state: dict[str, Any], space: Space | None) -> Optimiser:
        """The optimiser of ``state``; ValueError if it needs ``space`` and has none."""
        raise NotImplementedError

    # Set-up

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """Tune's metric, mode and ``param_space``. False if there is a search space already, and not this one.

        Raises:
            ValueError: If the metric or mode is a list, the mode turns while there are results, or the space can't be
                searched.
        """
        if isinstance(metric, (list, tuple)) or mode not in (None, "min", "max"):
            raise ValueError(f"one metric is optimised, with mode 'min' or 'max'; got {metric!r} and {mode!r}")
        if mode and self._mode and mode != self._mode and (self._completed or self._reports):
            raise ValueError(f"this searcher has results with mode {self._mode!r}; it can't go on with {mode!r}")
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
        if self._unplaced is not None:
            self._optimiser = self._remake(self._unplaced, space)
            self._unplaced = None
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
        self._optimiser = self._make(space, budget)
        if self._max_t is not None:
            self._optimiser.full_fidelity = self._max_t
        if self._rewards is None:
            for point in self._points:
                self._optimiser.enqueue(point)
        elif self._mode:
            self._learn_rewards()

    def _learn_rewards(self) -> None:
        """Earlier results need the mode, which may come after the space."""
        rewards, self._rewards, points, self._points = self._rewards or [], None, self._points, []
        for point, reward in zip(points, rewards, strict=True):
            self.add_evaluated_point(point, reward)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """At most so many trials at once; ``suggest`` says None to more."""
        self._max_concurrent = max_concurrent
        return True

    def _ready(self) -> Optimiser:
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
        """A configuration; None while no trial can be started; FINISHED when a finite space is used up.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
        """
        optimiser = self._ready()
        if trial_id in self._live_trial_mapping or trial_id in self._completed:
            raise ValueError(f"trial {trial_id} has had its suggestion")
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
        """Pass the report on, and remember it in case the trial ends without another that has the metric."""
        if self._known(trial_id):
            value, fidelity = self._read(result)
            if self._metric in result or trial_id not in self._reports:
                self._reports[trial_id] = value, fidelity
            if fidelity is not None:
                self._ready().report(self._live_trial_mapping[trial_id], value, fidelity)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the optimiser. A trial that failed, or that never reported a finite number, is a failure."""
        if not self._known(trial_id):
            return
        move_id = self._live_trial_mapping.pop(trial_id)
        self._completed[trial_id] = None
        value, fidelity = self._reports.pop(trial_id, (None, None))
        if result:
            final, reached = self._read(result)
            if value is None or self._metric in result:  # else what it showed last, as far as it had come then
                value, fidelity = final, fidelity if reached is None else reached
        self._ready().tell(move_id, None if error else value, fidelity)

    def _known(self, trial_id: str) -> bool:
        if trial_id in self._live_trial_mapping:
            self._absent.pop(trial_id, None)
            return True
        if trial_id not in self._completed and not self._warned:
            logger.warning("Trial %s was not suggested by this searcher; its results are ignored.", trial_id)
            self._warned = True
        return False

    def _read(self, result: Mapping[str, Any]) -> tuple[float | None, float | None]:
        """The value to minimise, None if there is no finite one, and the fidelity, None if there is none."""
        value = _number(result.get(self._metric or ""))
        fidelity = _number(result.get(self._time_attr)) if self._time_attr else None
        if fidelity is not None and fidelity >= 0:
            self._saw(fidelity)
        else:
            fidelity = None
        return (-value if value is not None and self._mode == "max" else value), fidelity

    def _saw(self, fidelity: float) -> None:
        """Without a ``max_t``, a full run is the longest so far."""
        optimiser = self._ready()
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
        """Learn from a run made elsewhere; names that the space has not are ignored.

        A pruned run counts at the fidelity of its number of ``intermediate_values`` (0 if there are none), any other
        as a full run.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
            ValueError: If a parameter is missing or outside the space.
        """
        optimiser = self._ready()
        number = None if error else _number(value)
        fidelity = float(len(intermediate_values or ())) if pruned else None
        optimiser.add_evaluated(parameters, -number if number is not None and self._mode == "max" else number, fidelity)

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learn from the trials of an earlier experiment that ended, each at the fidelity that it reached.

        Ray's own method calls every trial that a scheduler stopped pruned, those at its ``max_t`` too, and keeps no
        count of their reports: runs of any length would be compared as equals.

        Args:
            trials_or_analysis: A trial, several, or what has ``trials``, such as an ``ExperimentAnalysis``.
            metric: The result that they reported; where it is missing, a trial is passed over.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
            ValueError: If a trial's parameter is missing or outside the space.
        """
        optimiser = self._ready()
        trials = getattr(trials_or_analysis, "trials", trials_or_analysis)
        for trial in trials if isinstance(trials, (list, tuple)) else [trials]:
            result = {**flatten_dict(trial.last_result), **trial.last_result}  # a metric may be named "eval/loss"
            if trial.status in (Trial.TERMINATED, Trial.ERROR) and metric in result:
                value, fidelity = self._read({**result, self._metric or metric: result[metric]})
                value = None if trial.status == Trial.ERROR else value
                optimiser.add_evaluated(trial.config, value, fidelity)

    # State

    def get_state(self) -> dict[str, Any]:
        """Everything, as JSON values."""
        return {
            "version": STATE_VERSION,
            "metric": self._metric,
            "mode": self._mode,
            "max_t": self._max_t,
            "max_t_given": self._max_t_given,
            "time_attr": self._time_attr,
            "max_concurrent": self._max_concurrent,
            "optimiser": self._unplaced if self._optimiser is None else self._optimiser.get_state(),
            "live": dict(self._live_trial_mapping),
            "absent": list(self._absent),
            "completed": list(self._completed),
            "reports": dict(self._reports),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from ``get_state``, trials in the air included.

        Raises:
            ValueError: If the state is of another version or of another search space.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"a searcher's state is of version {STATE_VERSION}; got {state.get('version')!r}")
        self._metric, self._mode = state["metric"] or self._metric, state["mode"] or self._mode
        self._max_t, self._time_attr = state["max_t"], state["time_attr"]
        self._max_t_given = state["max_t_given"]
        if self._max_concurrent is None:  # a limit of today's is meant for today's trials
            self._max_concurrent = state["max_concurrent"]
        self._live_trial_mapping = dict(state["live"])
        self._absent = dict.fromkeys(state["absent"] if self._in_experiment else state["live"])
        self._completed = dict.fromkeys(state["completed"])
        self._reports = {trial_id: (value, fidelity) for trial_id, (value, fidelity) in state["reports"].items()}
        saved = state["optimiser"]
        if saved is None:
            return
        self._points, self._rewards = [], None  # they are in the optimiser's state
        if self._optimiser is not None:
            self._optimiser = self._remake(saved, self._optimiser.space)
        elif Space.is_whole(saved["space"]):
            self._optimiser = self._remake(saved, None)
        else:
            self._unplaced = saved

    def save(self, checkpoint_path: str) -> None:
        """Write the state as JSON, whatever the file's name says."""
        Path(checkpoint_path).write_text(json.dumps(self.get_state(), allow_nan=False), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Read what ``save`` wrote. Where choices are functions or classes, Tune's space is waited for."""
        self.set_state(json.loads(Path(checkpoint_path).read_text(encoding="utf-8")))


def _as_space(space: Mapping[str, Any] | Space) -> Space:
    return space if isinstance(space, Space) else convert(space)


def _number(value: Any) -> float | None:
    """A finite float, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
