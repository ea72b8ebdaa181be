"""``kdh-ray teach``: only the teachers of a configuration, and the stages that they start from."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from kdh_ray.cli.run import add_arguments as add_arguments
from kdh_ray.cli.running import run_and_print
from kdh_ray.errors import ConfigError

if TYPE_CHECKING:
    from kdh_ray.config import RunConfig


def execute(args: argparse.Namespace) -> int:
    """Train the teachers.

    Raises:
        ConfigError: If no stage of the configuration is another's teacher.
    """
    from kdh_ray.config import load_config

    config = load_config(args.config, args.set)
    return run_and_print(config, args, teacher_stages(config, args.config))


def teacher_stages(config: RunConfig, source: str) -> list[str]:
    """Stages that another learns from, and those that they need, in order.

    Raises:
        ConfigError: If there is none.
    """
    needed = {teacher for stage in config.stages.values() for teacher in stage.teachers if teacher in config.stages}
    if not needed:
        raise ConfigError(["stages: no stage is named as another's teacher"], source)
    for name in reversed(list(config.stages)):
        if name in needed:
            stage = config.stages[name]
            needed |= {reference for reference in (stage.start, *stage.teachers) if reference in config.stages}
    return [name for name in config.stages if name in needed]
