"""A search's trials on the terminal: one live table where there is one, else a line for each that ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.jobs.tuning.ledger import Ledger
from kdh_ray.jobs.tuning.trials import best_of, savings
from kdh_ray.results.render import METRIC_NAMES

if TYPE_CHECKING:
    from rich.table import Table

    from kdh_ray.config import RunConfig
    from kdh_ray.jobs.tuning.trials import Trial

OnTrial = Callable[["Trial"], None]
_RECENT = 8  # ended trials that the live table shows


class Board:
    """What is known of a search's trials."""

    def __init__(self, config: RunConfig, out: Path) -> None:
        self.config, self.wanted, self.started = config, config.tune.n_trials, time.monotonic()
        self.trials = {trial.number: trial for trial in Ledger(out / "search").trials}
        self.earlier = sum(trial.ended for trial in self.trials.values())

    def best(self) -> Trial | None:
        """By the rule that the search itself goes by."""
        return best_of(list(self.trials.values()), "max")

    def counts(self) -> Counter[str]:
        return Counter(trial.status for trial in self.trials.values())

    def savings(self) -> str:
        """What early stopping saved, in a line."""
        saved = savings(self.trials.values())
        if not saved.spared:
            return f"Early stopping saved nothing: trials ran {saved.ran:g} epochs"
        return (
            f"Early stopping saved {saved.spared:g} of the {saved.ran + saved.spared:g} epochs that the same trials"
            f" would have run ({100 * saved.share:.0f} %, about {saved.seconds:.0f} s of workers)"
        )

    def seconds_left(self) -> float | None:
        """At the pace of this session; None before its first trial has ended."""
        ended = sum(trial.ended for trial in self.trials.values())
        here = ended - self.earlier
        return (time.monotonic() - self.started) / here * (self.wanted - ended) if here else None

    @property
    def objective(self) -> str:
        """What is raised, in words."""
        return METRIC_NAMES[self.config.tune.objective]

    def line(self, trial: Trial) -> str:
        """A trial that ended, and how the search stands."""
        ended = sum(trial.ended for trial in self.trials.values())
        best = self.best()
        standing = f"; best {percent(best)} (trial {best.number})" if best else ""
        reason = f" ({trial.error})" if trial.error else ""
        return (
            f"trial {trial.number}{_particle(trial)}: {trial.status} after {epochs(trial)}, validation"
            f" {self.objective} {percent(trial)}, {trial.seconds:.0f} s{reason}; {ended}/{self.wanted} done{standing}"
        )

    def table(self) -> Table:
        """The search at a glance: running trials, the last that ended, the best and its configuration."""
        from rich.table import Table

        counts, best, left = self.counts(), self.best(), self.seconds_left()
        states = ", ".join(f"{counts[state]} {state}" for state in ("running", "ok", "stopped", "failed"))
        caption = f"{self.wanted} trials: {states}" + (f"; about {left / 60:.0f} min left" if left else "")
        if best is not None:
            caption += f"\nbest {percent(best)}, trial {best.number}: {settings(best)}"
        table = Table(caption=caption, caption_justify="left")
        for heading in ("trial", "particle", "status", "epochs", self.objective, "seconds"):
            table.add_column(heading, justify="left" if heading == "status" else "right")
        ended = sorted((trial for trial in self.trials.values() if trial.ended), key=lambda trial: trial.number)
        running = [trial for trial in self.trials.values() if not trial.ended]
        for trial in (*ended[-_RECENT:], *running):
            table.add_row(
                str(trial.number), str(trial.particle.get("particle", "")), trial.status, f"{trial.time:g}",
                percent(trial), f"{trial.seconds:.0f}",
            )  # fmt: skip
        return table


@contextmanager
def show_trials(board: Board) -> Iterator[OnTrial]:
    """A listener for ``tune_stage`` that prints to stderr."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield lambda trial: _print(board, trial)
        return
    with Live(console=console, auto_refresh=False) as live:

        def on_trial(trial: Trial) -> None:
            board.trials[trial.number] = trial
            live.update(board.table(), refresh=True)

        yield on_trial


def _print(board: Board, trial: Trial) -> None:
    board.trials[trial.number] = trial
    if trial.ended:
        print(board.line(trial), file=sys.stderr, flush=True)


def percent(trial: Trial) -> str:
    """A trial's score, as the tables print it."""
    return "-" if trial.score is None or not trial.feasible else f"{100 * trial.score:.1f}"


def epochs(trial: Trial) -> str:
    """How far a trial came."""
    return f"{trial.time:g} epoch" + ("" if trial.time == 1 else "s")


def settings(trial: Trial) -> str:
    """``learning_rate 0.00021, loss.alpha 0.4``"""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.config.items()
    )


def _particle(trial: Trial) -> str:
    particle = trial.particle.get("particle")
    return "" if particle is None else f" (particle {particle})"
