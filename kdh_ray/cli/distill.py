"""``kdh-ray distill``: train the stages of a configuration that ``kdh-ray teach`` leaves out."""

from __future__ import annotations

import argparse

from kdh_ray.cli.running import run_and_print
from kdh_ray.cli.teach import add_arguments as add_arguments


def execute(args: argparse.Namespace) -> int:
    """Train the stages that teach no other; their teachers must be finished in the run's folder."""
    from kdh_ray.config import load_config

    config = load_config(args.config, args.set)
    teachers = config.teacher_stages()
    return run_and_print(config, args, [name for name in config.stages if name not in teachers])
