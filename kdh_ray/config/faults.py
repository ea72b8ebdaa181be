"""The faults of a configuration in words: where each is, what is allowed, what was received."""

from __future__ import annotations

from difflib import get_close_matches

from pydantic import BaseModel, ValidationError

from kdh_ray.config.data import UNLABELLED_KINDS, DataConfig, UnlabelledConfig
from kdh_ray.config.run import RunConfig
from kdh_ray.config.space import CHOICE_KINDS, SearchRange
from kdh_ray.config.stage import StageConfig
from kdh_ray.config.tune import TuneConfig

_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_KINDS = (*CHOICE_KINDS, *UNLABELLED_KINDS)
_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def faults_of(error: ValidationError, root: type[BaseModel]) -> list[str]:
    """Return the faults of pydantic's ``error``, one line each.

    Args:
        error: Raised by validating a tree of plain values.
        root: The section that was validated.
    """
    faults: list[str] = []
    for fault in error.errors(include_url=False):
        location = ".".join(str(part) for part in fault["loc"] if part not in _KINDS)
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            faults.append(f"{location}: no such setting{_nearest(fault['loc'], root)}")
        elif fault["type"] in ("model_type", "model_attributes_type") and fault["loc"][1:2] == ("space",):
            faults.append(f"{location}: takes {{low: .., high: ..}} or {{choices: [..]}}; got {fault['input']!r}")
        elif fault["type"] in ("model_type", "model_attributes_type"):
            faults.append(f"{location or 'configuration'}: must be a section of settings; got {fault['input']!r}")
        elif fault["type"] == "dict_type" and fault["loc"][1:2] == ("space",):
            faults.append(f"{location}: takes settings and their ranges; got {fault['input']!r}")
        elif fault["type"] == "tuple_type" and UNLABELLED_KINDS[0] in fault["loc"]:
            faults.append(
                f"{location}: must be {{path: FILE}}, or a list of outputs of kdh-ray predict; got {fault['input']!r}"
            )
        elif fault["type"] == "tuple_type":
            faults.append(f"{location}: must be a list, such as [a, b]; got {fault['input']!r}")
        elif fault["type"] == "missing":
            faults.append(f"{location}: is required")
        elif fault["type"] == "value_error":
            faults += [f"{location}: {line}" if location else line for line in message.splitlines()]
        elif bounds := _bounds(fault["loc"], root) if fault["type"] in _OUT_OF_RANGE else "":
            faults.append(f"{location}: must be {bounds}; got {fault['input']!r}")
        else:
            faults.append(f"{location}: {message[0].lower()}{message[1:]}; got {fault['input']!r}")
    return faults


def _bounds(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """Return the whole range of a setting, such as ``at least 0 and at most 1``; empty for a union of types."""
    section = _section(location, root)
    field = section.model_fields.get(str(location[-1])) if section is not None else None
    bounds = [
        (kind, getattr(each, kind))
        for each in (field.metadata if field else ())
        for kind in _WORDS
        if hasattr(each, kind)
    ]
    return " and ".join(f"{_WORDS[kind]} {value:.10g}" for kind, value in bounds)


def _nearest(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """Return ``; did you mean 'alpha'?`` for a misspelt key, or the list of known keys."""
    section = _section(location, root)
    known = list(section.model_fields) if section is not None else []
    match = get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {match[0]!r}?" if match else f" (known: {', '.join(known)})"


def _section(location: tuple[int | str, ...], root: type[BaseModel]) -> type[BaseModel] | None:
    """Return the section of the setting at ``location``; None if there is no such section."""
    section: type[BaseModel] | None = root
    for part in location[:-1]:
        section = None if section is None else _child(section, str(part))
    return section


def _child(section: type[BaseModel], name: str) -> type[BaseModel] | None:
    if section is SearchRange:  # a setting, or a choice that brings settings
        return section
    if (section is DataConfig and name == "unlabelled") or name in UNLABELLED_KINDS:
        return UnlabelledConfig
    if name not in section.model_fields:  # a key of the mapping of stages, so a stage's name
        return StageConfig if section is RunConfig or section is StageConfig else None
    if section is TuneConfig and name == "space":
        return SearchRange
    kind = section.model_fields[name].annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return StageConfig if name == "stages" else None
