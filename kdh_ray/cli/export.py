"""``kdh-ray export``: write a classifier as files that run without torch."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.classifying import config_of
from kdh_ray.errors import ConfigError, DataError

if TYPE_CHECKING:
    from kdh_ray.data.corpus import Texts

FORMATS = ("onnx", "openvino", "sentence-transformers", "transformers")
EXAMPLES = """
examples:
  kdh-ray export runs/my/stages/student/checkpoint student --int8
  kdh-predict student < notes.txt              (the command of kdh-runtime, which needs no torch)
  kdh-ray export student/checkpoint out --texts notes.txt
  kdh-ray export runs/my/stages/student/checkpoint student --int8 --push-to-hub my-group/student
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of a classifier")
    parser.add_argument(
        "folder", type=Path, metavar="DIR",
        help="folder to write; an earlier export is replaced, except for a model card that was edited",
    )  # fmt: skip
    parser.add_argument(
        "config", nargs="?", metavar="CONFIG",
        help="configuration that names the corpus, on whose validation texts the file is checked (default: that of the"
        " classifier's run)",
    )  # fmt: skip
    parser.add_argument(
        "--texts", type=Path, metavar="FILE", help="check on the lines of this file instead, without a comparison of F1"
    )
    parser.add_argument(
        "--int8", action="store_true",
        help="multiply eight-bit integers: a quarter of the size; float32 is kept if more than 0.5 %% of decisions"
        " would change, or micro F1 by more than 0.5 points",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=FORMATS, default="onnx", metavar="NAME",
        help=f"kind of files: {', '.join(FORMATS)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--group-column", metavar="NAME", help="column of the table: its values' scores go into the model card"
    )
    parser.add_argument(
        "--push-to-hub", metavar="OWNER/NAME",
        help="upload the folder to this repository of the Hugging Face hub, private if it is new (default: no upload)",
    )  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Export and print how far the file agrees with the classifier.

    Raises:
        CheckpointError: If the checkpoint can't be used or can't be exported, or its labels are not the corpus's.
        ConfigError: If no texts are known to check the file on, or options don't go together.
        UnavailableError: If a package of the ``export`` extra is missing, or the hub refuses the upload.
    """
    from kdh_ray.export.folder import check_packages, check_replaceable
    from kdh_ray.export.hub import check_repository
    from kdh_ray.models.checkpoint import load_card

    if args.int8 and args.format != "onnx":
        raise ConfigError(["--int8 goes with --format onnx"], "command line")
    is_graph = args.format in ("onnx", "openvino")
    if args.group_column is not None and (args.texts is not None or not is_graph):
        raise ConfigError(["--group-column needs a corpus, and a format with a model card"], "command line")
    if not is_graph and (args.texts is not None or args.config is not None):
        raise ConfigError(["--texts and CONFIG go with --format onnx or openvino"], "command line")
    load_card(args.checkpoint)  # fails at once if this is no checkpoint
    check_replaceable(args.folder)
    if args.push_to_hub is not None:
        check_repository(args.push_to_hub)
    if is_graph:
        check_packages(args.format == "openvino")
        _export_onnx(args)
    else:
        _export_weights(args)
    if args.push_to_hub is not None:
        from kdh_ray.export.hub import push_to_hub

        print(f"{args.folder}: uploaded, {push_to_hub(args.folder, args.push_to_hub)}")
    return 0


def _export_weights(args: argparse.Namespace) -> None:
    from kdh_ray.export.sentence_transformers import export_sentence_transformers
    from kdh_ray.export.transformers import export_transformers

    export = export_transformers if args.format == "transformers" else export_sentence_transformers
    export(args.checkpoint, args.folder)
    print(f"{args.folder}: written")


def _export_onnx(args: argparse.Namespace) -> None:
    from kdh_ray.export import export_onnx
    from kdh_ray.export.check import LIMITS
    from kdh_ray.export.edited_cards import beside

    facts, targets = None, None
    if args.texts is not None:
        texts = _lines(args.texts)
    else:
        from kdh_ray.data import corpus_from_config
        from kdh_ray.export.facts import scored_facts

        config = config_of(args.checkpoint, args.config, instead=", or --texts FILE")
        corpus = corpus_from_config(config.data)
        facts = scored_facts(args.checkpoint, config, corpus, group_column=args.group_column, allow_changed_data=True)
        if warning := facts["evaluation"]["warning"]:  # the card says so too
            print(f"kdh-ray: {args.checkpoint}: {warning}", file=sys.stderr)
        validation = corpus.splits["validation"]
        texts, targets = validation.raw(), validation.targets
    exported = export_onnx(
        args.checkpoint, args.folder, texts, targets, int8=args.int8, openvino=args.format == "openvino", facts=facts
    )
    if exported.refused is not None:
        print(f"float32 is kept, since a lower precision changes too much ({LIMITS}): {exported.refused}")
    print(f"{args.folder}: {exported.precision}, {exported.bytes / 1e6:.1f} MB; {exported.agreement}")
    if exported.agreement.is_coarse and (exported.refused is not None or exported.precision != "float32"):
        print(
            f"kdh-ray: {exported.agreement.decisions} decisions are too few to tell what a lower precision changes:"
            " check it on more texts with --texts FILE",
            file=sys.stderr,
        )
    for name in exported.kept_cards:
        print(f"{args.folder / name}: kept as it was edited; the new one is {beside(name)}, next to it")


def _lines(file: Path) -> Texts:
    """Return the lines of a file as texts."""
    from kdh_ray.data.corpus import Texts

    try:
        lines = file.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise DataError(f"{file} must hold a text per line, in UTF-8; it is in another encoding") from None
    except OSError as error:
        raise DataError(f"{file} can't be read: {error.strerror}") from None
    if not any(lines):
        raise DataError(f"{file} must hold a text per line; it is empty")
    return Texts.numbered(lines)
