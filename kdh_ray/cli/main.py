"""``kdh-ray``: one file a verb. A verb module has ``add_arguments(parser)`` and ``execute(args) -> int``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from kdh_ray import __version__
from kdh_ray.errors import UserError

# name -> (module, one line of help). Modules are imported when their verb is called, so that --help is quick.
VERBS = {
    "quickstart": "distil a small encoder on the embedded corpus, in about three minutes",
    "run": "run every stage of a configuration and print its result table",
    "corpus": "describe or fetch a corpus",
    "teach": "train the stages of a configuration that have no teacher and are one",
    "distill": "train the stages of a configuration that have teachers, and what follows them",
    "tune": "search for the best settings of a stage, and train and test it with them",
    "predict": "label files of text of any size, on Ray Data",
    "submit": "run or tune a configuration on a cluster, and follow it from here",
    "evaluate": "score a checkpoint on a split",
    "results": "print what runs have given, as a table, CSV, Markdown, LaTeX or Parquet",
    "report": "write one HTML page of what runs have given: scores, searches, figures",
    "doctor": "tell what this machine can do, and what is slow and why",
}

READING = ("evaluate", "results", "report", "doctor")  # there is nothing to go on with


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code (0 done, 1 internal failure, 2 bad input, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    verb = next((word for word in arguments if not word.startswith("-")), None)
    args = _parser(verb).parse_args(arguments)
    try:
        return int(import_module(f"kdh_ray.cli.{args.verb}").execute(args))
    except UserError as error:
        print(f"kdh-ray: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "" if args.verb in READING else "; the same command goes on from here"
        print(f"kdh-ray: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `kdh-ray results | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(verb: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kdh-ray", description="Distil large text classifiers into small ones that run where the text is."
    )
    parser.add_argument("--version", action="version", version=f"kdh-ray {__version__}")
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, help_line in VERBS.items():
        subparser = subparsers.add_parser(name, help=help_line, description=help_line)
        if name == verb:
            import_module(f"kdh_ray.cli.{name}").add_arguments(subparser)
    return parser


if __name__ == "__main__":
    sys.exit(main())
