"""``kdh-ray quickstart``: the whole system on what the package brings: a teacher, and a small swarm of students."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdh_ray.cli.running import add_run_arguments

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb. Trials run on Ray; stages here, where starting a job for them takes as long as they do."""
    add_run_arguments(parser)
    parser.set_defaults(local=True)


def execute(args: argparse.Namespace) -> int:
    """Search the embedded configuration, or go on with the search."""
    from kdh_ray.cli.tune import search_and_print
    from kdh_ray.config import load_config

    return search_and_print(load_config(CONFIG, args.set), args, resume=True)
