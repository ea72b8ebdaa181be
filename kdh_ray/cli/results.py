"""``kdh-ray results``: print the results of runs."""

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
FORMATS = ("table", "csv", "md", "latex", "parquet")
EXAMPLES = """
examples:
  kdh-ray results runs
  kdh-ray results runs/my --all --format csv -o my.csv
  kdh-ray results runs --table significance --reference teacher --format md
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_rows_arguments(parser)
    parser.add_argument(
        "--table", choices=TABLES, default="methods", metavar="NAME",
        help="means over seeds: methods, by-size, efficiency or searchers; comparisons with --reference: ablation,"
        " significance (paired by seed) or documents (paired by document) (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--experiment", metavar="NAME", help="only rows of this experiment")
    parser.add_argument("--reference", metavar="METHOD", help="method to compare with (default for ablation: full)")
    parser.add_argument(
        "--format", choices=FORMATS, default="table", metavar="KIND",
        help=f"{', '.join(FORMATS)} (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--all", action="store_true",
        help="print every row, failed ones too, instead of means over seeds; CSV and Parquet hold every column",
    )  # fmt: skip
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="write to this file instead of printing")
    parser.add_argument(
        "--keep", metavar="OUT",
        help="also write all rows and test predictions, which is all that tables and reports need, as two files into"
        " this folder or bucket",
    )  # fmt: skip


def add_rows_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verbs that read result rows."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="a folder of runs, one run, a row file or a bucket")
    parser.add_argument("--skip-corrupt", action="store_true", help="skip unreadable row files and name them on stderr")


def execute(args: argparse.Namespace) -> int:
    """Load rows, make the table, and print or write it.

    Raises:
        DataError: If there is nothing to show, or a row file can't be read.
        UnavailableError: If the output file can't be written.
    """
    from kdh_ray.results import tables

    frame, _ = load_rows(args.folders, args.skip_corrupt)
    if args.keep:
        keep_results(frame, args.folders, args.keep, args.skip_corrupt)
    frame = select_experiment(frame, args.experiment)
    if args.all:
        table = frame if args.format in ("csv", "parquet") else tables.run_table(frame)
    else:
        table = make_table(frame, args.table, args.reference, args.folders)
    if args.format in ("csv", "parquet") and table.attrs.get("note"):  # the other formats have it in their captions
        print(f"kdh-ray: {table.attrs['note']}", file=sys.stderr)
    _emit(table, args.format, args.output)
    return 0


def keep_results(frame: pd.DataFrame, folders: list[str], target: str, skip_corrupt: bool = False) -> None:
    """Write the rows and test predictions of runs into ``target``, and print on stderr how many.

    Raises:
        DataError: If some of them can't be read.
        UnavailableError: If ``target`` can't be written.
    """
    from kdh_ray.results import copy_rows
    from kdh_ray.results.saved_predictions import keep_predictions

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # `load_rows` has printed them
        copy_rows(folders, target, on_error="warn" if skip_corrupt else "raise")
    predictions = keep_predictions(frame, target, *folders)
    print(f"kdh-ray: kept {len(frame)} rows and the predictions of {predictions} stages in {target}", file=sys.stderr)


def select_experiment(frame: pd.DataFrame, name: str | None) -> pd.DataFrame:
    """Return the rows of one experiment, or all rows without a name.

    Raises:
        DataError: If no row belongs to the experiment.
    """
    if name is None:
        return frame
    experiments = frame["experiment"].dropna().unique().tolist() if "experiment" in frame else []
    if not experiments:
        raise DataError(f"--experiment: these rows belong to no experiment; got {name!r}")
    if name not in experiments:
        raise DataError(f"--experiment must be one of {', '.join(map(str, experiments))}; got {name!r}")
    return frame[frame["experiment"] == name]


def make_table(frame: pd.DataFrame, name: str, reference: str | None, folders: list[str]) -> pd.DataFrame:
    """Return one of :data:`TABLES`.

    Raises:
        DataError: If the rows lack what the table needs.
        ConfigError: If the table compares with a reference, and none is given.
    """
    from kdh_ray.results import tables

    if name == "ablation":
        return tables.ablation(frame, reference or tables.REFERENCE)
    if name in ("significance", "documents"):
        if reference is None:
            raise ConfigError([f"--table {name} needs --reference METHOD"], "command line")
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
    """Return the rows of runs, and the warnings of reading them, which are also printed on stderr.

    Raises:
        DataError: If there are no rows, or a file can't be read and ``skip_corrupt`` is False.
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
    """Write a table to ``output``, or print it."""
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
        raise DataError("Parquet can't be shown on a terminal: name a file with -o, or pipe it")
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
