"""``kdh-ray quickstart``: train a teacher on an embedded corpus, and search for a student with a small swarm."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kdh_ray.cli.running import add_run_arguments
from kdh_ray.run_folder import RunFolder

STUDENT = "student"
SENTENCE = "Curcumin reduced cell migration and induced apoptosis in breast cancer cells."
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

    config = load_config(CONFIG, args.set)
    code = search_and_print(config, args, resume=True)
    if code == 0:
        _print_prediction(RunFolder(args.out or Path("runs") / config.name).best.stage(STUDENT).checkpoint)
    return code


def _print_prediction(checkpoint: Path) -> None:
    """Label a sentence with the student that the search found, as a user would."""
    from kdh_ray.inference.classifier import load_classifier

    prediction = load_classifier(checkpoint).predict([SENTENCE])
    scores = dict(zip(prediction.label_names, prediction.probabilities[0], strict=True))
    labels = ", ".join(f"{label} ({scores[label]:.2f})" for label in prediction.labels[0]) or "no label"
    print(f"\nThe student reads: {SENTENCE}\n  {labels}")
    print(f'\nLabel texts of your own: echo "..." | kdh-ray predict {checkpoint}', file=sys.stderr)
