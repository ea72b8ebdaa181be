"""``kdh-ray quickstart``: the main job on what the package brings: encoder and corpus."""

from __future__ import annotations

import argparse
from pathlib import Path

from kdh_ray.cli.running import add_run_arguments, run_and_print

CONFIG = Path(__file__).parents[1] / "configs" / "quickstart.yaml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    add_run_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Run the embedded configuration."""
    from kdh_ray.config import load_config

    return run_and_print(load_config(CONFIG, args.set), args)
