"""Search spaces: the ranges of a stage's settings, which are checked against the settings' own bounds.

A space maps a setting to its range. Choices may bring settings of their own, which are searched only where that choice
is taken::

    loss.soft:
      choices:
        bernoulli-kl:
        softmax-kl:
          loss.temperature: {low: 1, high: 8}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Annotated, Any, get_args

from pydantic import BeforeValidator, Discriminator, Field, Tag, TypeAdapter, ValidationError, model_validator
from pydantic.fields import FieldInfo

from kdh_ray.config.fields import Section
from kdh_ray.config.stage import LossConfig, StageConfig

CHOICE_KINDS = ("a list of values", "a mapping of values")
"""Pydantic's names of the two forms of ``choices``, which it adds to the location of a fault."""

_Values = Annotated[tuple[Any, ...], Tag(CHOICE_KINDS[0])]
_Brought = Annotated["dict[str, SearchRange]", BeforeValidator(lambda space: {} if space is None else space)]
# The keys of a configuration that was written are text, also that of null.
_Key = Annotated[Any, BeforeValidator(lambda value: None if value == "None" else value)]
_ValuesWithSettings = Annotated[dict[_Key, _Brought], Tag(CHOICE_KINDS[1])]


class SearchRange(Section):
    """The range of a tuned setting: from ``low`` to ``high``, both included, or one of ``choices``."""

    low: float | None = None
    high: float | None = None
    log: bool = Field(False, description="spread evenly over orders of magnitude")
    choices: (
        Annotated[_Values | _ValuesWithSettings, Discriminator(lambda value: CHOICE_KINDS[isinstance(value, Mapping)])]
        | None
    ) = Field(None, description="the values, or a mapping of each value to the settings that it brings")

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

    @property
    def lowest(self) -> float:
        """The smallest value of a numeric range."""
        return min(self._bounds)

    @property
    def highest(self) -> float:
        """The largest value of a numeric range."""
        return max(self._bounds)

    @property
    def _bounds(self) -> list[float]:
        values = (self.low, self.high) if self.choices is None else self.choices
        return [float(value) for value in values if value is not None]

    @property
    def brought(self) -> Mapping[Any, Mapping[str, SearchRange]]:
        """The settings that choices bring, by choice; empty if no choice brings any."""
        return self.choices if isinstance(self.choices, Mapping) and any(self.choices.values()) else {}

    def contains(self, value: Any) -> bool:
        """Return True if ``value`` is in the range."""
        if self.choices is not None:
            return value in self.choices
        return value is not None and self.lowest <= value <= self.highest


SearchSpace = Mapping[str, SearchRange]
"""The range of each setting that is searched in every trial, by dotted name (``loss.alpha``)."""


def every_range(space: SearchSpace, path: str = "") -> Iterator[tuple[str, str, SearchRange]]:
    """Yield the path, the setting and the range of every entry of a space, those that choices bring included."""
    for name, entry in space.items():
        yield f"{path}{name}", name, entry
        for value, brought in entry.brought.items():
            yield from every_range(brought, f"{path}{name}.choices.{value}.")


def ranges_of(space: SearchSpace, setting: str) -> list[SearchRange]:
    """Return all ranges of a setting; several if choices bring it."""
    return [entry for _, name, entry in every_range(space) if name == setting]


def highest(space: SearchSpace, setting: str, own: float) -> float:
    """Return the largest value of a numeric setting in any trial.

    Args:
        space: The search space.
        setting: Name of the setting.
        own: Value of trials in which the setting is not searched.
    """
    values = [entry.highest for entry in ranges_of(space, setting)]
    return max(values if setting in space else [*values, own])


def lowest(space: SearchSpace, setting: str, own: float) -> float:
    """Return the smallest value of a numeric setting in any trial; see :func:`highest`."""
    values = [entry.lowest for entry in ranges_of(space, setting)]
    return min(values if setting in space else [*values, own])


def active_ranges(space: SearchSpace, settings: Mapping[str, Any]) -> dict[str, SearchRange]:
    """Return the ranges that a trial with ``settings`` is drawn from: those that its choices bring included."""
    active: dict[str, SearchRange] = {}
    for name, entry in space.items():
        active[name] = entry
        if entry.brought and entry.contains(settings.get(name)):
            active |= active_ranges(entry.brought[settings[name]], settings)
    return active


NOT_TUNED = (
    "teachers",
    "unlabelled_teachers",
    "members",
    "fold",
    "accumulate",
    "patience",
    "seed",
)  # they define where a stage is, not how it learns


