"""``kdh-ray run``: every stage of a configuration, and the search that it asks for."""

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

    config = load_config(args.config, args.set)
    if config.tune.trials is not None:
        from kdh_ray.cli.tune import search_and_print

        return search_and_print(config, args, resume=True, whole=True)
    return run_and_print(config, args)
