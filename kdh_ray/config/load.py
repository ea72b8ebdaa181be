"""Read a configuration from YAML, apply overrides, and report every fault at once."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kdh_ray.config.data import DataConfig
from kdh_ray.config.faults import faults_of
from kdh_ray.config.run import RunConfig
from kdh_ray.errors import ConfigError

_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
# ValueError: an impossible date; RecursionError: thousands of open brackets
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)


def parse_config(tree: Mapping[str, Any], source: str = "configuration") -> RunConfig:
    """Validate a tree of plain values.

    Args:
        tree: Sections and settings, as in a YAML file.
        source: The name of their origin in error messages.

    Raises:
        ConfigError: With all faults: where each is, what is allowed, what was received.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(faults_of(error, RunConfig), source) from None


def parse_data(tree: Mapping[str, Any], source: str = "data") -> DataConfig:
    """Validate only a ``data`` section; see :func:`parse_config`."""
    try:
        return DataConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(faults_of(error, DataConfig), source) from None


def load_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file, apply ``section.key=value`` overrides, and validate.

    Relative paths in the file start from the working directory, as on a command line.

    Raises:
        ConfigError: If the file can't be read, is not YAML, or has faults.
    """
    source = os.fspath(path)
    if Path(path).suffix.lower() in _TABLES and Path(path).is_file():
        hint = f"name the table in it as data.path, or see kdh-ray corpus describe --path {source}"
        raise ConfigError([f"is a table, but a configuration is a YAML file; {hint}"], source)
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
        # The tree of nodes still has every key, the loaded mapping only the last of each name.
        repeated = _repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([f"can't be read: {reason}"], source) from None
    except _NOT_YAML as error:
        raise ConfigError([f"is not YAML: {_yaml_fault(error)}"], source) from None
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else type(tree).__name__
        raise ConfigError([f"must hold sections such as `data:` and `stages:`; got {found}"], source)
    if repeated:
        raise ConfigError(repeated, source)
    return parse_config(apply_overrides(tree, overrides), source)


def _yaml_fault(error: Exception) -> str:
    """Return what is wrong and in which line, without the line itself: the file may hold anything."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    hint = " (indent with spaces)" if "'\\t'" in str(error.problem) else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}{hint}"


def _repeated_keys(node: yaml.Node | None, prefix: str = "") -> list[str]:
    """Return a fault for each key that a mapping has twice; YAML's reader silently keeps the last one."""
    faults: list[str] = []
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            faults += _repeated_keys(item, prefix)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = f"{prefix}{key.value}", key.start_mark.line + 1
            if name in lines:
                faults.append(f"{name}: appears twice, in lines {lines[name]} and {line}")
            lines[name] = line
            faults += _repeated_keys(value, f"{name}.")
    return faults


def apply_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return a copy of ``tree`` with each ``section.key=value`` set.

    Values are YAML (``[a, b]``, ``true``, ``1e-4``). Column names and the separator of a table are plain text, because
    ``#``, ``|`` and ``,`` have a meaning in YAML.

    Raises:
        ConfigError: If an override has no ``=``, or its path leads through something that is not a section.
    """
    result: dict[str, Any] = {**tree}
    faults = []
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            faults.append(f"--set takes section.key=value; got {override!r}")
            continue
        *sections, last = key.strip().split(".")
        if fault := _unknown_stage(result, sections):
            faults.append(f"--set {override}: {fault}")
            continue
        node = result
        for section in sections:
            child = node.get(section)
            if child is not None and not isinstance(child, dict):
                faults.append(f"--set {override}: {section!r} is not a section")
                break
            node[section] = {**(child or {})}
            node = node[section]
        else:
            try:
                node[last] = _parse_value(key.strip(), value)
            except _NOT_YAML as error:
                faults.append(f"--set {override}: the value is not YAML: {' '.join(str(error).split())}")
    if faults:
        raise ConfigError(faults, "command line")
    return result


def _unknown_stage(tree: Mapping[str, Any], sections: list[str]) -> str:
    """Return a fault if an override sets something in a stage that the configuration doesn't have, else nothing."""
    stages = tree.get("stages")
    if sections[:1] != ["stages"] or len(sections) == 1 or not isinstance(stages, dict) or sections[1] in stages:
        return ""
    near = get_close_matches(sections[1], [str(name) for name in stages], n=1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"no such stage: {sections[1]!r} (stages: {', '.join(map(str, stages))}){hint}"


_QUOTED = re.compile(r"""\s*(".*"|'.*')\s*""", re.DOTALL)
_ESCAPES = {r"\t": "\t", r"\n": "\n"}  # typed as two characters, since shells don't turn them into one
_NULLS = ("null", "~", "")


def _parse_value(key: str, text: str) -> Any:
    """Read the value of an override, as text or as YAML, whichever its setting takes."""
    section, _, name = key.partition(".")
    field = DataConfig.model_fields.get(name) if section == "data" else None
    if field is None or field.annotation not in (str, str | None):
        return _scalar(text)
    if _QUOTED.fullmatch(text):
        return yaml.safe_load(text)
    word = text.strip()
    if field.annotation is not str and word in _NULLS:
        return None
    return _ESCAPES.get(word, word or text)  # a blank may be a separator


def _scalar(text: str) -> Any:
    """Read a YAML value, with ``1e-4`` as a number (YAML 1.1 accepts only ``1.0e-4``)."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def dump_config(config: RunConfig) -> str:
    """Return the configuration as YAML, defaults included; ``load_config`` reads it back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def flatten(tree: Mapping[str, Any], prefix: str = "config_") -> dict[str, Any]:
    """Return nested settings as flat columns: ``{"loss": {"alpha": 0.5}}`` becomes ``{"config_loss.alpha": 0.5}``."""

    def leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if isinstance(value, Mapping):
                yield from leaves(value, f"{path}{key}.")
            else:
                yield f"{path}{key}", value

    return dict(leaves(tree, prefix))
