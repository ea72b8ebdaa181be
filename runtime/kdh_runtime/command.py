"""``kdh-runtime predict DIR`` and ``kdh-runtime serve DIR``; ``kdh-predict`` is short for the first.

predict reads the lines of stdin and prints labels as JSON lines on stdout.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from kdh_runtime.audit import Audit
from kdh_runtime.classifier import Classifier, load
from kdh_runtime.errors import FolderError, ServiceError, TextError
from kdh_runtime.serving.options import add_service_arguments, announced, check_positive, service_options

SERVE_EXAMPLES = """
examples:
  kdh-runtime serve student
  curl http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{"texts": ["no fever since Monday"]}'
  kdh-runtime serve student --host 0.0.0.0 --token-file token --tls-certificate cert.pem --tls-key key.pem
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``kdh-predict``; return the exit code (0 done, 2 bad input, 130 interrupted)."""
    parser = argparse.ArgumentParser(
        prog="kdh-predict",
        description="Label the lines of stdin; each answer is a JSON line on stdout.",
        allow_abbrev=False,
    )
    _add_predict_arguments(parser)
    return _run(parser.prog, parser.parse_args(argv))


def runtime_main(argv: Sequence[str] | None = None) -> int:
    """Run ``kdh-runtime``; return the exit code, as :func:`main`."""
    parser = argparse.ArgumentParser(
        prog="kdh-runtime", description="Put a classifier that kdh-ray exported to work.", allow_abbrev=False
    )
    verbs = parser.add_subparsers(required=True, metavar="VERB")
    _add_predict_arguments(
        verbs.add_parser("predict", help="label the lines of stdin, as JSON lines on stdout", allow_abbrev=False)
    )
    _add_serve_arguments(
        verbs.add_parser(
            "serve", help="answer HTTP, and show a page to try it", epilog=SERVE_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        )
    )  # fmt: skip
    return _run(parser.prog, parser.parse_args(argv))


def _run(program: str, args: argparse.Namespace) -> int:
    """Run a verb, and say in one line what the user can mend."""
    try:
        args.execute(args)
        return 0
    except (FolderError, ServiceError, TextError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    except UnicodeDecodeError:
        print(f"{program}: stdin must be UTF-8", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `kdh-predict student < notes.txt | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"{program}: {error.filename or 'stdout'}: {error.strerror}", file=sys.stderr)
        return 2


def _add_predict_arguments(parser: argparse.ArgumentParser) -> None:
    _add_classifier_arguments(parser)
    parser.add_argument("--batch-size", type=int, default=32, metavar="N", help="texts per pass (default: 32)")
    parser.add_argument(
        "--evidence", action="store_true", help="add the character range of the part that speaks most for each label"
    )
    parser.add_argument(
        "--audit", metavar="FILE",
        help="append a JSON line per batch: time, user, model, line numbers and counts of labels; no text",
    )  # fmt: skip
    parser.set_defaults(execute=_predict)


def _add_serve_arguments(parser: argparse.ArgumentParser) -> None:
    _add_classifier_arguments(parser)
    add_service_arguments(parser)
    parser.set_defaults(execute=_serve)


def _add_classifier_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="folder that kdh-ray export wrote")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: one per core)")


def _serve(args: argparse.Namespace) -> None:
    try:
        from kdh_runtime.serving.runtime import serve
    except ImportError as error:
        raise ServiceError(f"serving needs {error.name}: pip install 'kdh-runtime[serve]'") from None
    check_positive(args, "threads")
    options = service_options(args)
    announced(
        args.folder,
        options.address.opened(),
        lambda ready: serve(args.folder, options, ready, threads=args.threads, batch_size=args.batch_size),
    )


def _predict(args: argparse.Namespace) -> None:
    check_positive(args, "batch_size", "threads")
    classifier = load(args.folder, threads=args.threads)
    config = classifier.config
    audit = Audit(args.audit, config.fingerprint, config.precision) if args.audit else None
    _label(classifier, args.batch_size, args.evidence, audit)


def _label(classifier: Classifier, batch_size: int, evidence: bool, audit: Audit | None) -> None:
    done = 0
    for lines in _batches(batch_size):
        prediction = classifier.predict(lines, batch_size)
        if not np.isfinite(prediction.probabilities).all():
            raise FolderError("the classifier's output is not a number")
        if audit is not None:
            audit.record(range(done + 1, done + len(lines) + 1), prediction.labels)
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
