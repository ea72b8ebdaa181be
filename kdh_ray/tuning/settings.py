"""Settings of a search: its size, its metric, and the limits that it keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kdh_ray.config import JobConfig


@dataclass(frozen=True)
class TuneSettings:
    """Settings of ``tune``.

    Attributes:
        trials: Number of configurations to try, over all sessions of the search; -1 for as many as the time budget
            allows.
        metric: Name of the result to optimise; that of a nested one is like ``eval/loss``.
        mode: ``max`` or ``min``.
        max_t: Units of training (``training_iteration``) of the longest trial. A trial that the scheduler stops there
            is ``ok``. None if the objective ends its trials itself.
        full_length: Function from a configuration to the units of training of its full run, where configurations
            differ; every full run has ``max_t`` if not given.
        spared: Function of a configuration: True if the scheduler may not stop it early.
        extra_results: Names of further results to record with each report.
        further_objectives: Names of further results to optimise at the same time, each with its mode. The searcher has
            to know them; schedulers compare trials by ``metric`` only.
        concurrency: Trials to run at once; as many as the cluster has room for at any time if not given.
        resources: Resources of one trial, such as ``{"CPU": 1, "GPU": 0.5, "memory": 1e9}`` (memory in bytes). ``cpu``
            and ``gpu``, as Ray Tune writes them, are the same.
        time_budget: Seconds of wall time, over all sessions. Trials that still run then are stopped.
        trial_time_limit: Seconds that a trial may run. Its worker is killed then, whatever it is doing.
        max_failures: Number of times that a failed trial is restarted from its last checkpoint.
        name: Label of the search in Ray's metrics; the name of its folder if not given.
        job: Ray cluster to run on: its ``address`` and ``autoscaling``.
        verbose: Show Ray's own log lines.

    Raises:
        ValueError: If a value is out of its range; the message lists every fault.
    """

    trials: int
    metric: str
    mode: Literal["max", "min"] = "max"
    max_t: float | None = None
    full_length: Callable[[Mapping[str, Any]], float | None] | None = None
    spared: Callable[[Mapping[str, Any]], bool] | None = None
    extra_results: tuple[str, ...] = ()
    further_objectives: Mapping[str, Literal["max", "min"]] = field(default_factory=dict)
    concurrency: int | None = None
    resources: Mapping[str, float] = field(default_factory=lambda: {"CPU": 1})
    time_budget: float | None = None
    trial_time_limit: float | None = None
    max_failures: int = 0
    name: str | None = None
    job: JobConfig = field(default_factory=JobConfig)
    verbose: bool = False

    def __post_init__(self) -> None:
        counts = {"trials": self.trials, "concurrency": self.concurrency}
        faults = [
            f"{name} must be a whole number; got {value!r}"
            for name, value in counts.items()
            if value is not None and value % 1  # Tune would wait for 2.5 trials for ever
        ]
        faults += [
            f"{name} must be at least 1; got {value}"
            for name, value in counts.items()
            if value is not None and value < 1 and not (name == "trials" and value == -1)
        ]
        if self.trials == -1 and self.time_budget is None:
            faults.append("trials can be -1 only with a time_budget")
        faults += [
            f"{name} must be a number above 0; got {value}"
            for name, value in (
                ("max_t", self.max_t),
                ("time_budget", self.time_budget),
                ("trial_time_limit", self.trial_time_limit),
            )
            if value is not None and not 0 < value < math.inf
        ]
        if self.mode not in ("max", "min"):
            faults.append(f"mode must be 'max' or 'min'; got {self.mode!r}")
        if self.max_failures < 0:
            faults.append(f"max_failures must be at least 0; got {self.max_failures}")
        names = {"cpu": "CPU", "gpu": "GPU"}
        resources = {names.get(kind, kind): amount for kind, amount in self.resources.items()}
        if len(resources) < len(self.resources):
            faults.append(f"resources must name each kind once; got {', '.join(self.resources)}")
        if faults:
            raise ValueError("; ".join(faults))
        object.__setattr__(self, "resources", resources)

    @property
    def recorded_results(self) -> tuple[str, ...]:
        """Names of all results, apart from the metric, that are recorded with each report."""
        return tuple(dict.fromkeys([*self.extra_results, *self.further_objectives]))

    @property
    def n_trials(self) -> float:
        """Number of configurations to try; infinite if only the time budget limits it."""
        return math.inf if self.trials == -1 else self.trials

    def full_time(self, config: Mapping[str, Any]) -> float | None:
        """Return the units of training of a configuration's full run; None if that is unknown."""
        return self.max_t if self.full_length is None else self.full_length(config)
