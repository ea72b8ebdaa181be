"""The record of a search's trials: each trial's configuration, its reports, and how it ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from kdh_ray.evaluation.fronts import non_dominated
from kdh_ray.tuning.numbers import finite

TIME_ATTR = "training_iteration"
"""The result that counts a trial's units of training; Ray Tune fills it in where the objective doesn't."""

VIOLATION = "violation"
"""The result by which an objective reports a constraint violation: above 0, the configuration is infeasible."""

RATE = "documents_per_second"
"""The result by which an objective reports its throughput."""

OUT_OF_TIME = "the time budget was used up"
"""Error of a trial that was stopped because the search ran out of time."""

Status = Literal["running", "ok", "stopped", "failed"]

STATUSES: tuple[Status, ...] = ("running", "ok", "stopped", "failed")


@dataclass
class Report:
    """The results that a trial reported after one unit of training.

    Attributes:
        time: Units of training so far, such as epochs.
        score: Value of the metric that the search optimises.
        seconds: Time that the trial has run so far, on its worker.
        values: Further results, by name; see ``TuneSettings.extra_results``.
    """

    time: float
    score: float
    seconds: float
    values: dict[str, float] = field(default_factory=dict)


# The fields of Report and Trial are those of search.json: a change of one needs a new version of the file.
@dataclass
class Trial:
    """One configuration and its run.

    Attributes:
        number: Position in the order of suggestions, from 1.
        id: The searcher's name for the trial, the same in all sessions of a search.
        config: The configuration as suggested.
        status: ``running``, ``ok`` (ran to its end), ``failed``, or ``stopped``: by the scheduler, or for the reason
            in ``error``, such as a time limit.
        reports: Reports in the order of their times.
        checkpoint: Folder from which the trial resumes; None without one.
        checkpoint_result: The result that belongs to ``checkpoint``.
        error: Why the trial failed or was stopped, in one line; empty otherwise.
        particle: The searcher's description of the particle that made the suggestion; empty for other searchers.
        started: Time of the suggestion: UTC, ISO 8601.
        worker: ``host:process id`` of the last report.
        full: Units of training of the configuration's full run; None if that is unknown.
    """

    number: int
    id: str
    config: dict[str, Any]
    status: Status = "running"
    reports: list[Report] = field(default_factory=list)
    checkpoint: str | None = None
    checkpoint_result: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    particle: dict[str, Any] = field(default_factory=dict)
    started: str = field(default_factory=lambda: datetime.now(UTC).isoformat(timespec="seconds"))
    worker: str = ""
    full: float | None = None

    @property
    def name(self) -> str:
        """Name of the trial in Ray's dashboard, in trackers, and of its folder."""
        particle = self.particle.get("particle")
        return f"trial-{self.number:04d}" if particle is None else f"particle-{particle}-trial-{self.number:04d}"

    @property
    def ended(self) -> bool:
        """True once the trial has any status but ``running``."""
        return self.status != "running"

    @property
    def score(self) -> float | None:
        """Score of the last report; None before the first."""
        return self.reports[-1].score if self.reports else None

    @property
    def time(self) -> float:
        """Units of training at the last report; 0 before the first."""
        return self.reports[-1].time if self.reports else 0.0

    @property
    def seconds(self) -> float:
        """Seconds of running at the last report; 0 before the first."""
        return self.reports[-1].seconds if self.reports else 0.0

    @property
    def values(self) -> dict[str, float]:
        """Further results of the last report; empty before the first."""
        return self.reports[-1].values if self.reports else {}

    @property
    def feasible(self) -> bool:
        """False if the objective reported a constraint violation."""
        return self.values.get(VIOLATION, 0.0) <= 0

    @property
    def stopped_early(self) -> bool:
        """True if the scheduler stopped the trial, and no limit did."""
        return self.status == "stopped" and not self.error

    def add(self, report: Report) -> None:
        """Append a report. It replaces earlier ones of its time or later: a resumed trial repeats those."""
        self.reports = [*(earlier for earlier in self.reports if earlier.time < report.time), report]


