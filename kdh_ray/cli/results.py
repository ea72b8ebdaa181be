"""``kdh-ray results``: print what runs have given."""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError, UnavailableError

if TYPE_CHECKING:
    import pandas as pd


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of runs, one run, a row file or a bucket")
    parser.add_argument("--format", choices=("table", "csv", "md", "latex", "parquet"), default="table")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every row, failed ones too, instead of means over seeds; CSV and Parquet then hold every column",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here instead of printing")
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="name row files that can't be read on stderr, and go on"
    )


def execute(args: argparse.Namespace) -> int:
    """Load, tabulate, print.

    Raises:
        DataError: If there is nothing to show, or a row file can't be read.
        UnavailableError: If the output file can't be written.
    """
    from kdh_ray.results import load_runs, tables

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        frame = load_runs(*args.folders, on_error="warn" if args.skip_corrupt else "raise")
    for warning in caught:
        if issubclass(warning.category, RuntimeWarning):
            print(f"kdh-ray: {warning.message}", file=sys.stderr)
    if args.all:
        table = frame if args.format in ("csv", "parquet") else tables.run_table(frame)
    else:
        table = tables.stage_table(frame)
    _emit(table, args.format, args.output)
    return 0


def _emit(table: pd.DataFrame, style: str, output: Path | None) -> None:
    from kdh_ray.results import render

    if style == "table" and output is None and sys.stdout.isatty():
        from rich.console import Console

        Console().print(render.to_rich(table))
        return
    if style == "parquet":
        content = render.to_parquet(table)
    else:
        writers = {"table": render.to_plain, "csv": render.to_csv, "md": render.to_markdown, "latex": render.to_latex}
        content = writers[style](table).encode()
    if output is not None:
        try:
            output.write_bytes(content)
        except OSError as error:
            raise UnavailableError(f"{output}: can't be written ({error.strerror})") from None
    elif style == "parquet" and sys.stdout.isatty():
        raise DataError("Parquet is not for a terminal: name a file with -o, or pipe it")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
