"""What the verbs that run a configuration share: their options, progress, and the result table at the end."""

from __future__ import annotations

import argparse
import errno
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.errors import UnavailableError
from kdh_ray.run_folder import RunFolder

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.config import RunConfig


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of every verb that runs."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting; may be repeated"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run's folder (default: runs/NAME); resumes there")
    parser.add_argument("--local", action="store_true", help="run in this process instead of on Ray, for debugging")
    parser.add_argument("-v", "--verbose", action="store_true", help="show Ray's own log lines")


def run_and_print(config: RunConfig, args: argparse.Namespace, stages: Sequence[str] | None = None) -> int:
    """Run, print the result table on stdout and where the artefacts are on stderr."""
    from kdh_ray.cli.progress import show_progress
    from kdh_ray.jobs.ray_train import JobError
    from kdh_ray.jobs.run import run

    out = (args.out or Path("runs") / config.name).expanduser()
    finished = all(RunFolder(out).stage(name).finished for name in stages or config.stages)
    try:
        with full_disk_told(out), show_progress(config) as listener:
            frame = run(config, out, stages=stages, local=args.local, verbose=args.verbose, listener=listener)
    except JobError as error:
        print(f"kdh-ray: {error}", file=sys.stderr)
        return 1
    if finished:
        print(
            f"kdh-ray: every stage is finished in {out}; remove it or give another --out to run again", file=sys.stderr
        )
    print_table(frame)
    print(
        f"\nArtefacts: {out}\n  stages/NAME/checkpoint  classifiers (transformers reads the encoders)", file=sys.stderr
    )
    print("  rows/                   result rows: kdh-ray results " + str(out), file=sys.stderr)
    return 0


@contextmanager
def full_disk_told(out: Path) -> Iterator[None]:
    """One line, not a traceback, where a run in ``out`` fills the disk."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError(f"{out}: no disk space left; the run goes on from here when there is") from None
        raise


def print_table(frame: pd.DataFrame) -> None:
    """The result table, with a frame around it on a terminal."""
    from rich.console import Console

    from kdh_ray.results import render, tables

    table = tables.stage_table(frame)
    if sys.stdout.isatty():
        console = Console()
        console.print(render.to_rich(table, console.width))
    else:
        print(render.to_plain(table), end="")
