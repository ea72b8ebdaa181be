"""``kdh-ray teach``: only the teachers of a configuration, and the stages that they start from."""

from __future__ import annotations

import argparse

from kdh_ray.cli.run import add_arguments as add_arguments
from kdh_ray.cli.running import run_and_print
from kdh_ray.errors import ConfigError


def execute(args: argparse.Namespace) -> int:
    """Train the teachers.

    Raises:
        ConfigError: If no stage of the configuration is another's teacher.
    """
    from kdh_ray.config import load_config

    config = load_config(args.config, args.set)
    stages = config.teacher_stages()
    if not stages:
        raise ConfigError(["stages: no stage is named as another's teacher"], args.config)
    return run_and_print(config, args, stages)
