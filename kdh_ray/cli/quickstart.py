"""``kdh-ray quickstart``: train a teacher on an embedded corpus, and search for a student with a small swarm."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdh_ray.cli.running import add_run_arguments

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb.

    Trials run on Ray. Stages run in this process, since starting a Ray job takes as long as training one of them.
    """
    add_run_arguments(parser, local_help=argparse.SUPPRESS)
    parser.set_defaults(local=True)


def execute(args: argparse.Namespace) -> int:
    """Search with the embedded configuration, or resume the search."""
    from kdh_ray.cli.tune import search_and_print
    from kdh_ray.config import load_config

    return search_and_print(load_config(CONFIG, args.set), args, resume=True)
