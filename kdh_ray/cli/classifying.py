"""Options of the verbs that put a classifier to work on Ray: ``predict`` and ``serve``."""

from __future__ import annotations

import argparse

_PRECISIONS = ("auto", "float32", "bfloat16")


def add_checkpoint_argument(parser: argparse.ArgumentParser) -> None:
    """Add the classifier that the verb loads."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help="folder of a classifier, local or in a bucket")


def add_execution_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for number format and place of execution, and ``--verbose``."""
    parser.add_argument(
        "--precision", choices=_PRECISIONS, default="auto", metavar="KIND",
        help=f"number format: {', '.join(_PRECISIONS)} (default: %(default)s, which takes what is fastest here)",
    )  # fmt: skip
    parser.add_argument("--address", help="address of a running Ray cluster (default: start Ray on this machine)")
    parser.add_argument("--local", action="store_true", help="run in this process instead of on Ray")
    parser.add_argument("-v", "--verbose", action="store_true", help="show Ray's own log lines")
