"""``kdh-predict DIR``: labels for the lines of stdin, as JSON lines on stdout."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

from kdh_runtime.audit import Audit
from kdh_runtime.classifier import Classifier, load
from kdh_runtime.errors import FolderError, TextError


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code (0 done, 2 bad input, 130 interrupted)."""
    args = _parser().parse_args(argv)
    if args.batch_size < 1 or (args.threads is not None and args.threads < 1):
        print("kdh-predict: --batch-size and --threads must be 1 or more", file=sys.stderr)
        return 2
    try:
        classifier = load(args.folder, threads=args.threads)
        audit = Audit(args.audit, classifier) if args.audit else None
        _label(classifier, args.batch_size, args.evidence, audit)
        return 0
    except (FolderError, TextError) as error:
        print(f"kdh-predict: {error}", file=sys.stderr)
        return 2
    except UnicodeDecodeError:
        print("kdh-predict: stdin must be UTF-8", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `kdh-predict student < notes.txt | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"kdh-predict: {error.filename or 'stdout'}: {error.strerror}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kdh-predict", description="Label the lines of stdin; each answer is a JSON line on stdout."
    )
    parser.add_argument("folder", metavar="DIR", help="folder that kdh-ray export wrote")
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts per pass (default: 32)")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one per core)")
    parser.add_argument(
        "--evidence", action="store_true", help="add the character range of the part that speaks most for each label"
    )
    parser.add_argument(
        "--audit", metavar="FILE",
        help="append a JSON line per batch: time, user, model, line numbers and counts of labels; no text",
    )  # fmt: skip
    return parser


def _label(classifier: Classifier, batch_size: int, evidence: bool, audit: Audit | None) -> None:
    done = 0
    for lines in _batches(batch_size):
        prediction = classifier.predict(lines, batch_size)
        if audit is not None:
            audit.record(range(done + 1, done + len(lines) + 1), prediction)
        done += len(lines)
        for row, labels in enumerate(prediction.labels):
            probabilities = prediction.probabilities[row].round(6).tolist()
            answer: dict[str, object] = {"labels": labels}
            answer["probabilities"] = dict(zip(prediction.label_names, probabilities, strict=True))
            if evidence:
                answer["evidence"] = prediction.evidence[row]
            print(json.dumps(answer))
        sys.stdout.flush()


def _batches(size: int) -> Iterator[list[str]]:
    """Yield the lines of stdin: one at a time from a terminal, a batch at a time from a pipe."""
    if isinstance(sys.stdin, io.TextIOWrapper):  # containers often have no locale, which lets any byte pass
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="strict")
    size = 1 if sys.stdin.isatty() else size
    while lines := [line.rstrip("\r\n") for line in islice(sys.stdin, size)]:
        yield lines


if __name__ == "__main__":
    sys.exit(main())
