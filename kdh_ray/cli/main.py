"""The command ``kdh-ray``.

Each verb is a module of this package with ``add_arguments(parser)`` and ``execute(args) -> int``.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from kdh_ray import __version__
from kdh_ray.cli.parser import Parser
from kdh_ray.errors import UserError

# Heading -> verb -> one line of help. A verb's module is imported only when it is called, so that --help is quick.
VERBS = {
    "start here": {
        "quickstart": "distil a small encoder on the embedded corpus, in about a minute",
        "doctor": "show what this machine can do, and what slows it down",
        "corpus": "describe a corpus, convert it to Parquet, or download one",
    },
    "train": {
        "run": "train every stage of a configuration and print the results",
        "teach": "train only the teachers of a configuration",
        "distill": "train the stages of a configuration that are not teachers",
        "tune": "search for the best settings of a stage, then train and test it with them",
        "submit": "run or tune a configuration on a cluster, and follow it from here",
    },
    "use a classifier": {
        "predict": "label text: files of any size, or lines of stdin",
        "serve": "answer HTTP with a classifier, and show a page to try it",
        "export": "write a classifier as files that run without torch",
        "card": "print the model card of a classifier, with scores and calibration",
    },
    "read results": {
        "evaluate": "score a classifier on a split of its corpus",
        "results": "print the results of runs as a table, CSV, Markdown, LaTeX or Parquet",
        "report": "write the results of runs as one HTML page with figures",
    },
}

INCOMPLETE = (
    "kdh-ray brings it along, and uninstalling kdh-runtime removes it;"
    " install kdh-ray again (pip install --force-reinstall --no-deps)"
)
DESCRIPTION = "Distil large text classifiers into small ones that run where the text is."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (0 done, 1 internal failure, 2 bad input, 130 interrupted)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    args = argparse.Namespace()
    try:
        args = _parse(arguments)
        if args.verb is None:
            return 2
        return int(import_module(f"kdh_ray.cli.{args.verb}").execute(args))
    except UserError as error:
        print(f"kdh-ray: {error}", file=sys.stderr)
        return 2
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "kdh_runtime":
            raise
        print(f"kdh-ray: {error.name} is missing: {INCOMPLETE}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        hint = "; to resume, run the same command again" if getattr(args, "resumable", False) else ""
        print(f"kdh-ray: interrupted{hint}", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `kdh-ray results | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parse(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line; without a verb, print the help."""
    verb = next((word for word in arguments if not word.startswith("-")), None)
    parser = _parser(verb)
    args = parser.parse_args(arguments)
    if args.verb is None:
        parser.print_help(sys.stderr)
    return args


def _parser(verb: str | None) -> Parser:
    """Return the parser of all verbs, with the options of ``verb`` only."""
    parser = Parser(
        prog="kdh-ray",
        usage="kdh-ray VERB [options]",
        description=f"{DESCRIPTION}\n\n{_overview()}",
        epilog="kdh-ray VERB --help describes a verb's options.",
    )
    parser.add_argument("--version", action="version", version=f"kdh-ray {__version__}")
    parser.set_defaults(verb=None)
    # The description lists the verbs under headings, which argparse can't do: hence no help and no usage of its own.
    subparsers = parser.add_subparsers(dest="verb", metavar="VERB", prog="kdh-ray", help=argparse.SUPPRESS)
    for verbs in VERBS.values():
        for name, help_line in verbs.items():
            subparser = subparsers.add_parser(name, description=f"{help_line[0].upper()}{help_line[1:]}.")
            if name == verb:
                import_module(f"kdh_ray.cli.{name}").add_arguments(subparser)
    return parser


def _overview() -> str:
    """Return every verb with its line of help, under headings."""
    groups = (
        "\n".join([f"{heading}:", *(f"  {name:<12}{help_line}" for name, help_line in verbs.items())])
        for heading, verbs in VERBS.items()
    )
    return "\n\n".join(groups)


if __name__ == "__main__":
    sys.exit(main())
