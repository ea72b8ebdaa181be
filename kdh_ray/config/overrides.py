"""Changes of a configuration from the command line: ``--set section.key=value``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import NoneType
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from kdh_ray.config.data import DataConfig, UnlabelledConfig
from kdh_ray.errors import ConfigError

# ValueError: an impossible date; RecursionError: thousands of open brackets
NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)
_QUOTED = re.compile(r"""\s*(".*"|'.*')\s*""", re.DOTALL)
_NULLS = ("null", "~", "")


def apply_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``tree`` with each ``section.key=value`` set.

    Values are YAML (``[a, b]``, ``true``, ``1e-4``). Column names, paths and the separator of a table are plain text,
    because ``#``, ``|`` and ``,`` have a meaning in YAML.

    Raises:
        ConfigError: If an override has no ``=``, or its path leads through something that is not a section.
    """
    result: dict[str, Any] = {**tree}
    faults = [fault for override in overrides if (fault := _apply(result, override))]
    if faults:
        raise ConfigError(faults, "command line")
    return result


def _apply(tree: dict[str, Any], override: str) -> str:
    """Set one override in ``tree``, whose sections are copied on the way; return the fault if it has one."""
    key, separator, value = override.partition("=")
    if not separator or not key.strip():
        return f"--set takes section.key=value; got {override!r}"
    *sections, last = key.strip().split(".")
    if fault := _unknown_stage(tree, sections):
        return f"--set {override}: {fault}"
    node = tree
    for section in sections:
        child = node.get(section)
        if child not in (None, []) and not isinstance(child, dict):  # []: data.unlabelled that is not set
            return f"--set {override}: {section!r} is not a section"
        node[section] = {**(child or {})}
        node = node[section]
    try:
        node[last] = _parse_value(key.strip(), value)
    except NOT_YAML as error:
        return f"--set {override}: the value is not YAML: {' '.join(str(error).split())}"
    return ""


def _unknown_stage(tree: Mapping[str, Any], sections: list[str]) -> str:
    """Return a fault if an override sets something in a stage that the configuration doesn't have, else nothing."""
    stages = tree.get("stages")
    if sections[:1] != ["stages"] or len(sections) == 1 or not isinstance(stages, dict) or sections[1] in stages:
        return ""
    near = get_close_matches(sections[1], [str(name) for name in stages], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no such stage: {sections[1]!r} (stages: {', '.join(map(str, stages))}){hint}"


def _parse_value(key: str, text: str) -> Any:
    """Read the value of an override, as text or as YAML, whichever its setting takes."""
    section, _, name = key.partition(".")
    kinds = _kinds(name) if section == "data" else set()
    if kinds == {tuple}:
        return yaml.load(text, Loader=yaml.BaseLoader)  # noqa: S506 - makes nothing but text, also of no and 1e5
    if not kinds or kinds - {str, Path, NoneType}:
        return _scalar(text)
    if _QUOTED.fullmatch(text):
        return yaml.safe_load(text)
    word = text.strip()
    if NoneType in kinds and word in _NULLS:
        return None
    keeps_blanks = not word or (name == "label_separator" and word.isalnum())  # " " and " and " separate labels
    return text if keeps_blanks else word


def _kinds(name: str) -> set[Any]:
    """Return the types that a setting of the data section takes; none if there is no such setting."""
    inner = name.removeprefix("unlabelled.")
    kind = get_type_hints(DataConfig if inner == name else UnlabelledConfig).get(inner)
    kinds = set(get_args(kind))
    is_list = any(get_origin(each) is tuple for each in (kind, *kinds))
    return {tuple} if is_list else kinds or {kind}


def _scalar(text: str) -> Any:
    """Read a YAML value, with ``1e-4`` as a number (YAML 1.1 accepts only ``1.0e-4``)."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value
