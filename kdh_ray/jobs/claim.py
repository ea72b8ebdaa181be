"""Exclusive use of a run's folder: one process at a time, always with the same configuration."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from kdh_ray.config import MACHINE_SETTINGS, RunConfig, dump_config, flatten, load_run_config
from kdh_ray.errors import ConfigError, UnavailableError
from kdh_ray.run_folder import RunFolder
from kdh_ray.storage import locked_folder

FREE_BYTES = 2 * 2**30  # room for checkpoints, optimiser state and caches of base-sized models
# A resumed run may be on another machine and keep its files elsewhere.
_MAY_CHANGE = ("config_job.", "config_cache", "config_results", *(f"config_tune.{name}" for name in MACHINE_SETTINGS))


@contextmanager
def claim_folder(folder: RunFolder, config: RunConfig) -> Iterator[None]:
    """Create a run's folder, or resume in it, and lock it against other processes until the block ends.

    Raises:
        UnavailableError: If the folder can't be written, another run has locked it, or the disk is nearly full.
        ConfigError: If the folder belongs to another configuration; the message lists the settings that differ.
    """
    with locked_folder(folder.path):
        _check_free_space(folder.path)
        write_or_check_config(folder.config, config)
        yield


def _check_free_space(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < FREE_BYTES:
        needed = FREE_BYTES / 2**30
        raise UnavailableError(f"{folder}: a run needs {needed:g} GiB of free disk space; got {free / 2**30:.1f}")


def write_or_check_config(file: Path, config: RunConfig) -> None:
    """Write the configuration to ``file`` or, if the file exists, check that both are the same.

    Settings of the machine may differ. Settings that are younger than the file are compared by what they were before.

    Raises:
        UnavailableError: If the file can't be written.
        ConfigError: If the configurations differ; the message lists the settings.
    """
    text = dump_config(config)
    if not file.exists():
        _write_whole(file, text)
        return
    # Load and dump the file, so that settings that it lacks appear.
    before = flatten(yaml.safe_load(dump_config(load_run_config(file))))
    after = flatten(yaml.safe_load(text))
    faults = [
        f"{key.removeprefix('config_')}: the run in this folder has {before.get(key)!r}; got {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key) and not key.startswith(_MAY_CHANGE)
    ]
    if faults:
        raise ConfigError([*faults, "give another --out, or remove the folder"], str(file))


def _write_whole(file: Path, text: str) -> None:
    """Write ``file`` completely or not at all; later runs would take half a configuration for a different one."""
    temporary = file.with_name(f".{file.name}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise UnavailableError(f"{file} can't be written: {error.strerror}") from None
