"""``kdh-ray results``: print what runs have given."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.errors import ConfigError, DataError, UnavailableError

if TYPE_CHECKING:
    import pandas as pd

TABLES = ("methods", "by-size", "ablation", "efficiency", "searchers", "significance", "documents")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of runs, one run, a row file or a bucket")
    parser.add_argument(
        "--table",
        choices=TABLES,
        default="methods",
        help="means over seeds (methods, by-size, efficiency, searchers), or against a reference: ablation,"
        " significance (paired by seed), documents (paired by document, from saved predictions)",
    )
    parser.add_argument("--experiment", metavar="NAME", help="rows of this experiment alone")
    parser.add_argument("--reference", metavar="METHOD", help="what these compare with (ablation's default: full)")
    parser.add_argument("--format", choices=("table", "csv", "md", "latex", "parquet"), default="table")
    parser.add_argument(
        "--all",
        action="store_true",
        help="every row, failed ones too, instead of means over seeds; CSV and Parquet then hold every column",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write here instead of printing")
    parser.add_argument(
        "--keep",
        metavar="OUT",
        help="also write all rows and test predictions as two files into OUT, a folder or a bucket: what tables and"
        " reports need of runs",
    )
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="name row files that can't be read on stderr, and go on"
    )


def execute(args: argparse.Namespace) -> int:
    """Load, tabulate, print.

    Raises:
        DataError: If there is nothing to show, or a row file can't be read.
        UnavailableError: If the output file can't be written.
    """
    from kdh_ray.results import tables

    frame, _ = load_rows(args.folders, args.skip_corrupt)
    if args.keep:
        keep(frame, args.folders, args.keep, args.skip_corrupt)
    frame = of_experiment(frame, args.experiment)
    if args.all:
        table = frame if args.format in ("csv", "parquet") else tables.run_table(frame)
    else:
        table = make_table(frame, args.table, args.reference, args.folders)
    if args.format in ("csv", "parquet") and table.attrs.get("note"):  # other formats have it in their captions
        print(f"kdh-ray: {table.attrs['note']}", file=sys.stderr)
    _emit(table, args.format, args.output)
    return 0


def keep(frame: pd.DataFrame, folders: list[str], target: str, skip_corrupt: bool = False) -> None:
    """Write the rows and test predictions of runs into ``target``; says on stderr how many.

    What ``load_rows`` had to say of row files has been said.

    Raises:
        DataError: If some can't be read.
        UnavailableError: If ``target`` can't be written.
    """
    from kdh_ray.results import copy_rows
    from kdh_ray.results.saved_predictions import keep_predictions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        copy_rows(folders, target, on_error="warn" if skip_corrupt else "raise")
    predictions = keep_predictions(frame, target, *folders)
    print(f"kdh-ray: kept {len(frame)} rows and the predictions of {predictions} stages in {target}", file=sys.stderr)


def of_experiment(frame: pd.DataFrame, name: str | None) -> pd.DataFrame:
    """Rows of one experiment, or all without a name.

    Raises:
        DataError: If there is no such experiment.
    """
    if name is None:
        return frame
    known = frame["experiment"].dropna().unique().tolist() if "experiment" in frame else []
    if name not in known:
        raise DataError(f"--experiment is one of {', '.join(map(str, known)) or 'none'}; got {name!r}")
    return frame[frame["experiment"] == name]


def make_table(frame: pd.DataFrame, name: str, reference: str | None, folders: list[str]) -> pd.DataFrame:
    """One of :data:`TABLES`.

    Raises:
        DataError: If the rows don't make such a table.
        ConfigError: If a table that compares with a reference is given none.
    """
    from kdh_ray.results import tables

    if name == "ablation":
        return tables.ablation(frame, reference or tables.REFERENCE)
    if name in ("significance", "documents"):
        if reference is None:
            raise ConfigError([f"--table {name} wants --reference METHOD"], "command line")
        if name == "significance":
            return tables.significance(frame, reference)
        from kdh_ray.results.document_comparison import by_document

        return by_document(frame, reference, *folders)
    makers: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
        "methods": tables.stage_table,
        "by-size": tables.by_size,
        "efficiency": tables.efficiency,
        "searchers": tables.searchers,
    }
    return makers[name](frame)


def load_rows(folders: list[str], skip_corrupt: bool) -> tuple[pd.DataFrame, list[str]]:
    """``load_runs``, and its warnings, which are also printed on stderr.

    Raises:
        DataError: If there is no row, or (unless skipped) a file can't be read.
    """
    from kdh_ray.results import load_runs

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", RuntimeWarning)
        frame = load_runs(*folders, on_error="warn" if skip_corrupt else "raise")
    notes = [str(warning.message) for warning in caught if issubclass(warning.category, RuntimeWarning)]
    for note in notes:
        print(f"kdh-ray: {note}", file=sys.stderr)
    return frame, notes


def _emit(table: pd.DataFrame, style: str, output: Path | None) -> None:
    from kdh_ray.results import render

    if style == "table" and output is None and sys.stdout.isatty():
        from rich.console import Console

        console = Console()
        console.print(render.to_rich(table, console.width))
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
