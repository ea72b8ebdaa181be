"""A stage that is trained already, as the first trial of its own search: it is not trained again."""

from __future__ import annotations

import copy
import math
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.settings import TuneSettings
from kdh_ray.tuning.trials import RATE, TIME_ATTR, VIOLATION, Report, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

_ID = "stage"


@dataclass(frozen=True)
class TrainedStage:
    """A finished stage, seen as a trial.

    Attributes:
        own: Its own values of the settings that are searched, where they lie in the ranges.
        searched: Names of all settings that are searched.
        result: What ``result.json`` holds.
    """

    own: Mapping[str, Any]
    searched: frozenset[str]
    result: Mapping[str, Any]

    def has(self, values: Mapping[str, Any]) -> bool:
        """Whether a trial with ``values`` is this stage; searchers may round numbers in their last digits."""
        return self.searched == self.own.keys() and all(_same(self.own[name], values[name]) for name in self.own)

    def reports(self, metric: str, scores: Mapping[str, str], costs: Mapping[str, float]) -> list[Report]:
        """What a trial would have reported: after each epoch, the scores of the best so far; see :func:`enter`."""
        reports, seconds = [], 0.0
        history = self.result["history"]
        for number, epoch in enumerate(history, start=1):
            best = max(history[:number], key=lambda entry: float(entry["score"]))
            seconds += epoch["seconds"]
            found = {scores["f1_micro"]: best["score"], scores["f1_macro"]: best["f1_macro"]}
            values = {**costs, **found, RATE: epoch["documents_per_second"]}
            reports.append(Report(float(epoch["epoch"]), values[metric], seconds, values))
        return reports


def enter(
    stage: TrainedStage,
    searcher: Any,
    folder: Path,
    space: Mapping[str, Any],
    *,
    metric: str,
    scores: Mapping[str, str],
    costs: Callable[[Mapping[str, Any]], dict[str, float]],
    full: Callable[[Mapping[str, Any]], float],
    max_t: float,
    trials: int,
) -> Trial | None:
    """Make ``stage`` the first trial of the fresh search in ``folder``, if that is what ``searcher`` suggests first.

    What it suggests instead, or a student over its budget, becomes a trial that has yet to run. ``searcher`` stays
    fresh: the search restores it from the ledger.

    Args:
        stage: Finished, and its place in the search space.
        searcher: Of the search, fresh.
        folder: Of the search.
        space: Ray Tune domains.
        metric: The result that the search raises.
        scores: ``f1_micro`` and ``f1_macro`` to the names of results.
        costs: A configuration to what its student costs to run, which are results too.
        full: A configuration to the epochs of its full run.
        max_t: Epochs of the longest trial.
        trials: How many the search is to have.

    Returns:
        The trial, ended; None if the search has trials already, or the first is another one.
    """
    from kdh_ray.tuning.adapters import RecordedSearcher
    from kdh_ray.tuning.recorder import Recorder

    ledger = Ledger(folder)
    if ledger.trials or not stage.has(stage.own):
        return None
    settings = TuneSettings(trials=trials, metric=metric, max_t=max_t, full_length=full)
    recorder = Recorder(copy.deepcopy(searcher), ledger, settings)
    search = RecordedSearcher(recorder)
    search.set_search_properties(metric, "max", dict(space), num_samples=trials)
    config = search.suggest(_ID)
    if not isinstance(config, dict):
        return None
    trial, about = recorder.trial(_ID), costs(config)
    if not stage.has(config) or about[VIOLATION] > 0:
        return None
    trial.started = str(stage.result["started"])
    trial.reports = stage.reports(metric, scores, about)
    results = [{**report.values, metric: report.score, TIME_ATTR: int(report.time)} for report in trial.reports]
    for result in results:
        search.on_trial_result(_ID, result)
    search.on_trial_complete(_ID, results[-1])
    trial.status = "ok"
    recorder.commit(trial)
    return trial


def take_over(folder: Path, best: Path, stages: Mapping[str, Any]) -> None:
    """Copy what is finished of ``stages`` from the run in ``folder`` to that in ``best``, where they are the same."""
    for name in stages:
        source, target = folder / "stages" / name, best / "stages" / name
        if target.exists() or not (source / "result.json").exists():
            return  # later stages build on it
        unfinished = target.with_name(f".{name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(source, unfinished)
        unfinished.rename(target)


def _same(own: Any, suggested: Any) -> bool:
    if isinstance(own, float):
        return isinstance(suggested, int | float) and math.isclose(own, suggested, rel_tol=1e-6, abs_tol=1e-9)
    return bool(own == suggested)
