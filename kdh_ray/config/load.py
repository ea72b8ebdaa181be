"""Read a configuration from YAML, apply overrides, and report every fault at once."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kdh_ray.config.data import SETTINGS_BEFORE, DataConfig
from kdh_ray.config.faults import faults_of
from kdh_ray.config.overrides import NOT_YAML, apply_overrides
from kdh_ray.config.run import RunConfig
from kdh_ray.errors import ConfigError

_TABLES = (".csv", ".tsv", ".jsonl", ".parquet")
MOST_NODES = 100_000  # of a configuration, its aliases replaced by what they stand for


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
        nodes = yaml.compose(text, Loader=yaml.SafeLoader)
        if _expanded_size(nodes, {}) > MOST_NODES:
            raise ConfigError(["refers to its own parts so often that it can't be read"], source)
        repeated = _repeated_keys(nodes)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([f"can't be read: {reason}"], source) from None
    except NOT_YAML as error:
        raise ConfigError([f"is not YAML: {_yaml_fault(error)}"], source) from None
    if not isinstance(tree, dict):
        found = "nothing" if tree is None else type(tree).__name__
        raise ConfigError([f"must hold sections such as `data:` and `stages:`; got {found}"], source)
    if repeated:
        raise ConfigError(repeated, source)
    changes = list(overrides)
    return parse_config(apply_overrides(tree, changes), f"{source} with --set" if changes else source)


def load_run_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> RunConfig:
    """Read the configuration that a run has written; settings that it lacks are younger than the run.

    Raises:
        ConfigError: As :func:`load_config`.
    """
    config = load_config(path, overrides)
    before = {name: value for name, value in SETTINGS_BEFORE.items() if name not in config.data.model_fields_set}
    return config.model_copy(update={"data": config.data.model_copy(update=before)})


def _yaml_fault(error: Exception) -> str:
    """Return what is wrong and in which line, without the line itself: the file may hold anything."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        return " ".join(str(error).split())
    mark = error.problem_mark
    hint = " (indent with spaces)" if "'\\t'" in str(error.problem) else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem or error.context}{hint}"


def _expanded_size(node: yaml.Node | None, known: dict[int, int]) -> int:
    """Return the number of nodes once each alias is replaced by what it stands for, which may be exponential."""
    if not isinstance(node, yaml.CollectionNode):
        return 1
    if id(node) not in known:
        inner = node.value if isinstance(node, yaml.SequenceNode) else [each for pair in node.value for each in pair]
        known[id(node)] = MOST_NODES  # for a part that refers to itself
        known[id(node)] = 1 + sum(_expanded_size(each, known) for each in inner)
    return known[id(node)]


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


def dump_config(config: RunConfig, without: Mapping[str, Any] | None = None) -> str:
    """Return the configuration as YAML, defaults included; ``load_config`` reads it back.

    Args:
        config: The configuration.
        without: Section -> names of settings to leave out, or -> the same of its own sections.
    """
    tree = config.model_dump(mode="json", exclude=None if without is None else dict(without))
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def flatten(tree: Mapping[str, Any], prefix: str = "config_") -> dict[str, Any]:
    """Return nested settings as flat columns: ``{"loss": {"alpha": 0.5}}`` becomes ``{"config_loss.alpha": 0.5}``."""

    def leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if isinstance(value, Mapping):
                yield from leaves(value, f"{path}{key}.")
            else:
                yield f"{path}{key}", value

    return dict(leaves(tree, prefix))
