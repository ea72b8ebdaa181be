"""``kdh-ray report``: write the results of runs as one HTML page, and its figures as files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.results import add_rows_arguments, load_rows
from kdh_ray.errors import UnavailableError

if TYPE_CHECKING:
    from kdh_ray.report import Report


EXAMPLES = """
examples:
  kdh-ray report runs
  kdh-ray report runs/my s3://bucket/runs -o my.html --figures figures
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_rows_arguments(parser)
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: %(default)s)"
    )
    parser.add_argument(
        "--figures", type=Path, metavar="OUT", help="also write each figure to this folder, as SVG, PNG and CSV"
    )
    parser.add_argument("--title", help="title of the page (default: made from the experiments' names)")


def execute(args: argparse.Namespace) -> int:
    """Load rows and predictions, write the page, and print its path.

    Raises:
        DataError: If there are no rows, or a row file can't be read.
        UnavailableError: If a library is missing or a file can't be written.
    """
    from kdh_ray.report import make_report, to_html
    from kdh_ray.results.saved_predictions import load_predictions

    frame, notes = load_rows(args.folders, args.skip_corrupt)
    predictions, reasons = load_predictions(frame, *args.folders)
    report = make_report(frame, predictions, [*notes, *reasons], args.title)
    try:
        args.output.write_text(to_html(report), encoding="utf-8")
        if args.figures:
            write_figures(report, args.figures)
    except OSError as error:
        raise UnavailableError(f"{error.filename or args.output}: can't be written ({error.strerror})") from None
    print(args.output)
    return 0


def write_figures(report: Report, folder: Path) -> None:
    """Write each figure as NAME.svg and NAME.png, and its data as NAME.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in report.figures:
        (folder / f"{figure.name}.svg").write_text(figure.svg(), encoding="utf-8")
        (folder / f"{figure.name}.png").write_bytes(figure.png())
        figure.data.to_csv(folder / f"{figure.name}.csv", index=False, lineterminator="\n")
