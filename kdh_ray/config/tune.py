"""The ``tune`` section: the settings that are searched, the searcher, and the length of the search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from kdh_ray.config.fields import Count, Section
from kdh_ray.config.space import SearchRange, checked_space

MACHINE_SETTINGS = (
    "concurrency", "workers_per_trial", "cpus_per_trial", "gpus_per_trial", "memory_per_trial", "time_budget",
    "trial_time_limit", "max_failures", "trackers",
)  # fmt: skip
"""Settings of ``tune`` that may differ when a search is resumed, for example on another machine."""


SCORES = ("f1_micro", "f1_macro", "average_precision", "log_loss")
COSTS = ("parameters", "latency_ms")
"""Costs that a search may optimise next to a score; :mod:`kdh_ray.evaluation.objectives` knows how each is shown."""


class TuneConfig(Section):
    """The search for a stage's best settings. Its trials see only the training and validation splits."""

    stage: str | None = Field(None, description="the stage that is tuned; the first with teachers if not set")
    space: dict[str, SearchRange] | None = Field(
        None,
        description="a setting of the stage (loss.alpha) to its range; a default space if not set",
    )
    objective: str | tuple[str, ...] = Field(
        "f1_micro",
        description="validation score to optimise: f1_micro or f1_macro at its best threshold, average_precision over"
        " all pairs of document and label, or log_loss, of which less is better; or a list that begins with one and"
        " goes on with others, parameters or latency_ms, to find the front between them",
    )
    prefer: str | None = Field(
        None,
        description="one of several objectives: of the front's configurations within tolerance of the best first"
        " objective, the best in this one is trained; the best in the first one if not set",
    )
    tolerance: float = Field(
        0.01, description="with prefer, how much of the first objective may be given up; 0.01 is a point", ge=0.0
    )
    max_latency_ms: float | None = Field(
        None,
        description="of one document, on this machine's CPUs with cpus_per_trial threads; no limit if not set",
        gt=0.0,
    )
    max_parameters: float | None = Field(None, description="or 800K, 20M; no limit if not set", gt=0.0)
    searcher: str = Field("pso", description="pso, or a peer of searchers.factory")
    particles: Count = Field(10, description="of the swarm")
    trials: Count | None = Field(
        None, description="configurations to try; kdh-ray run searches if it is set, kdh-ray tune tries 32 if it isn't"
    )
    keep_default: bool = Field(
        False,
        description="keep the stage's own settings unless the best trial is clearly better, corrected for choosing the"
        " best of many; their trial is then never stopped early",
    )
    final: Literal["best", "distilled"] = Field(
        "best",
        description="the student that the search returns: best, the chosen configuration with the weights of its trial;"
        " distilled, that configuration taught by the teachers and the trials whose mean scores best",
    )
    scheduler: Literal["asha", "median", "none"] = Field("asha", description="rule that stops poor trials early")
    grace: Count = Field(1, description="epochs before a trial may be stopped; ASHA's first rung")
    reduction: float = Field(3.0, description="ASHA continues one in so many trials at each rung", gt=1.0)
    concurrency: Count | None = Field(
        None, description="trials at once; as many as the machines have room for if not set"
    )
    workers_per_trial: Count = Field(1, description="workers that train a trial together; more than one use Ray Train")
    cpus_per_trial: Count = Field(1, description="of each worker, and its number of threads")
    gpus_per_trial: float | None = Field(
        None, description="of each worker, may be a fraction; if not set, 1 if there are GPUs, else 0", ge=0.0
    )
    memory_per_trial: float | None = Field(
        None,
        description="bytes of each worker, or 800M, 1.5G; estimated from the encoder if not set",
        gt=0.0,
    )
    time_budget: float | None = Field(None, description="seconds, or 90s, 30m, 2h; the search ends then", gt=0.0)
    trial_time_limit: float | None = Field(
        None, description="seconds, or 90s, 30m, 2h; a trial that takes longer is killed", gt=0.0
    )
    trackers: tuple[Literal["mlflow", "optuna", "tensorboard", "wandb"], ...] = Field(
        (), description="experiment trackers that record the trials"
    )
    max_failures: int = Field(2, description="times a failed or lost trial resumes from its last epoch", ge=0)

    @property
    def n_trials(self) -> int:
        """Number of configurations to try: ``trials``, or 32 if not set."""
        return self.trials or 32

    @property
    def objectives(self) -> tuple[str, ...]:
        """Names of all objectives, the score by which trials are stopped early first."""
        return (self.objective,) if isinstance(self.objective, str) else self.objective

    @property
    def searches_costs(self) -> bool:
        """True if a cost of students is limited, or is an objective."""
        return self.has_budget or bool({*COSTS} & {*self.objectives})

    @property
    def has_budget(self) -> bool:
        """True if the latency or the size of a student is limited."""
        return self.max_latency_ms is not None or self.max_parameters is not None

    def without_machine(self) -> TuneConfig:
        """Return a copy with :data:`MACHINE_SETTINGS` at their defaults: the settings that identify a search."""
        return self.model_copy(update={name: type(self).model_fields[name].default for name in MACHINE_SETTINGS})

    @field_validator("objective", mode="before")
    @classmethod
    def _objectives(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else list(value) if isinstance(value, list | tuple) else []
        if not names or names[0] not in SCORES or not {*names} <= {*SCORES, *COSTS}:
            raise ValueError(
                f"takes {', '.join(SCORES)}, or a list that begins with one of these and goes on with others,"
                f" {' or '.join(COSTS)}; got {value!r}{_meant(names)}"
            )
        if len(set(names)) < len(names):
            raise ValueError(f"takes each objective once; got {value!r}")
        return names[0] if len(names) == 1 else tuple(names)

    @model_validator(mode="after")
    def _preference(self) -> TuneConfig:
        if self.prefer is not None and self.prefer not in self.objectives:
            raise ValueError(f"prefer: takes one of the objectives, {', '.join(self.objectives)}; got {self.prefer!r}")
        if self.prefer not in (None, self.objectives[0]) and self.keep_default:
            raise ValueError("keep_default: judges by the first objective only, so it takes no prefer")
        return self

    @field_validator("time_budget", "trial_time_limit", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        return _with_unit(value, {"s": 1.0, "m": 60.0, "h": 3600.0}, "seconds, or like 90s, 30m, 2h")

    @field_validator("memory_per_trial", mode="before")
    @classmethod
    def _bytes(cls, value: Any) -> Any:
        return _with_unit(value, {"M": 2.0**20, "G": 2.0**30}, "bytes, or like 800M, 1.5G")

    @field_validator("max_parameters", mode="before")
    @classmethod
    def _number(cls, value: Any) -> Any:
        return _with_unit(value, {"K": 1e3, "M": 1e6}, "a number, or like 800K, 20M")

    @field_validator("space")
    @classmethod
    def _within_bounds(cls, space: dict[str, SearchRange] | None) -> dict[str, SearchRange] | None:
        if space is None:
            return None
        if not space:
            raise ValueError("names one setting or more")
        faults: list[str] = []
        checked = checked_space(space, faults)
        if faults:
            raise ValueError("\n".join(faults))
        return checked


def _meant(names: Sequence[Any]) -> str:
    """Return the objective that an unknown name may mean, as the end of a message."""
    unknown = [str(name).lower() for name in names if name not in (*SCORES, *COSTS)]
    found = [close for name in unknown for close in get_close_matches(name, [*SCORES, *COSTS], n=1)]
    return f"; did you mean {found[0]!r}?" if found else ""


def _with_unit(value: Any, units: Mapping[str, float], allowed: str) -> Any:
    """Return the number behind a text such as ``30m``; any other type is left to pydantic."""
    if not isinstance(value, str):
        return value
    factor = units.get(value[-1:])
    try:
        return float(value) if factor is None else float(value[:-1]) * factor
    except ValueError:
        raise ValueError(f"takes {allowed}; got {value!r}") from None
