"""``kdh-ray predict``: labels and probabilities for files of unlabelled text, of any size, or for lines of stdin."""

from __future__ import annotations

import argparse
import io
import json
import sys
from itertools import islice


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder of a checkpoint, or its place in a bucket")
    parser.add_argument(
        "--input", nargs="+", metavar="FILES",
        help="Parquet, JSON Lines, CSV or TSV files, folders or patterns, local or s3://bucket/notes/*.parquet; without"
        " any, each line of stdin is a text, and a JSON line on stdout what it is predicted",
    )  # fmt: skip
    parser.add_argument("--output", metavar="DIR", help="folder or bucket; the same command goes on after a kill")
    parser.add_argument("--text-column", default="text", metavar="NAME")
    parser.add_argument("--id-column", metavar="NAME", help="default: file name and number of the document")
    parser.add_argument("--logits", action="store_true", help="write logits too, for distillations (data.unlabelled)")
    parser.add_argument("--block", type=int, default=4096, metavar="N", help="documents a file of the output")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="documents a forward pass")
    parser.add_argument("--workers", type=int, metavar="N", help="default: one a GPU, or else one a CPU")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--address", help="of a running Ray cluster; a local one is started if not given")
    parser.add_argument("--local", action="store_true", help="run in this process instead of on Ray")
    parser.add_argument("-v", "--verbose", action="store_true", help="show Ray's own log lines")


def execute(args: argparse.Namespace) -> int:
    """Predict, and say what was done.

    Raises:
        UserError: See ``predict``.
    """
    from kdh_ray.config import JobConfig
    from kdh_ray.errors import ConfigError
    from kdh_ray.inference import predict

    for name in ("block", "batch_size", "workers"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError([f"--{name.replace('_', '-')} must be 1 or more; got {value}"], "command line")
    if (args.input is None) != (args.output is None):
        raise ConfigError(["--input and --output go together"], "command line")
    if args.input is None:
        return _predict_lines(args)
    done = predict(
        args.checkpoint, args.input, args.output,
        text_column=args.text_column, id_column=args.id_column, logits=args.logits, block=args.block,
        batch_size=args.batch_size, workers=args.workers, precision=args.precision, local=args.local,
        job=JobConfig(address=args.address), verbose=args.verbose, progress=_show,
    )  # fmt: skip
    before = f", {done.found} of them finished before" if done.found else ""
    print(f"{args.output}: {done.blocks} blocks{before}; {done.documents} documents in {done.seconds:.1f} s")
    return 0


def _predict_lines(args: argparse.Namespace) -> int:
    """Stdin to stdout, at once on a terminal and a batch at a time in a pipe."""
    from kdh_ray.errors import DataError
    from kdh_ray.inference.block_worker import Predictor, Task

    if isinstance(sys.stdin, io.TextIOWrapper):  # containers often have no locale, and take any byte
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    predictor = Predictor(Task(args.checkpoint, ".", (), "", None, args.logits, args.batch_size, args.precision))
    size = 1 if sys.stdin.isatty() else args.batch_size
    try:
        while lines := [line.rstrip("\r\n") for line in islice(sys.stdin, size)]:
            prediction = predictor.classify(lines)
            names, labels = predictor.card.labels, predictor.labels(prediction)
            for row, probabilities in enumerate(prediction.probabilities):
                result: dict[str, object] = {"labels": labels[row]}
                result["probabilities"] = dict(zip(names, probabilities.round(6).tolist(), strict=True))
                if args.logits:
                    result["logits"] = dict(zip(names, prediction.documents[row].tolist(), strict=True))
                print(json.dumps(result), flush=size == 1)
    except UnicodeDecodeError:
        raise DataError("stdin must be UTF-8") from None
    return 0


def _show(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done} of {total} blocks", end="" if done < total else "\n", file=sys.stderr, flush=True)