def number_of(name: str) -> int:
    """Return the number of the trial that has this name."""
    return int(name.rpartition("-")[2])


Listener = Callable[[Trial], None]
"""Called with a trial whenever it starts, reports, or ends."""


@dataclass(frozen=True)
class Savings:
    """Training that early stopping saved, compared with the same trials run to their ends.

    A search without a scheduler would have been another search: it would have had other results to suggest its later
    trials from. So this is no estimate of what such a search costs.

    Attributes:
        ran: Units of training that all ended trials ran.
        spared: Units of training that stopped trials did not run.
        seconds: Estimated duration of the ``spared`` units, each trial at its own pace.
    """

    ran: float
    spared: float
    seconds: float

    @property
    def share(self) -> float:
        """Saved share of the training that full runs would have taken, 0 to 1."""
        return self.spared / (self.ran + self.spared) if self.spared else 0.0


def savings(trials: Iterable[Trial]) -> Savings:
    """Return what early stopping has saved so far; a trial of unknown full length counts as a full run."""
    ended = [trial for trial in trials if trial.ended]
    stopped = [trial for trial in ended if trial.stopped_early and trial.full is not None]
    spared = {trial.number: max(0.0, (trial.full or 0.0) - trial.time) for trial in stopped}
    seconds = sum(spared[trial.number] * trial.seconds / trial.time for trial in stopped if trial.time)
    return Savings(sum(trial.time for trial in ended), sum(spared.values()), seconds)


def comparable(trials: Iterable[Trial]) -> list[Trial]:
    """Return the feasible trials with a score whose scores compare.

    These are the trials that ran to their end. Only if there is none do those count that were stopped, failed or run.
    """
    scored = [trial for trial in trials if trial.feasible and finite(trial.score) is not None]
    return [trial for trial in scored if trial.status == "ok"] or scored


def front_of(trials: Iterable[Trial], mode: str, further_objectives: Mapping[str, str]) -> list[Trial]:
    """Return the comparable trials that no other one beats in all objectives, the best in the first objective first.

    Args:
        trials: Trials to choose from.
        mode: ``max`` or ``min``, of the score.
        further_objectives: Further results, each with its mode. Trials without one of them are left out.
    """
    signs = {name: -1.0 if each == "max" else 1.0 for name, each in further_objectives.items()}
    sign = -1.0 if mode == "max" else 1.0
    losses = {
        trial.number: [sign * float(trial.score or 0.0), *(signs[name] * trial.values[name] for name in signs)]
        for trial in comparable(trials)
        if all(finite(trial.values.get(name)) is not None for name in signs)
    }
    on_front = dict(zip(losses, non_dominated([*losses.values()]), strict=True)) if losses else {}
    return sorted((trial for trial in trials if on_front.get(trial.number)), key=lambda trial: losses[trial.number])


def best_of(trials: Sequence[Trial], mode: str) -> Trial | None:
    """Return the comparable trial with the best last score; see :func:`comparable`.

    Args:
        trials: Trials to choose from.
        mode: ``max`` or ``min``.

    Returns:
        The best trial; None if the last score of no feasible trial is a finite number.
    """
    sign = 1.0 if mode == "max" else -1.0
    return max(comparable(trials), key=lambda trial: sign * float(trial.score or 0.0), default=None)


def trial_columns(trial: Trial) -> dict[str, Any]:
    """Return a trial as flat columns, its configuration as ``config/NAME``."""
    return {
        "trial": trial.number,
        "status": trial.status,
        "error": trial.error,
        "time": trial.time,
        "score": trial.score,
        "seconds": trial.seconds,
        "full": trial.full,
        "curve": [report.score for report in trial.reports],
        "started": trial.started,
        "worker": trial.worker,
        **trial.values,
        **trial.particle,
        **{f"config/{name}": value for name, value in trial.config.items()},
    }
