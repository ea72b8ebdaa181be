"""A run's folder: one run at a time in it, always with the same configuration.

config.yaml      the whole configuration, defaults included
events.jsonl     what happened
stages/          checkpoints, predictions and scores
rows/            one result row a stage
cache/           tokens and teacher logits
ray/             what Ray Train keeps
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from kdh_ray.config import MACHINE_SETTINGS, RunConfig, dump_config, flatten, load_config, parse_config
from kdh_ray.errors import ConfigError, UnavailableError
from kdh_ray.storage import locked_folder

FREE_BYTES = 2 * 2**30  # checkpoints, optimiser state and caches of base-sized models
# Where and by how many a run is done may differ when it is resumed.
_MAY_CHANGE = ("config_job.", "config_cache", "config_results", *(f"config_tune.{name}" for name in MACHINE_SETTINGS))


def place(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str], out: str | os.PathLike[str] | None
) -> tuple[RunConfig, Path]:
    """A configuration, its tree of plain values or its YAML file as the first, and its folder; ``runs/<name>`` if None.

    Raises:
        ConfigError: If it is none.
    """
    if not isinstance(config, RunConfig):
        config = parse_config(config) if isinstance(config, Mapping) else load_config(config)
    folder = Path(out) if out is not None else Path("runs") / config.name
    return config, folder.expanduser().absolute()


@contextmanager
def run_folder(folder: Path, config: RunConfig) -> Iterator[Path]:
    """Make or take up a run's folder, and hold it against a second run until the block ends.

    Raises:
        UnavailableError: If it can't be written, another run holds it, or the disk is nearly full.
        ConfigError: If it belongs to another configuration; says where the two differ.
    """
    with locked_folder(folder):
        _check_space(folder)
        check_config(folder / "config.yaml", config)
        yield folder


def _check_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        raise UnavailableError(f"{folder}: a run wants {FREE_BYTES / 2**30:g} GiB of free disk; got {free / 2**30:.1f}")


def check_config(file: Path, config: RunConfig) -> None:
    """Write the configuration to ``file`` or, where there is one, see that it is the same but for the machine.

    Settings that the file lacks, having been written before there were any, stand at their defaults.

    Raises:
        UnavailableError: If it can't be written.
        ConfigError: If it differs; says where.
    """
    text = dump_config(config)
    if not file.exists():
        whole = file.with_name(f".{file.name}")
        try:
            whole.write_text(text, encoding="utf-8")
            whole.replace(file)  # half a configuration would be another one to every later run
        except OSError as error:
            raise UnavailableError(f"{file} can't be written: {error.strerror}") from None
        return
    before = flatten(yaml.safe_load(dump_config(load_config(file))))
    after = flatten(yaml.safe_load(text))
    faults = [
        f"{key.removeprefix('config_')}: the run in this folder has {before.get(key)!r}; got {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not key.startswith(_MAY_CHANGE)
    ]
    if faults:
        raise ConfigError([*faults, "give another --out, or remove the folder"], str(file))
