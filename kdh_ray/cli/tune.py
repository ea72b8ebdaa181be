"""``kdh-ray tune``: search for the best settings of a stage, then train and test the best of them."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.cli.running import add_run_arguments, print_table
from kdh_ray.errors import ConfigError

if TYPE_CHECKING:
    from kdh_ray.config import RunConfig
    from kdh_ray.distillation.events import Event
    from kdh_ray.jobs.tuning.ledger import Trial


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML file with a tune section; see experiments/configs/")
    parser.add_argument("--resume", action="store_true", help="go on with the search in --out; starts one if none is")
    add_run_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Search, print the best trials on stderr, and the result table on stdout."""
    from kdh_ray.cli.trials import settings
    from kdh_ray.config import load_config
    from kdh_ray.jobs.training import JobError
    from kdh_ray.jobs.tuning import tune_stage

    config = load_config(args.config, args.set)
    out = (args.out or Path("runs") / config.name).expanduser()
    searcher = make_searcher(config, args.config)
    try:
        with Display(config, out) as display:
            frame = tune_stage(
                config, searcher, out, resume=args.resume, local=args.local, verbose=args.verbose,
                listener=display.on_event, on_trial=display.on_trial, variant=variant(config),
            )  # fmt: skip
    except JobError as error:
        print(f"kdh-ray: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"kdh-ray: interrupted; go on by the same command with --resume --out {out}", file=sys.stderr)
        return 130
    ran, whole = display.board.epochs()
    best = display.board.best()
    print_table(frame[frame["kind"] != "trial"])
    if best is not None:
        print(f"\nBest of {len(display.board.trials)} trials, {best.number}: {settings(best)}", file=sys.stderr)
        print(f"Trials ran {ran} of the {whole} epochs that they would have run to their ends", file=sys.stderr)
    print(f"\nArtefacts: {out}\n  search/rows/       a row for each trial: kdh-ray results {out}", file=sys.stderr)
    print("  best/config.yaml   the best configuration, for kdh-ray run", file=sys.stderr)
    return 0


class Display:
    """Stages' bars and the table of trials, in turns: a terminal holds one live display at a time."""

    def __init__(self, config: RunConfig, out: Path) -> None:
        from kdh_ray.cli.trials import Board

        self.config, self.board = config, Board(config, out)
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
            self._on_event = self._shown.enter_context(show_progress(self.config))
        self._on_event(event)

    def on_trial(self, trial: Trial) -> None:
        """A trial that started, reported or ended."""
        from kdh_ray.cli.trials import show_trials

        if self._on_trial is None:
            self._clear()
            self._on_trial = self._shown.enter_context(show_trials(self.board))
        self._on_trial(trial)

    def _clear(self) -> None:
        self._shown.close()
        self._on_event = self._on_trial = None


def make_searcher(config: RunConfig, source: str) -> Any:
    """The configured searcher; this is where it meets the jobs, which take any.

    Raises:
        ConfigError: If there is none of that name.
    """
    from searchers.baselines import make_searcher as make

    name = config.tune.searcher
    swarm = {"n_particles": config.tune.particles} if name.startswith("pso") else {}
    try:
        return make(name, seed=config.seed, budget=config.tune.trials, **swarm)
    except ValueError as error:
        raise ConfigError([f"tune.searcher: {error}"], source) from None


def variant(config: RunConfig) -> str:
    """What the best configuration's row is called, after what found it."""
    return "swarm-tuned" if config.tune.searcher.startswith("pso") else f"{config.tune.searcher}-tuned"
