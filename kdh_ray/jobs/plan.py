"""A run before it starts: its configuration, its folder, the stages to train, and how to train them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kdh_ray.config import RunConfig, load_config, load_run_config, parse_config
from kdh_ray.events import Event
from kdh_ray.run_folder import RunFolder
from kdh_ray.storage import local_folder

Listener = Callable[[Event], None]


@dataclass(frozen=True)
class RunPlan:
    """The stages that a run trains, and its folder.

    Attributes:
        config: The whole configuration.
        folder: Folder of the run.
        stages: Names of the stages to train, in order.
    """

    config: RunConfig
    folder: RunFolder
    stages: tuple[str, ...]

    @property
    def encoders(self) -> list[str]:
        """Encoders and checkpoints outside the run that its stages start from."""
        starts = {self.config.stages[name].start for name in self.stages}
        return sorted(starts - self.config.stages.keys())

    @property
    def finished(self) -> bool:
        """True if nothing is left to train."""
        return all(self.folder.stage(name).finished for name in self.stages)


@dataclass(frozen=True)
class RunOptions:
    """Options of a run that do not change what it learns.

    Attributes:
        local: Train in this process instead of on Ray Train workers.
        verbose: Show Ray's own log lines.
        listener: Called with every event.
        columns: Further columns of the rows, which replace others of the same name.
        allow_changed_data: Warn instead of refusing if the data are not those that earlier models were trained on.
    """

    local: bool = False
    verbose: bool = False
    listener: Listener | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)
    allow_changed_data: bool = False


def make_plan(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str],
    out: str | os.PathLike[str] | None,
    stages: Sequence[str] | None = None,
) -> RunPlan:
    """Plan a run of ``stages``, or of every stage.

    Args:
        config: A configuration, its tree of plain values, or its YAML file.
        out: The run's folder; ``runs/<name>`` if None.
        stages: Names of stages.

    Raises:
        ConfigError: If the configuration has faults.
        UnavailableError: If the folder is in a bucket.
    """
    if not isinstance(config, RunConfig):
        config = parse_config(config) if isinstance(config, Mapping) else load_config(config)
    folder = RunFolder(local_folder(out if out is not None else Path("runs") / config.name))
    config = _with_split_rule_of(folder, config)
    return RunPlan(config, folder, tuple(config.stages if stages is None else stages))


def _with_split_rule_of(folder: RunFolder, config: RunConfig) -> RunConfig:
    """Keep the splits of a run that began before there was a choice of rule, unless the configuration names a rule."""
    named = "split_rule" in config.data.model_fields_set
    if named or not folder.config.exists() or "split_rule" in load_config(folder.config).data.model_fields_set:
        return config
    before = load_run_config(folder.config).data.split_rule
    return config.model_copy(update={"data": config.data.model_copy(update={"split_rule": before})})
