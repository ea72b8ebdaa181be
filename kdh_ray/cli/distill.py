"""``kdh-ray distill``: what ``kdh-ray teach`` left: the stages that are nobody's teacher."""

from __future__ import annotations

import argparse

from kdh_ray.cli.run import add_arguments as add_arguments
from kdh_ray.cli.running import run_and_print


def execute(args: argparse.Namespace) -> int:
    """Distil from teachers that are finished in the run's folder, or that are folders of checkpoints."""
    from kdh_ray.config import load_config

    config = load_config(args.config, args.set)
    teachers = config.teacher_stages()
    return run_and_print(config, args, [name for name in config.stages if name not in teachers])