def spaces_by_start(space: SearchSpace, own: str) -> dict[str, SearchSpace]:
    """Return each start that a trial may have, and the ranges of such a trial's other settings.

    Args:
        space: The search space.
        own: Start of all trials if it is not searched.
    """
    if "start" not in space:
        return {own: space}
    others, starts = {name: entry for name, entry in space.items() if name != "start"}, space["start"]
    return {start: {**others, **starts.brought.get(start, {})} for start in starts.choices or ()}


def tunable_settings() -> dict[str, FieldInfo]:
    """Return the settings of a stage that a search may vary, by dotted name."""
    own = {name: field for name, field in StageConfig.model_fields.items() if name not in (*NOT_TUNED, "loss")}
    return own | {f"loss.{name}": field for name, field in LossConfig.model_fields.items()}


def checked_space(space: SearchSpace, faults: list[str], path: str = "") -> dict[str, SearchRange]:
    """Return a space with values of the settings' own types, and add what is wrong with it to ``faults``.

    Args:
        space: The search space, or the settings that a choice brings.
        faults: Receives a line for each fault.
        path: Where ``space`` is, as the beginning of a fault.
    """
    repeated = _repeated(space)
    faults += [f"{path}{place}: {setting} is searched at {other}, too" for place, setting, other in repeated]
    return {name: _checked_range(name, entry, faults, path) for name, entry in space.items()}


def _repeated(space: SearchSpace) -> Iterator[tuple[str, str, str]]:
    """Yield the path of each setting that a trial could get twice, the setting, and the other path.

    Alternatives may bring the same setting: a trial takes one of them.
    """
    first = {name: name for name in space}
    for name, entry in space.items():
        own: dict[str, str] = {}
        for value, brought in entry.brought.items():
            for place, setting, _ in every_range(brought, f"{name}.choices.{value}."):
                if setting in first:
                    yield place, setting, first[setting]
                own.setdefault(setting, place)
        first |= {setting: place for setting, place in own.items() if setting not in first}


def _checked_range(name: str, entry: SearchRange, faults: list[str], path: str) -> SearchRange:
    settings = tunable_settings()
    if name in NOT_TUNED:
        faults.append(f"{path}{name}: can't be searched: it says where a stage is, not how it learns")
        return entry
    if name == "start" and path:
        faults.append(f"{path}{name}: is searched at the top of the space only, and its choices bring other settings")
        return entry
    if name not in settings:
        match = get_close_matches(name, settings, n=1)
        hint = f"did you mean {match[0]!r}?" if match else f"known: {', '.join(settings)}"
        faults.append(f"{path}{name}: no such setting of a stage to tune; {hint}")
        return entry
    if entry.choices is None and not is_numeric(name):
        faults.append(f"{path}{name}: takes choices, not a range")
        return entry
    # The setting's own type with its bounds, as pydantic checks it in a stage.
    kind: Any = Annotated[settings[name].annotation, settings[name]]
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    converted: dict[str, Any] = {}
    values = {"low": entry.low, "high": entry.high} if entry.choices is None else dict(enumerate(entry.choices))
    for key, value in values.items():
        try:
            converted[str(key)] = adapter.validate_python(value)
        except ValidationError as error:
            message = error.errors(include_url=False)[0]["msg"]
            location = f"{path}{name}.{key}" if entry.choices is None else f"{path}{name}.choices"
            faults.append(f"{location}: {message[0].lower()}{message[1:]}; got {value!r}")
    if entry.choices is None:
        return entry.model_copy(update=converted)
    choices = tuple(converted.values())
    if not isinstance(entry.choices, Mapping):
        return entry.model_copy(update={"choices": choices})
    brought = [checked_space(inner, faults, f"{path}{name}.choices.{value}.") for value, inner in entry.choices.items()]
    if len(set(choices)) < len(choices):
        faults.append(f"{path}{name}.choices: each value once; got {list(choices)}")
    return entry.model_copy(update={"choices": dict(zip(choices, brought, strict=False))})


def is_numeric(name: str) -> bool:
    """Return True if a tunable setting is a number, so that it may have a range."""
    return bool({int, float} & _types(tunable_settings()[name].annotation))


def is_integer(name: str) -> bool:
    """Return True if a tunable setting is a whole number."""
    return int in _types(tunable_settings()[name].annotation)


def _types(annotation: Any) -> set[Any]:
    """Return the plain types in an annotation such as ``Annotated[int, ...]`` or ``float | None``."""
    parts = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        return _types(parts[0])
    return set().union(*map(_types, parts)) if parts else {annotation}
