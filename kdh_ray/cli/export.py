"""``kdh-ray export``: write a classifier as files that run without torch."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.errors import ConfigError, DataError
from kdh_ray.run_folder import RunFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from kdh_ray.data.corpus import Texts

FORMATS = ("onnx", "openvino", "sentence-transformers")
EXAMPLES = """
examples:
  kdh-ray export runs/my/stages/student/checkpoint student --int8
  kdh-predict student < notes.txt              (the command of kdh-runtime, which needs no torch)
  kdh-ray export student/checkpoint out --texts notes.txt
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="folder of a classifier")
    parser.add_argument("folder", type=Path, metavar="DIR", help="folder to write; an earlier export is replaced")
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
        help="multiply eight-bit integers: a quarter of the size; float32 is kept if too many decisions would change",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=FORMATS, default="onnx", metavar="NAME",
        help=f"kind of files: {', '.join(FORMATS)} (default: %(default)s)",
    )  # fmt: skip


def execute(args: argparse.Namespace) -> int:
    """Export and print how far the file agrees with the classifier.

    Raises:
        CheckpointError: If the checkpoint can't be used or can't be exported.
        ConfigError: If no texts are known to check the file on, or options don't go together.
        UnavailableError: If a package of the ``export`` extra is missing.
    """
    if args.int8 and args.format != "onnx":
        raise ConfigError(["--int8 goes with --format onnx"], "command line")
    if args.format == "sentence-transformers":
        from kdh_ray.export.sentence_transformers import export_sentence_transformers

        export_sentence_transformers(args.checkpoint, args.folder)
        print(f"{args.folder}: written")
        return 0
    from kdh_ray.export import export_onnx
    from kdh_ray.models.checkpoint import load_card

    load_card(args.checkpoint)  # fails at once if this is no checkpoint
    exported = export_onnx(
        args.checkpoint, args.folder, *_texts(args), int8=args.int8, openvino=args.format == "openvino"
    )
    if exported.refused is not None:
        print(f"lower precision changes too much, so float32 is kept: {exported.refused}")
    print(f"{args.folder}: {exported.precision}, {exported.bytes / 1e6:.1f} MB; {exported.agreement}")
    return 0


def _texts(args: argparse.Namespace) -> tuple[Texts, NDArray[np.int8] | None]:
    """Return the texts to check on, and their labels if they are a corpus's."""
    from kdh_ray.data.corpus import Texts

    if args.texts is not None:
        try:
            lines = args.texts.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{args.texts} can't be read as UTF-8 text: {type(error).__name__}") from None
        if not any(lines):
            raise DataError(f"{args.texts} must hold a text per line; it is empty")
        return Texts.numbered(lines), None
    from kdh_ray.config import load_config, load_run_config
    from kdh_ray.data import corpus_from_config
    from kdh_ray.inference.scoring import check_labels
    from kdh_ray.models.checkpoint import load_card

    source = args.config or RunFolder.of_checkpoint(args.checkpoint).config
    if args.config is None and not source.exists():
        raise ConfigError(
            ["the checkpoint is not in a run's folder: give a CONFIG that names the corpus, or --texts FILE"],
            str(args.checkpoint),
        )
    config = load_run_config(source) if args.config is None else load_config(source)
    corpus = corpus_from_config(config.data)
    check_labels(args.checkpoint, load_card(args.checkpoint).labels, list(corpus.labels))
    split = corpus.splits["validation"]
    return split.raw(), split.targets
