"""A search as series on Ray's Prometheus endpoint, beside Ray's own; ``deploy/grafana/kdh-ray.json`` draws them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from kdh_ray.tuning.trials import Trial, best_of, savings

STATES = ("running", "ok", "stopped", "failed")
RATE = "documents_per_second"
"""A result of trials that makes up the series of the same name."""


@dataclass(frozen=True)
class Series:
    """One series: its name without Ray's prefix ``ray_``, its labels, and what it says."""

    name: str
    labels: tuple[str, ...]
    description: str


SERIES = {
    series.name: series
    for series in (
        Series("kdh_best_score", ("search",), "Best score of a trial that ran to its end, or else of any"),
        Series("kdh_trial_score", ("search", "trial", "particle"), "Last score that a trial reported"),
        Series("kdh_trial_fidelity", ("search", "trial", "particle"), "Units of training (epochs) a trial reached"),
        Series("kdh_trials", ("search", "state"), "Trials by state: running, ok, stopped, failed"),
        Series("kdh_busy_particles", ("search",), "Particles whose trial is running"),
        Series("kdh_documents_per_second", ("search",), "Training documents a second, all running trials together"),
        Series("kdh_spared_epochs", ("search",), "Units of training that early stopping spared"),
        Series("kdh_spared_share", ("search",), "Share of training that early stopping spared, 0 to 1"),
    )
}


class SearchMetrics:
    """Keeps the series of one search; called with a trial when it starts, reports, and ends.

    Args:
        search: The label ``search``.
        mode: ``max`` or ``min``.
        trials: Of earlier sessions.
    """

    def __init__(self, search: str, mode: str, trials: list[Trial]) -> None:
        from ray.util.metrics import Gauge

        # Ray's labels are ASCII.
        self._search, self._mode = search.encode("ascii", "backslashreplace").decode(), mode
        self._trials = {trial.number: trial for trial in trials}
        self._gauges = {
            series.name: Gauge(series.name, series.description, tag_keys=series.labels) for series in SERIES.values()
        }

    def __call__(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        trials = list(self._trials.values())
        running = [other for other in trials if not other.ended]
        saved, best = savings(trials), best_of(trials, self._mode)
        states: Counter[str] = Counter(other.status for other in trials)
        for state in STATES:
            self._set("kdh_trials", states[state], state=state)
        self._set("kdh_best_score", None if best is None else best.score)
        self._set("kdh_busy_particles", len(running))
        self._set("kdh_documents_per_second", sum(other.values.get(RATE, 0.0) for other in running))
        self._set("kdh_spared_epochs", saved.spared)
        self._set("kdh_spared_share", saved.share)
        about = {"trial": str(trial.number), "particle": str(trial.particle.get("particle", ""))}
        self._set("kdh_trial_score", trial.score, **about)
        self._set("kdh_trial_fidelity", trial.time, **about)

    def _set(self, name: str, value: float | None, **labels: str) -> None:
        self._gauges[name].set(value, {"search": self._search, **labels})
