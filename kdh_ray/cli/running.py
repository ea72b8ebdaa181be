"""Parts of the verbs that run a configuration: their options, the full disk, and the result table."""

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


def add_config_argument(parser: argparse.ArgumentParser) -> None:
    """Add the configuration that the verb runs."""
    parser.add_argument("config", metavar="CONFIG", help="configuration, a YAML file")


def add_run_arguments(
    parser: argparse.ArgumentParser, local_help: str = "run in this process instead of on Ray, for debugging"
) -> None:
    """Add the options of every verb that runs a configuration."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting; may be repeated"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR",
        help="folder of the run, which resumes if it was interrupted (default: runs/NAME)",
    )  # fmt: skip
    parser.add_argument("--local", action="store_true", help=local_help)
    parser.add_argument("-v", "--verbose", action="store_true", help="show Ray's own log lines")
    add_changed_data_argument(parser)
    parser.set_defaults(resumable=True)


def add_changed_data_argument(parser: argparse.ArgumentParser) -> None:
    """Add the option that lets changed data pass with a warning."""
    parser.add_argument(
        "--allow-changed-data", action="store_true",
        help="go ahead, with a warning, although documents were added, removed or relabelled since training",
    )  # fmt: skip


def run_folder(config: RunConfig, args: argparse.Namespace) -> Path:
    """Return the folder of the run: ``--out``, or ``runs/NAME`` by default."""
    folder: Path = args.out or Path("runs") / config.name
    return folder.expanduser()


def run_and_print(config: RunConfig, args: argparse.Namespace, stages: Sequence[str] | None = None) -> int:
    """Run; print the result table on stdout, and on stderr where the files are.

    Args:
        config: The configuration.
        args: Options of :func:`add_run_arguments`.
        stages: Train only these stages; all if None.

    Returns:
        The exit code.
    """
    from kdh_ray.cli.progress import show_progress
    from kdh_ray.jobs import run
    from kdh_ray.jobs.ray_train import JobError

    out = run_folder(config, args)
    finished = all(RunFolder(out).stage(name).finished for name in stages or config.stages)
    try:
        with report_full_disk(out), show_progress() as listener:
            frame = run(
                config, out, stages=stages, local=args.local, verbose=args.verbose, listener=listener,
                allow_changed_data=args.allow_changed_data,
            )  # fmt: skip
    except JobError as error:
        print(f"kdh-ray: {error}", file=sys.stderr)
        return 1
    if finished:
        print(
            f"kdh-ray: every stage in {out} is finished; to run again, remove it or give another --out", file=sys.stderr
        )
    print_table(frame)
    print(f"\nFiles of the run: {out}", file=sys.stderr)
    print("  stages/NAME/checkpoint  classifiers (transformers can load the encoders)", file=sys.stderr)
    print(f"  rows/                   result rows: kdh-ray results {out}", file=sys.stderr)
    return 0


@contextmanager
def report_full_disk(out: Path) -> Iterator[None]:
    """Raise one line instead of a traceback if the disk of the run's folder ``out`` is full.

    Raises:
        UnavailableError: If the disk is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UnavailableError(f"{out}: no disk space left; free some, then resume the run") from None
        raise


def print_table(frame: pd.DataFrame) -> None:
    """Print the result table, with a frame around it on a terminal."""
    from rich.console import Console

    from kdh_ray.results import render, tables

    table = tables.stage_table(frame)
    if sys.stdout.isatty():
        console = Console()
        console.print(render.to_rich(table, console.width))
    else:
        print(render.to_plain(table), end="")
