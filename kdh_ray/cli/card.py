"""``kdh-ray card``: the model card of a classifier."""

from __future__ import annotations

import argparse
import json
import sys

from kdh_ray.cli.classifying import add_scoring_arguments, config_of

EXAMPLES = """
examples:
  kdh-ray card runs/my/stages/student/checkpoint > card.md
  kdh-ray card runs/my/stages/student/checkpoint my.yaml --group-column site --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_scoring_arguments(parser)
    parser.add_argument(
        "--group-column", metavar="NAME", help="column of the table, such as a site: scores for each of its values too"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of Markdown")


def execute(args: argparse.Namespace) -> int:
    """Score the classifier and print its card.

    Raises:
        CheckpointError: If the checkpoint can't be used, or its labels are not those of the corpus.
        ConfigError: If no configuration names the corpus.
        DataError: If the corpus or the groups can't be read.
    """
    from kdh_ray.data import corpus_from_config
    from kdh_ray.export.facts import scored_facts
    from kdh_ray.export.model_card import model_card, with_open_topics
    from kdh_ray.models.checkpoint import load_card

    load_card(args.checkpoint)  # fails at once if it is not a checkpoint
    config = config_of(args.checkpoint, args.config, args.set)
    corpus = corpus_from_config(config.data)
    facts = scored_facts(
        args.checkpoint,
        config,
        corpus,
        split=args.split,
        group_column=args.group_column,
        allow_changed_data=args.allow_changed_data,
    )
    if warning := facts["evaluation"]["warning"]:
        print(f"kdh-ray: {args.checkpoint}: {warning}", file=sys.stderr)
    print(json.dumps(with_open_topics(facts), indent=1) if args.json else model_card(facts))
    return 0
