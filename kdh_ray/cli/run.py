"""``kdh-ray run``: every stage of a configuration."""

from __future__ import annotations

import argparse

from kdh_ray.cli.running import add_run_arguments, run_and_print


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML file; see experiments/configs/")
    add_run_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Run, or go on where an earlier call with the same ``--out`` stopped."""
    from kdh_ray.config import load_config

    return run_and_print(load_config(args.config, args.set), args)
