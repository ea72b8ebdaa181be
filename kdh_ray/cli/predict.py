"""``kdh-ray predict``: label files of text of any size, or lines of stdin."""

from __future__ import annotations

import argparse
import io
import json
import sys
from itertools import islice
from typing import TYPE_CHECKING

from kdh_ray.cli.classifying import add_checkpoint_argument, add_execution_arguments

if TYPE_CHECKING:
    from kdh_runtime.audit import Audit

    from kdh_ray.data.file_rows import Reading
    from kdh_ray.inference.classifier import TextClassifier

FAULTY = 3  # exit code where some documents have an error instead of labels
EXAMPLES = f"""
exit codes: 0 every document is labelled, {FAULTY} all but those with an error, 2 bad input, 130 interrupted

examples:
  echo "no fever since Monday" | kdh-ray predict runs/my/stages/student/checkpoint
  kdh-ray predict runs/my/stages/student/checkpoint --input notes.csv --output predictions --local
  kdh-ray predict runs/my/stages/student/checkpoint --input notes/*.csv --id-column id --output labels.csv
  kdh-ray predict s3://bucket/student --input 's3://bucket/notes/*.parquet' --output s3://bucket/predictions
"""


_READING = {
    "delimiter": "character between the fields of CSV and TSV",
    "encoding": "encoding of text files, such as cp1252",
    "sheet": "sheet of an Excel workbook",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_checkpoint_argument(parser)
    parser.add_argument(
        "--input", nargs="+", metavar="FILE",
        help="files of any format that a table may have, folders or patterns, local, in a bucket or on the web"
        " (default: read a text from each line of stdin, and print its labels as a line of JSON)",
    )  # fmt: skip
    parser.add_argument(
        "--output", metavar="PLACE",
        help="folder or bucket for the predictions, or one file named .parquet, .csv or .jsonl; needed with --input",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=("parquet", "csv", "jsonl"), metavar="KIND",
        help="format of the predictions: parquet, csv or jsonl (default: that of the output's name, or parquet)",
    )  # fmt: skip
    parser.add_argument(
        "--strict", action="store_true",
        help="stop at the first document that is no text (default: give it a row with an error)",
    )  # fmt: skip
    parser.add_argument("--text-column", default="text", metavar="NAME", help="column of texts (default: %(default)s)")
    parser.add_argument("--id-column", metavar="NAME", help="column of ids (default: file and row number)")
    for name, help_ in _READING.items():
        parser.add_argument(f"--{name}", metavar="NAME", help=f"{help_} (default: recognised)")
    parser.add_argument("--logits", action="store_true", help="write logits too, to distil from them (data.unlabelled)")
    parser.add_argument(
        "--block", type=int, default=4096, metavar="N", help="documents per output file (default: %(default)s)"
    )
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="documents per forward pass (default: %(default)s)"
    )
    parser.add_argument("--workers", type=int, metavar="N", help="number of workers (default: one per GPU or CPU)")
    parser.add_argument(
        "--audit", metavar="FILE",
        help="append a JSON line per batch: time, user, model, ids and counts of labels; no text",
    )  # fmt: skip
    add_execution_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Predict, and print how many documents were labelled.

    Raises:
        UserError: If an option is out of range, or for the reasons of :func:`kdh_ray.inference.predict`.
    """
    from kdh_ray.config import JobConfig
    from kdh_ray.errors import ConfigError
    from kdh_ray.inference import predict_files

    for name in ("block", "batch_size", "workers"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ConfigError([f"--{name.replace('_', '-')} must be 1 or more; got {value}"], "command line")
    if (args.input is None) != (args.output is None):
        raise ConfigError(["--input and --output must be given together"], "command line")
    if args.input is None:
        return _predict_lines(args)
    args.resumable = True
    done = predict_files(
        args.checkpoint, args.input, args.output,
        text_column=args.text_column, id_column=args.id_column, reading=_reading(args),
        logits=args.logits, form=args.format,
        strict=args.strict, audit=args.audit, block=args.block, batch_size=args.batch_size, workers=args.workers,
        precision=args.precision, local=args.local, job=JobConfig(address=args.address), verbose=args.verbose,
        progress=_print_progress,
    )  # fmt: skip
    before = f", {done.found} of them finished earlier" if done.found else ""
    if done.note:
        print(f"kdh-ray: {done.note}", file=sys.stderr)
    blocks = f"{done.blocks} {'block' if done.blocks == 1 else 'blocks'}"
    print(f"{args.output}: {blocks}{before}; {done.documents} documents in {done.seconds:.1f} s")
    if not done.faulty:
        return 0
    documents = "1 document has" if done.faulty == 1 else f"{done.faulty} documents have"
    print(f"kdh-ray: {documents} an error instead of labels: see the column error of {args.output}", file=sys.stderr)
    return FAULTY


def _reading(args: argparse.Namespace) -> Reading:
    """Return how the input is to be read, checked as the settings of the same names are."""
    from kdh_ray.config import parse_data
    from kdh_ray.data.file_rows import Reading

    given = {name: getattr(args, name) for name in _READING}
    data = parse_data(given, "command line")
    return Reading(delimiter=data.delimiter, encoding=data.encoding, sheet=data.sheet)


def _predict_lines(args: argparse.Namespace) -> int:
    """Label the lines of stdin: each at once on a terminal, in batches from a pipe."""
    import numpy as np

    from kdh_ray.errors import CheckpointError, DataError
    from kdh_ray.inference.block_audit import writable
    from kdh_ray.inference.classifier import load_classifier

    if isinstance(sys.stdin, io.TextIOWrapper):  # a container without a locale would accept any byte
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    classifier = load_classifier(args.checkpoint, precision=args.precision)
    if classifier.note:
        print(f"kdh-ray: {classifier.note}", file=sys.stderr)
    size = 1 if sys.stdin.isatty() else args.batch_size  # lines per batch
    audit, done = _audit(args, classifier), 0
    try:
        while lines := [line.rstrip("\r\n") for line in islice(sys.stdin, size)]:
            prediction = classifier.predict(lines, batch_size=args.batch_size)
            if not np.isfinite(prediction.probabilities).all():
                raise CheckpointError(f"{args.checkpoint}: the classifier's output is not a number")
            if audit is not None:
                with writable(audit.file):
                    audit.record(range(done + 1, done + len(lines) + 1), prediction.labels)
            done += len(lines)
            names = prediction.label_names
            for row, probabilities in enumerate(prediction.probabilities):
                result: dict[str, object] = {"labels": prediction.labels[row]}
                result["probabilities"] = dict(zip(names, probabilities.round(6).tolist(), strict=True))
                if args.logits:
                    result["logits"] = dict(zip(names, prediction.logits.documents[row].tolist(), strict=True))
                print(json.dumps(result), flush=size == 1)
    except UnicodeDecodeError:
        raise DataError("stdin must be UTF-8") from None
    return 0


def _audit(args: argparse.Namespace, classifier: TextClassifier) -> Audit | None:
    """Return the audit that is wanted, after checking that its file can be written."""
    from kdh_runtime.audit import Audit

    from kdh_ray.inference.block_audit import writable

    if args.audit is None or classifier.card is None:
        return None
    audit = Audit(args.audit, classifier.card.fingerprint, classifier.precision)
    with writable(audit.file):
        audit.check()
    return audit


def _print_progress(done: int, total: int) -> None:
    """Count finished blocks in one line of a terminal."""
    if sys.stderr.isatty():
        print(f"\r{done} of {total} blocks", end="" if done < total else "\n", file=sys.stderr, flush=True)
