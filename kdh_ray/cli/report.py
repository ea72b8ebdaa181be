"""``kdh-ray report``: one HTML page of what runs have given, and its figures as files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.results import load_rows
from kdh_ray.errors import UnavailableError

if TYPE_CHECKING:
    from kdh_ray.report import Report


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("folders", nargs="+", metavar="DIR", help="folder of runs, one run, a row file or a bucket")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path("report.html"), metavar="FILE", help="the page (default: report.html)"
    )
    parser.add_argument("--figures", type=Path, metavar="OUT", help="also write each figure here as SVG, PNG and CSV")
    parser.add_argument("--title", help="of the page (default: made from the experiments' names)")
    parser.add_argument(
        "--skip-corrupt", action="store_true", help="name row files that can't be read on stderr, and go on"
    )


def execute(args: argparse.Namespace) -> int:
    """Load rows and predictions, write the page, say where it is.

    Raises:
        DataError: If there are no rows, or one can't be read.
        UnavailableError: If a library is missing or a file can't be written.
    """
    from kdh_ray.report import make_report, to_html
    from kdh_ray.results.saved_predictions import load_predictions

    frame, notes = load_rows(args.folders, args.skip_corrupt)
    predicted, reasons = load_predictions(frame, *args.folders)
    report = make_report(frame, predicted, [*notes, *reasons], args.title)
    try:
        args.output.write_text(to_html(report), encoding="utf-8")
        if args.figures:
            write_figures(report, args.figures)
    except OSError as error:
        raise UnavailableError(f"{error.filename or args.output}: can't be written ({error.strerror})") from None
    print(args.output)
    return 0


def write_figures(report: Report, folder: Path) -> None:
    """Each figure as NAME.svg, NAME.png and its data as NAME.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in report.figures:
        (folder / f"{figure.name}.svg").write_text(figure.svg(), encoding="utf-8")
        (folder / f"{figure.name}.png").write_bytes(figure.png())
        figure.data.to_csv(folder / f"{figure.name}.csv", index=False, lineterminator="\n")
