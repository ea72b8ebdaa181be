"""``kdh-ray tune``: search for the best settings of a stage, then train and test the stage with them."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.running import add_config_argument, add_run_arguments, print_table, report_full_disk, run_folder
from kdh_ray.errors import ConfigError

if TYPE_CHECKING:
    from kdh_ray.config import RunConfig

EXAMPLES = """
examples:
  kdh-ray tune my.yaml --set tune.trials=40 --set tune.time_budget=2h --out runs/my-search
  kdh-ray tune my.yaml --set tune.trials=40 --resume runs/my-search
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_config_argument(parser)
    add_run_arguments(parser)
    parser.add_argument(
        "--resume", nargs="?", const=True, metavar="DIR", help="resume the search in DIR (default: the folder of --out)"
    )


def execute(args: argparse.Namespace) -> int:
    """Search; print the result table on stdout and the best trial on stderr."""
    from kdh_ray.config import load_config

    if isinstance(args.resume, str):
        if args.out is not None and args.out != Path(args.resume):
            raise ConfigError([f"--resume {args.resume} and --out {args.out} name two folders"], "command line")
        args.out = Path(args.resume)
        if not args.out.expanduser().exists():
            raise ConfigError([f"--resume {args.resume}: no such folder"], "command line")
    return search_and_print(load_config(args.config, args.set), args, resume=args.resume is not None)


def search_and_print(config: RunConfig, args: argparse.Namespace, *, resume: bool, whole: bool = False) -> int:
    """Search and print, for ``tune``, ``quickstart``, and ``run`` with a configuration that asks for trials.

    Args:
        config: The configuration.
        args: Options of :func:`kdh_ray.cli.running.add_run_arguments`.
        resume: Resume the search in the run's folder, if there is one.
        whole: Train every stage first, not only those that the tuned one needs.

    Returns:
        The exit code.
    """
    from kdh_ray.cli.display import Display
    from kdh_ray.cli.search_summary import print_summary
    from kdh_ray.jobs import search
    from kdh_ray.jobs.ray_train import JobError

    out = run_folder(config, args)
    try:
        with report_full_disk(out), Display(config, out) as display:
            frame = search(
                config, out, whole=whole, resume=resume, local=args.local, verbose=args.verbose,
                listener=display.on_event, on_trial=display.on_trial, allow_changed_data=args.allow_changed_data,
            )  # fmt: skip
    except JobError as error:
        print(f"kdh-ray: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        repeat = "again" if resume else "with --resume"
        print(f"kdh-ray: interrupted; to resume, run the same command {repeat}", file=sys.stderr)
        return 130
    print_table(frame[frame["kind"] != "trial"])
    print_summary(frame, config, display.board, out)
    return 0
