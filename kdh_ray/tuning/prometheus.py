"""Metrics of a search on Ray's Prometheus endpoint. The dashboard ``deploy/grafana/kdh-ray.json`` plots them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kdh_ray.tuning.trials import RATE, STATUSES, Trial, best_of, savings


@dataclass(frozen=True)
class Series:
    """One time series.

    Attributes:
        name: Name without Ray's prefix ``ray_``.
        labels: Names of its labels.
        description: Help text.
    """

    name: str
    labels: tuple[str, ...]
    description: str


SERIES = {
    series.name: series
    for series in (
        Series("kdh_best_score", ("search",), "Best score of the trials that ran to their end, or else of all"),
        Series("kdh_trial_score", ("search", "trial", "particle"), "Last score that a trial reported"),
        Series("kdh_trial_fidelity", ("search", "trial", "particle"), "Units of training (epochs) that a trial ran"),
        Series("kdh_trials", ("search", "state"), "Number of trials by state: running, ok, stopped, failed"),
        Series("kdh_busy_particles", ("search",), "Number of particles whose trial is running"),
        Series("kdh_documents_per_second", ("search",), "Training documents per second, over all running trials"),
        Series("kdh_spared_epochs", ("search",), "Units of training that early stopping saved"),
        Series("kdh_spared_share", ("search",), "Share of training that early stopping saved, 0 to 1"),
    )
}


class SearchMetrics:
    """Updates the series of one search; a listener, called with a trial when it starts, reports, and ends.

    Args:
        search: Value of the label ``search``.
        mode: ``max`` or ``min``.
        trials: Trials of earlier sessions.
    """

    def __init__(self, search: str, mode: str, trials: list[Trial]) -> None:
        from ray.util.metrics import Gauge

        self._search = search.encode("ascii", "backslashreplace").decode()  # Ray refuses other labels
        self._mode = mode
        self._trials = {trial.number: trial for trial in trials}
        self._gauges = {
            series.name: Gauge(series.name, series.description, tag_keys=series.labels) for series in SERIES.values()
        }

    def __call__(self, trial: Trial) -> None:
        """Set all series of the search, and those of ``trial``."""
        self._trials[trial.number] = trial
        trials = list(self._trials.values())
        self._set_totals(trials)
        saved, best = savings(trials), best_of(trials, self._mode)
        self._set("kdh_best_score", None if best is None else best.score)
        self._set("kdh_spared_epochs", saved.spared)
        self._set("kdh_spared_share", saved.share)
        labels = {"trial": str(trial.number), "particle": str(trial.particle.get("particle", ""))}
        self._set("kdh_trial_score", trial.score, **labels)
        self._set("kdh_trial_fidelity", trial.time, **labels)

    def _set_totals(self, trials: list[Trial]) -> None:
        running = [trial for trial in trials if not trial.ended]
        counts: Counter[str] = Counter(trial.status for trial in trials)
        for status in STATUSES:
            self._set("kdh_trials", counts[status], state=status)
        self._set("kdh_busy_particles", len(running))
        self._set("kdh_documents_per_second", sum(trial.values.get(RATE, 0.0) for trial in running))

    def _set(self, name: str, value: float | None, **labels: str) -> None:
        self._gauges[name].set(value, {"search": self._search, **labels})
