"""Ray Tune's `Searcher` contract over any optimiser with ask and tell.

What Ray Tune (2.60) reports to searchers, and how `AskTellSearch` interprets it:

* A stop by a scheduler, a stop criterion and a trial's own end all arrive as ``on_trial_complete`` with a result. The
  latter two are full runs, however short (`searchers.tune_stops` knows them apart). The fidelity of any other trial is
  ``time_attr`` of its result, compared with ``max_t``, or else with the largest seen.
* The last report of a stopped trial reaches ``on_trial_complete`` only. A trial that is stopped while it is paused
  completes without a result or an error; its last report is used.
* Trials that a time budget cut off are never completed, and ids may come that were never suggested: see
  `searchers.live_trials`.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.tune.result import DEFAULT_METRIC
from ray.tune.search import UNDEFINED_METRIC_MODE, UNDEFINED_SEARCH_SPACE, Searcher

from searchers.archive import Value
from searchers.live_trials import LiveTrials
from searchers.optimiser import Optimiser
from searchers.parameters import plain
from searchers.pending import Move
from searchers.resuming import check_same, saved_algorithm
from searchers.space import Space
from searchers.tune_placeholders import has_placeholders, hide_objects
from searchers.tune_results import check_objectives, earlier_runs, finite, flat, kind_of, minimised, number
from searchers.tune_space import convert
from searchers.tune_stops import ended_itself, watch_scheduler

logger = logging.getLogger(__name__)

STATE_VERSION = 3


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
        repeats: Suggest configurations again once all of a finite space were tried, as a noisy objective needs.
        further_objectives: Names of further results to optimise at the same time, each with its mode. Tune's scheduler
            compares trials by ``metric`` only.

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
        repeats: bool = False,
        further_objectives: Mapping[str, str] | None = None,
    ) -> None:
        self._further = dict(further_objectives or {})
        check_objectives(metric, mode, self._further)
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
        self._repeats = repeats
        self._max_concurrent: int | None = None
        self._optimiser: Optimiser | None = None
        self._space_given = space is not None
        self._deferred_state: dict[str, Any] | None = None  # optimiser state that needs the search space first
        self._trials = LiveTrials()
        self._reports: dict[str, tuple[Value, float | None]] = {}  # live trial -> last value, fidelity
        self._warned: set[str] = set()
        if space is not None:
            self._set_up(space if isinstance(space, Space) else convert(space), None)

    # For subclasses

    @property
    def _live_trial_mapping(self) -> Mapping[str, int]:
        """Moves of live trials, under the name that Ray's own searchers use."""
        return self._trials.moves

    @property
    def algorithm(self) -> str:
        """Name of the search algorithm; only a searcher of the same one can restore a state."""
        return type(self).__name__

    @property
    def further_objectives(self) -> dict[str, str]:
        """Names of the results that are optimised next to the metric, each with its mode."""
        return dict(self._further)

    @property
    def n_objectives(self) -> int:
        """Number of results that are optimised at the same time."""
        return 1 + len(self._further)

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
            ValueError: If the metric or mode is a list, either changes although there are results, or the space can't
                be searched.
        """
        check_objectives(metric, mode)
        if self._trials.completed or self._reports:
            known = {"metric": self._metric, "mode": self._mode}
            check_same("this searcher has results with", known, {"metric": metric, "mode": mode})
        self._mode = mode or self._mode
        self._metric = metric or self._metric or (DEFAULT_METRIC if self._mode else None)
        if not self._max_t_given:
            stop = spec.get("stop")
            full = finite(stop.get(self._time_attr)) if self._time_attr and isinstance(stop, Mapping) else None
            self._max_t = full if full is not None and full > 0 else None
            if self._optimiser is not None and self._max_t is not None:
                self._optimiser.full_fidelity = self._max_t
        self._trials.start_experiment()
        if self._space_given:
            return False
        space = convert(config, keep_objects=False)
        if self._deferred_state is not None:
            self._optimiser = self._restore_optimiser(self._deferred_state, space)
            self._deferred_state = None
        if self._optimiser is not None:  # restored, or set up by an earlier call
            return space == self._optimiser.space
        samples = spec.get("num_samples")
        self._set_up(space, samples if isinstance(samples, int) and samples > 0 else None)
        return True

    def _set_up(self, space: Space, budget: int | None) -> None:
        if space.n_parameters == 0:
            raise ValueError("a search space needs a domain, such as tune.uniform(0, 1); this one has constants only")
        self._optimiser = self._make_optimiser(space, budget)
        if self._max_t is not None:
            self._optimiser.full_fidelity = self._max_t
        if not has_placeholders(space.tree):
            self._use_points(self._optimiser)

    def _use_points(self, optimiser: Optimiser) -> None:
        """Suggest ``points_to_evaluate``, or learn from them, once the mode is known: it may come after the space."""
        if self._rewards is not None and not self._mode:
            return
        rewards, self._rewards, points, self._points = self._rewards, None, self._points, []
        if rewards is None:
            for point in points:
                optimiser.enqueue(hide_objects(point))
        else:
            for point, reward in zip(points, rewards, strict=True):
                self._learn(optimiser, point, reward)

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Limit the number of trials that run at once: ``suggest`` returns None beyond it.

        Returns:
            False, so that Tune's ``ConcurrencyLimiter`` limits them too: with ``batch=True`` it holds results back.
        """
        self._max_concurrent = max_concurrent
        return False

    def _ready_optimiser(self) -> Optimiser:
        if self._optimiser is None:
            raise RuntimeError(UNDEFINED_SEARCH_SPACE.format(cls=type(self).__name__, space="space"))
        if not self._metric or not self._mode:
            raise RuntimeError(
                UNDEFINED_METRIC_MODE.format(cls=type(self).__name__, metric=self._metric, mode=self._mode)
            )
        if self._points:
            self._use_points(self._optimiser)
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
        watch_scheduler()
        if trial_id in self._trials:
            raise ValueError(f"trial {trial_id} has a suggestion already")
        if self._max_concurrent is not None and self._trials.n_present >= self._max_concurrent:
            return None
        move = self._lost_move(optimiser)
        if move is None and not self._repeats and optimiser.exhausted():
            size = int(optimiser.space.size)
            self._warn_once("The search space is exhausted: all %d configurations have been suggested.", size)
            return str(Searcher.FINISHED)
        move = move or optimiser.ask()
        if move is None:
            return None
        self._trials.moves[trial_id] = move.id
        return move.config

    def _lost_move(self, optimiser: Optimiser) -> Move | None:
        """Return the next move that an earlier experiment left without a result; None if there is none."""
        moves = ((move_id, optimiser.config_of(move_id)) for move_id in self._trials.lost_moves())
        return next((Move(move_id, config) for move_id, config in moves if config is not None), None)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Pass a report on, and store it in case the trial's end comes without the metric."""
        if self._is_ours(trial_id):
            watch_scheduler()
            result = flat(result)
            value, fidelity = self._read(result)
            if self._metric in result or trial_id not in self._reports:
                self._reports[trial_id] = value, fidelity
            if fidelity is not None:
                self._ready_optimiser().report(self._trials.moves[trial_id], value, fidelity)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the optimiser the result. A trial that never reported a finite number counts as failed."""
        if not self._is_ours(trial_id):
            return
        move_id = self._trials.complete(trial_id)
        value, fidelity = self._reports.pop(trial_id, (None, None))
        if result:
            result = flat(result)
            final, reached = self._read(result)
            if value is None or self._metric in result:  # else the last report stays, with its own fidelity
                value, fidelity = final, fidelity if reached is None else reached
            for name in (self._metric or "", *self._further):
                reported = result.get(name, math.nan if name == self._metric else None)
                if number(reported) is None and not error:
                    message = "Trial %s failed: it reported %s, which is not a number, as %r."
                    self._warn_once(message, trial_id, kind_of(reported), name)
            if ended_itself(trial_id, result):
                fidelity = None  # a full run
        self._ready_optimiser().tell(move_id, None if error else value, fidelity)

    def _is_ours(self, trial_id: str) -> bool:
        """Return True for a live trial of this searcher, which isn't absent from now on."""
        if self._trials.hear(trial_id):
            return True
        if trial_id not in self._trials:
            self._warn_once("Trial %s was not suggested by this searcher; its results are ignored.", trial_id)
        return False

    def _warn_once(self, message: str, *arguments: object) -> None:
        if message not in self._warned:
            logger.warning(message, *arguments)
            self._warned.add(message)

    def _read(self, result: Mapping[str, Any]) -> tuple[Value, float | None]:
        """Return the value to minimise and the fidelity of a flat result; None for what it lacks."""
        value = self._minimised([result.get(name) for name in (self._metric or "", *self._further)])
        fidelity = finite(result.get(self._time_attr)) if self._time_attr else None
        if fidelity is None or fidelity < 0:
            return value, None
        self._update_full_fidelity(fidelity)
        return value, fidelity

    def _minimised(self, results: Sequence[Any]) -> Value:
        """Return the results of all objectives as what is minimised: one number or a list; None if one is no number."""
        values = minimised(results, (self._mode, *self._further.values()))
        return values if values is None or self._further else values[0]

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
        value: Value,
        error: bool = False,
        pruned: bool = False,
        intermediate_values: list[float] | None = None,
    ) -> None:
        """Learn from a run made elsewhere.

        Args:
            parameters: Its configuration. Names that are not in the space are ignored.
            value: Its result, in the metric's own direction; with further objectives a list of all results.
            error: True if it failed.
            pruned: True if it was stopped early. Its fidelity is then the number of ``intermediate_values``; other runs
                count as full runs.
            intermediate_values: Its results along the way.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
            ValueError: If a parameter is missing or outside the space.
        """
        fidelity = float(len(intermediate_values or ())) if pruned else None
        self._learn(self._ready_optimiser(), parameters, None if error else value, fidelity)

    def _learn(
        self, optimiser: Optimiser, config: Mapping[str, Any], value: Any, fidelity: float | None = None
    ) -> None:
        """Learn from a configuration and its value, in the metric's own direction."""
        values = value if self._further and isinstance(value, (list, tuple)) else [value]
        optimiser.add_evaluated(hide_objects(config), self._minimised(values), fidelity)

    def add_evaluated_trials(self, trials_or_analysis: Any, metric: str) -> None:
        """Learn from the ended trials of an earlier experiment, each at the fidelity that it reached.

        Ray's own method treats every trial that a scheduler stopped as pruned, also those at its ``max_t``, and doesn't
        count their reports. Runs of different lengths would count as equals.

        Args:
            trials_or_analysis: One trial or several, an object with ``trials`` such as an ``ExperimentAnalysis``, a
                ``ResultGrid``, or the data frame of one.
            metric: Name of the result to learn from; trials without it are skipped.

        Raises:
            RuntimeError: If the search space, metric or mode is not known yet.
            ValueError: If no trial has the metric, or a trial's parameter is missing or outside the space.
        """
        optimiser = self._ready_optimiser()
        runs = list(earlier_runs(trials_or_analysis))
        if runs and not any(metric in run.result for run in runs):
            raise ValueError(f"none of the {len(runs)} earlier trials has the result {metric!r}")
        for run in runs:
            if metric in run.result:
                value, fidelity = self._read({**run.result, self._metric or metric: run.result[metric]})
                config = run.config_in(optimiser.space)
                optimiser.add_evaluated(config, None if run.failed else value, fidelity)

    # State

    def get_state(self) -> dict[str, Any]:
        """Return the whole state as JSON values."""
        return {
            "version": STATE_VERSION,
            "algorithm": self.algorithm,
            "metric": self._metric,
            "mode": self._mode,
            "further_objectives": self._further,
            "max_t": self._max_t,
            "max_t_given": self._max_t_given,
            "time_attr": self._time_attr,
            "max_concurrent": self._max_concurrent,
            "optimiser": self._deferred_state if self._optimiser is None else self._optimiser.get_state(),
            **self._trials.get_state(),
            "reports": dict(self._reports),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_state`` returned, live trials included.

        Raises:
            ValueError: If the state is of another version, algorithm, metric, mode or search space.
        """
        if state.get("version") != STATE_VERSION:
            raise ValueError(f"version of a searcher's state must be {STATE_VERSION}; got {state.get('version')!r}")
        metric = None if self._metric == DEFAULT_METRIC else self._metric
        further = state.get("further_objectives", {})
        saved = [saved_algorithm(state), state["metric"], state["mode"], further]
        asked = [self.algorithm, metric, self._mode, self._further]
        names = ("algorithm", "metric", "mode", "further_objectives")
        check_same("the saved search has", *(dict(zip(names, each, strict=True)) for each in (saved, asked)))
        watch_scheduler()
        self._metric, self._mode = state["metric"] or self._metric, state["mode"] or self._mode
        self._max_t, self._time_attr = state["max_t"], state["time_attr"]
        self._max_t_given = state["max_t_given"]
        if self._max_concurrent is None:  # a limit that was set since then is newer
            self._max_concurrent = state["max_concurrent"]
        self._trials.set_state(state)
        self._reports = {trial_id: (value, fidelity) for trial_id, (value, fidelity) in state["reports"].items()}
        optimiser = state["optimiser"]
        if optimiser is None:
            return
        self._points, self._rewards = [], None  # the optimiser's state has them
        if self._optimiser is not None:
            self._optimiser = self._restore_optimiser(optimiser, self._optimiser.space)
        elif Space.is_restorable(optimiser["space"]):
            self._optimiser = self._restore_optimiser(optimiser, None)
        else:
            self._deferred_state = optimiser

    def save(self, checkpoint_path: str) -> None:
        """Write the state to a file, as JSON whatever its name."""
        Path(checkpoint_path).write_text(json.dumps(self.get_state(), allow_nan=False), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Read the state that ``save`` wrote. If JSON can't hold the space, restoring completes once Tune passes it."""
        self.set_state(json.loads(Path(checkpoint_path).read_text(encoding="utf-8")))
