"""The ``tune`` section of a configuration: what is searched, by what, and for how long.

A search space is data: a stage's setting to its range, checked against the setting's own bounds.
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo

Count = Annotated[int, Field(ge=1)]


MACHINE_SETTINGS = ("concurrency", "cpus_per_trial", "gpus_per_trial", "time_budget", "max_failures")
"""Settings of ``tune`` that may differ when a search is resumed, on another machine perhaps."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class SearchRange(_Section):
    """What a tuned setting may be: from ``low`` to ``high``, both included, or one of ``choices``."""

    low: float | None = None
    high: float | None = None
    log: bool = Field(False, description="spread evenly over orders of magnitude")
    choices: tuple[Any, ...] | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> SearchRange:
        if (self.choices is None) == (self.low is None or self.high is None):
            raise ValueError("takes either low and high, or choices")
        if self.choices is not None:
            if self.low is not None or self.high is not None or self.log:
                raise ValueError("takes either low and high, or choices")
            if len(set(map(repr, self.choices))) < 2:
                raise ValueError(f"choices are two different values or more; got {list(self.choices)!r}")
        elif self.low is not None and self.high is not None:
            if not self.low < self.high:
                raise ValueError(f"low must be less than high; got {self.low:g} and {self.high:g}")
            if self.log and self.low <= 0:
                raise ValueError(f"a log range starts above 0; got {self.low:g}")
        return self


class TuneConfig(_Section):
    """The search for a stage's best settings. Its trials see the training and validation splits alone."""

    stage: str | None = Field(None, description="the stage that is tuned; the first with teachers if not set")
    space: dict[str, SearchRange] | None = Field(
        None, description="a setting of the stage (loss.alpha) to its range; see kdh_ray.jobs.tuning.space if not set"
    )
    searcher: str = Field("pso", description="pso, or a peer of searchers.baselines")
    particles: Count = Field(10, description="of the swarm")
    trials: Count = 32
    scheduler: Literal["asha", "median", "none"] = Field("asha", description="what stops poor trials early")
    grace: Count = Field(1, description="epochs before a trial may be stopped; ASHA's first rung")
    reduction: float = Field(3.0, description="ASHA goes on with one in so many trials at each rung", gt=1.0)
    concurrency: Count | None = Field(None, description="trials at once; as many as there is room for if not set")
    cpus_per_trial: Count = Field(1, description="which is also a trial's number of threads")
    gpus_per_trial: float | None = Field(
        None, description="1 where there are GPUs, else 0, if not set; parts of a GPU are fine", ge=0.0
    )
    time_budget: float | None = Field(None, description="seconds, or 90s, 30m, 2h; the search ends then", gt=0.0)
    max_failures: int = Field(0, description="times a failed trial goes on from its last epoch", ge=0)

    def without_machine(self) -> TuneConfig:
        """Itself, with the settings of :data:`MACHINE_SETTINGS` at their defaults: the identity of a search."""
        return self.model_copy(update={name: type(self).model_fields[name].default for name in MACHINE_SETTINGS})

    @field_validator("time_budget", mode="before")
    @classmethod
    def _duration(cls, value: Any) -> Any:
        units = {"s": 1.0, "m": 60.0, "h": 3600.0}
        if isinstance(value, str) and value[-1:] in units:
            try:
                return float(value[:-1]) * units[value[-1]]
            except ValueError:
                pass
        return value

    @field_validator("space")
    @classmethod
    def _within_bounds(cls, space: dict[str, SearchRange] | None) -> dict[str, SearchRange] | None:
        if space is None:
            return None
        if not space:
            raise ValueError("names one setting or more")
        faults: list[str] = []
        checked = {name: _check_range(name, entry, faults) for name, entry in space.items()}
        if faults:
            raise ValueError("\n".join(faults))
        return checked


NOT_TUNED = ("start", "teachers", "accumulate", "patience", "seed")  # where a stage is, not how it learns


def tunable_settings() -> dict[str, FieldInfo]:
    """Settings of a stage that a search may vary, by dotted name."""
    from kdh_ray.config import LossConfig, StageConfig  # which hold a TuneConfig themselves

    own = {name: field for name, field in StageConfig.model_fields.items() if name not in (*NOT_TUNED, "loss")}
    return own | {f"loss.{name}": field for name, field in LossConfig.model_fields.items()}


def _check_range(name: str, entry: SearchRange, faults: list[str]) -> SearchRange:
    """``entry`` with the values as the setting takes them; what is wrong with it goes to ``faults``."""
    known = tunable_settings()
    if name not in known:
        match = get_close_matches(name, known, n=1)
        hint = f"did you mean {match[0]!r}?" if match else f"known: {', '.join(known)}"
        faults.append(f"{name}: no such setting of a stage to tune; {hint}")
        return entry
    numeric = is_numeric(name)
    if entry.choices is None and not numeric:
        faults.append(f"{name}: takes choices, not a range")
        return entry
    kind: Any = Annotated[known[name].annotation, known[name]]
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    found: dict[str, Any] = {}
    values = {"low": entry.low, "high": entry.high} if entry.choices is None else dict(enumerate(entry.choices))
    for key, value in values.items():
        try:
            found[str(key)] = adapter.validate_python(value)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            place = f"{name}.{key}" if entry.choices is None else f"{name}.choices"
            faults.append(f"{place}: {message[0].lower()}{message[1:]}; got {value!r}")
    if entry.choices is None:
        return entry.model_copy(update=found)
    return entry.model_copy(update={"choices": tuple(found.values())})


def is_numeric(name: str) -> bool:
    """Whether a tunable setting is a number, so that it may have a range."""
    return bool({int, float} & _types(tunable_settings()[name].annotation))


def is_integer(name: str) -> bool:
    """Whether a tunable setting is a whole number."""
    return int in _types(tunable_settings()[name].annotation)


def _types(annotation: Any) -> set[Any]:
    """``float``, ``Annotated[int, ...]`` and ``X | None`` to the plain types in them."""
    parts = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _types(parts[0])
    return set().union(*map(_types, parts)) if parts else {annotation}
