"""A search's trials as plain records: what they were told, what they reported, how they ended."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

ENDED = ("ok", "stopped", "failed")


@dataclass
class Report:
    """What a trial said after a unit of training.

    Attributes:
        time: Units of training, such as epochs.
        score: The metric that is optimised.
        seconds: Of the trial so far, on its worker.
        values: Further results that the search was told to keep.
    """

    time: float
    score: float
    seconds: float
    values: dict[str, float] = field(default_factory=dict)


@dataclass
class Trial:
    """One configuration's run.

    Attributes:
        number: From 1, in the order of suggestions.
        id: By which the searcher knows it, over all sessions of a search.
        config: As suggested.
        status: ``running``, ``ok`` (ran to its end), ``stopped`` (by the scheduler, or for what ``error`` says: the
            trial's time limit, the search's time budget) or ``failed``.
        reports: In order.
        checkpoint: Folder to go on from, and the result that it belongs to.
        error: Why it failed or was stopped; one line.
        particle: What the searcher says of the particle behind it.
        started: UTC, ISO 8601.
        worker: Host and process id of its last report.
        full: Units of training of its full run, where that is known.
    """

    number: int
    id: str
    config: dict[str, Any]
    status: Literal["running", "ok", "stopped", "failed"] = "running"
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
        """For Ray's dashboard, folders and trackers."""
        particle = self.particle.get("particle")
        return f"trial-{self.number:04d}" if particle is None else f"particle-{particle}-trial-{self.number:04d}"

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    @property
    def score(self) -> float | None:
        """Of the last report."""
        return self.reports[-1].score if self.reports else None

    @property
    def time(self) -> float:
        """Units of training reached."""
        return self.reports[-1].time if self.reports else 0.0

    @property
    def seconds(self) -> float:
        return self.reports[-1].seconds if self.reports else 0.0

    @property
    def values(self) -> dict[str, float]:
        """Further results of the last report."""
        return self.reports[-1].values if self.reports else {}

    @property
    def feasible(self) -> bool:
        """Whether it kept its budget, where there is one (an objective says so by a result ``violation`` above 0)."""
        return self.values.get("violation", 0.0) <= 0

    @property
    def stopped_early(self) -> bool:
        """Whether the scheduler ended it, and nothing else."""
        return self.status == "stopped" and not self.error

    def add(self, report: Report) -> None:
        """Append a report; after a resumption from an earlier checkpoint, in place of those of the same time on."""
        self.reports = [*(earlier for earlier in self.reports if earlier.time < report.time), report]


Listener = Callable[[Trial], None]


@dataclass(frozen=True)
class Savings:
    """What the scheduler saved: of the trials that it stopped, the training that full runs would have gone on with.

    It is measured against the same trials run to their ends, not against the search that would have been without a
    scheduler, whose later trials would have been others.

    Attributes:
        ran: Units of training of all ended trials.
        spared: Units that stopped trials did not run.
        seconds: That ``spared`` would have taken at each trial's own pace.
    """

    ran: float
    spared: float
    seconds: float

    @property
    def share(self) -> float:
        """Of the units of training that there would have been."""
        return self.spared / (self.ran + self.spared) if self.spared else 0.0


def savings(trials: Iterable[Trial]) -> Savings:
    """What stopping saved so far; trials whose full length isn't known count as full."""
    ended = [trial for trial in trials if trial.ended]
    stopped = [trial for trial in ended if trial.stopped_early and trial.full is not None]
    spared = {trial.number: max(0.0, (trial.full or 0.0) - trial.time) for trial in stopped}
    seconds = sum(spared[trial.number] * trial.seconds / trial.time for trial in stopped if trial.time)
    return Savings(sum(trial.time for trial in ended), sum(spared.values()), seconds)


def best_of(trials: Sequence[Trial], mode: str) -> Trial | None:
    """The best trial that ran to its end, else the best that reported; None if none did and kept its budget."""
    sign = 1.0 if mode == "max" else -1.0
    kept = [trial for trial in trials if trial.feasible]
    scored = [trial for trial in kept if trial.score is not None and trial.score == trial.score]
    finished = [trial for trial in scored if trial.status == "ok"]
    return max(finished or scored, key=lambda trial: sign * float(trial.score or 0.0), default=None)


def trial_columns(trial: Trial) -> dict[str, Any]:
    """A trial as flat columns; ``config/NAME`` for its configuration."""
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
