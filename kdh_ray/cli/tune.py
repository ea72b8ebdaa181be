"""``kdh-ray tune``: search for the best settings of a stage, then train and test the best of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.cli.running import add_run_arguments, full_disk_told, print_table
from kdh_ray.errors import ConfigError, DataError

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.cli.trials import Board
    from kdh_ray.config import RunConfig
    from kdh_ray.events import Event
    from kdh_ray.tuning.trials import Trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML file with a tune section; see experiments/configs/")
    parser.add_argument(
        "--resume", nargs="?", const=True, metavar="DIR", help="go on with the search in DIR, or else in --out"
    )
    add_run_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Search, print the best trials on stderr, and the result table on stdout."""
    from kdh_ray.config import load_config

    if isinstance(args.resume, str):
        if args.out is not None and args.out != Path(args.resume):
            raise ConfigError([f"--resume {args.resume} and --out {args.out} name two folders"], "command line")
        args.out = Path(args.resume)
        if not args.out.expanduser().exists():
            raise ConfigError([f"--resume {args.resume}: no such folder"], "command line")
    return search_and_print(load_config(args.config, args.set), args, resume=args.resume is not None)


def search_and_print(config: RunConfig, args: argparse.Namespace, *, resume: bool, whole: bool = False) -> int:
    """What ``kdh-ray tune`` does, and ``kdh-ray run`` with a configuration that asks for trials."""
    from kdh_ray.jobs import search
    from kdh_ray.jobs.ray_train import JobError

    out = (args.out or Path("runs") / config.name).expanduser()
    try:
        with full_disk_told(out), Display(config, out) as display:
            frame = search(
                config, out, whole=whole, resume=resume, local=args.local, verbose=args.verbose,
                listener=display.on_event, on_trial=display.on_trial,
            )  # fmt: skip
    except JobError as error:
        print(f"kdh-ray: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        hint = "" if resume else " with --resume"
        print(f"kdh-ray: interrupted; go on by the same command{hint} --out {out}", file=sys.stderr)
        return 130
    print_table(frame[frame["kind"] != "trial"])
    print_search(frame, config, display.board, out)
    return 0


def print_search(frame: pd.DataFrame, config: RunConfig, board: Board, out: Path) -> None:
    """On stderr: the best trial, what stopping saved, the front of score and cost, and where everything is."""
    from kdh_ray.cli.trials import epochs, percent, settings
    from kdh_ray.jobs.stage_search.space import own_settings

    best = board.best()
    if best is not None:
        first = board.trials[1]
        whose = ", the stage's own settings where they are searched" if own_settings(config) else ""
        ended = "" if first.status == "ok" else f", {first.status}"  # a score on the way is none to compare with
        print(f"\nBest of {len(board.trials)} trials, {best.number}: {settings(best)}", file=sys.stderr)
        print(
            f"Validation {board.objective} {percent(best)}; trial 1{whose}: {percent(first)}{ended} after"
            f" {epochs(first)}", file=sys.stderr,
        )  # fmt: skip
        print(board.savings(), file=sys.stderr)
        print_front(frame, config)
    print(f"\nArtefacts: {out}\n  search/rows/       a row for each trial: kdh-ray results {out}", file=sys.stderr)
    print("  best/config.yaml   the best configuration, for kdh-ray run", file=sys.stderr)


def print_front(frame: pd.DataFrame, config: RunConfig) -> None:
    """The best score at each cost, on stderr, where the search varied what students cost to run."""
    from kdh_ray.jobs.stage_search.space import SMALLER_SPACE, search_space
    from kdh_ray.results import render, tables

    if config.tune.has_budget or set(SMALLER_SPACE) & set(search_space(config)):
        cost = "parameters" if config.tune.max_latency_ms is None and config.tune.max_parameters else "latency_ms"
        with suppress(DataError):  # where no trial ran to its end
            front = tables.pareto(frame, f"validation_{config.tune.objective}", cost)
            print(f"\nNo trial is better and cheaper than these:\n{render.to_plain(front)}", file=sys.stderr)


class Display:
    """Stages' bars and the table of trials, in turns: a terminal holds one live display at a time.

    Args:
        config: Of the run.
        out: Its folder.
        transient: Whether what is live goes from the terminal when it is done.
    """

    def __init__(self, config: RunConfig, out: Path, transient: bool = False) -> None:
        from kdh_ray.cli.trials import Board

        self.config, self.board, self.transient = config, Board(config, out), transient
        self._on_event: Callable[[Event], None] | None = None
        self._on_trial: Callable[[Trial], None] | None = None
        self._shown = ExitStack()

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exception: object) -> None:
        self._shown.close()

    def on_event(self, event: Event) -> None:
        """An event of a stage."""
        from kdh_ray.cli.progress import show_progress

        if self._on_event is None:
            self._clear()
            self._on_event = self._shown.enter_context(show_progress(self.config, self.transient))
        self._on_event(event)

    def on_trial(self, trial: Trial) -> None:
        """A trial that started, reported or ended."""
        from kdh_ray.cli.trials import show_trials

        if self._on_trial is None:
            self._clear()
            self._on_trial = self._shown.enter_context(show_trials(self.board, self.transient))
        self._on_trial(trial)

    def _clear(self) -> None:
        self._shown.close()
        self._on_event = self._on_trial = None
