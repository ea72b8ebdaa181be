"""``kdh-ray run``: train every stage of a configuration, after the search that it asks for."""

from __future__ import annotations

import argparse

from kdh_ray.cli.running import add_config_argument, add_run_arguments, run_and_print

EXAMPLES = """
examples:
  kdh-ray run my.yaml
  kdh-ray run my.yaml --set stages.student.epochs=4 --out runs/my-short

a configuration names a corpus and the stages to train:
  name: my
  data: {corpus: table, path: notes.csv, label_columns: [pain, fever]}
  stages:
    teacher: {start: google-bert/bert-base-uncased, epochs: 6}
    student: {start: distilbert/distilbert-base-uncased, teachers: [teacher], epochs: 8}
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_config_argument(parser)
    add_run_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Run, or resume an interrupted run in the same folder."""
    from kdh_ray.config import load_config

    config = load_config(args.config, args.set)
    if config.tune.trials is not None:
        from kdh_ray.cli.tune import search_and_print

        return search_and_print(config, args, resume=True, whole=True)
    return run_and_print(config, args)
