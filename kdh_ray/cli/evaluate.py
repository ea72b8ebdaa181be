"""``kdh-ray evaluate``: score a classifier on a split, over all labels and label by label."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.cli.classifying import add_scoring_arguments, config_of
from kdh_ray.cli.console import stdout_console

if TYPE_CHECKING:
    from rich.console import Console

    from kdh_ray.config import RunConfig
    from kdh_ray.data import Corpus


EXAMPLES = """
examples:
  kdh-ray evaluate runs/my/stages/student/checkpoint
  kdh-ray evaluate runs/my/stages/student/checkpoint other.yaml --split validation --json
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_scoring_arguments(parser)
    parser.add_argument(
        "--retune", action="store_true",
        help="first choose the threshold anew, on the validation split as raw text, and write it to the checkpoint",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")


def execute(args: argparse.Namespace) -> int:
    """Score the classifier and print its scores.

    Raises:
        CheckpointError: If the checkpoint can't be used, or its labels are not those of the corpus.
        ConfigError: If no configuration names the corpus.
    """
    from kdh_ray.evaluation.metrics import without_nan
    from kdh_ray.models.checkpoint import load_card

    load_card(args.checkpoint)  # fails at once if it is not a checkpoint
    result = evaluate(args.checkpoint, _config(args), args.split, args.retune, args.allow_changed_data)
    if args.json:
        print(json.dumps(without_nan(result), indent=1))
    else:
        with stdout_console() as console:
            _print(console, result)
    return 0


def evaluate(
    checkpoint: Path, config: RunConfig, split: str, retune: bool = False, allow_changed_data: bool = False
) -> dict[str, Any]:
    """Return a classifier's scores on a split at its own thresholds; see :func:`kdh_ray.inference.scoring.evaluate`.

    Args:
        checkpoint: Folder of the classifier.
        config: Its data section names the corpus.
        split: The split.
        retune: Choose the threshold anew first, on the validation split as raw text.
        allow_changed_data: Warn instead of refusing if documents of the split were trained on.

    Raises:
        DataError: If documents of the split were trained on.
    """
    from kdh_ray.data import corpus_from_config
    from kdh_ray.hardware import precision
    from kdh_ray.inference import scoring
    from kdh_ray.inference.classifier import TextClassifier
    from kdh_ray.models.checkpoint import load_card

    corpus = corpus_from_config(config.data)
    scoring.check_labels(checkpoint, load_card(checkpoint).labels, list(corpus.labels))
    _note_changed_data(checkpoint, corpus, split, retune, allow_changed_data)
    kind = precision(config.precision)
    classifier = TextClassifier.load(checkpoint, precision=kind)
    if retune:
        before = classifier.thresholds
        after = scoring.retune(checkpoint, classifier, corpus)
        print(f"kdh-ray: threshold {before.mean():.3f} -> {after:.3f}, written to {checkpoint}", file=sys.stderr)
        classifier = TextClassifier.load(checkpoint, precision=kind)
    elif note := classifier.note:
        print(f"kdh-ray: {note}", file=sys.stderr)
    return {
        "checkpoint": str(checkpoint),
        "protocol": corpus.name,
        "split": split,
        **scoring.evaluate(classifier, corpus, split),
    }


def _note_changed_data(checkpoint: Path, corpus: Corpus, split: str, retune: bool, allowed: bool) -> None:
    """Print what is to be known of a corpus that has changed since a classifier was trained."""
    from kdh_ray.models.checkpoint import load_card
    from kdh_ray.models.training_documents import check_unseen, is_of

    held_out = [name for name in ("validation", "test") if name == split or (retune and name == "validation")]
    if not held_out:
        return
    note = check_unseen(checkpoint, corpus, held_out, allowed)
    if not note and not is_of(load_card(checkpoint).corpus, corpus):
        names = " and ".join(held_out)
        note = f"warning: {checkpoint}: the data changed since training; none of the {names} documents was trained on"
    if note:
        print(f"kdh-ray: {note}", file=sys.stderr)


def _config(args: argparse.Namespace) -> RunConfig:
    return config_of(args.checkpoint, args.config, args.set)


def _print(console: Console, result: dict[str, Any]) -> None:
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    style: Any = {"title_justify": "left", "box": box.SIMPLE_HEAD if console.is_terminal else None, "pad_edge": False}
    head = f"{result['checkpoint']}\n{result['protocol']}, {result['split']}: {result['documents']} documents\n"
    console.print(head, markup=False)
    overall = Table(title="All labels", **style)
    overall.add_column("metric")
    overall.add_column("score", justify="right")
    for name, value in result["scores"].items():
        overall.add_row(name, f"{value:.4f}" if name == "log_loss" else f"{100 * value:.2f} %")
    console.print(overall)
    console.print("\n".join(_reading_notes(result)), markup=False)
    labels = Table(title="\nEach label", **style)
    labels.add_column("label")
    for name in ("support", "precision", "recall", "f1", "threshold"):
        labels.add_column(name, justify="right")
    for line in result["labels"]:
        shares = [f"{100 * line[name]:.1f}" for name in ("precision", "recall", "f1")]
        labels.add_row(escape(line["label"]), str(line["support"]), *shares, f"{line['threshold']:.2f}")
    console.print(labels)


def _reading_notes(result: dict[str, Any]) -> list[str]:
    """Say how the documents were read, and what another way of reading them would have given."""
    notes = ["Read as raw text."]
    f1 = 100 * result["scores"]["f1_micro"]
    if "f1_micro_annotated" in result:
        notes.append(f"On the corpus's own parts: f1_micro {100 * result['f1_micro_annotated']:.2f}.")
    if result["long_documents"]:
        cut = 100 * result["f1_micro_cut"]
        notes.append(
            f"{result['long_documents']} documents are longer than the classifier reads at once and were read in"
            f" windows; cut instead, f1_micro would be {cut:.2f} ({cut - f1:+.2f})."
        )
    return notes
