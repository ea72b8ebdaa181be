"""``kdh-ray teach``: train only the teachers of a configuration, and the stages that they start from."""

from __future__ import annotations

import argparse

from kdh_ray.cli.running import add_config_argument, add_run_arguments, run_and_print
from kdh_ray.errors import ConfigError

EXAMPLES = """
examples:
  kdh-ray teach my.yaml
  kdh-ray distill my.yaml    # later, in the same folder: the other stages
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_config_argument(parser)
    add_run_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Train the teachers.

    Raises:
        ConfigError: If no stage of the configuration teaches another.
    """
    from kdh_ray.config import load_config

    config = load_config(args.config, args.set)
    stages = config.teacher_stages()
    if not stages:
        raise ConfigError(["stages: no stage is named as another's teacher"], args.config)
    return run_and_print(config, args, stages)
