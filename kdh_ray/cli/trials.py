"""A search's trials on the terminal: one live table where there is one, else a line for each that ended."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.results.tables import METRIC_NAMES
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.trials import best_of, savings

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from kdh_ray.config import RunConfig
    from kdh_ray.tuning.trials import Trial

OnTrial = Callable[["Trial"], None]
_RECENT = 8  # ended trials that the live table shows
_AROUND = 10  # lines of a terminal that are not trials: heading, summary, and what was there before


class Board:
    """What is known of a search's trials."""

    def __init__(self, config: RunConfig, out: Path) -> None:
        self.config, self.wanted, self.started = config, config.tune.n_trials, time.monotonic()
        self.trials = {trial.number: trial for trial in Ledger(RunFolder(out).search.path).trials}
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

    def view(self, height: int) -> Group:
        """The search at a glance, in a terminal of ``height`` lines: trials, the best and its configuration."""
        from rich.console import Group
        from rich.text import Text

        return Group(self.table(height), Text(self._summary()))

    def table(self, height: int) -> Table:
        """Running trials and the last that ended, as many as a terminal of ``height`` lines can show live."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in ("trial", "particle", "status", "epochs", self.objective, "seconds"):
            table.add_column(heading, justify="left" if heading == "status" else "right")
        trials, room = list(self.trials.values()), max(4, height - _AROUND)
        running = [trial for trial in trials if not trial.ended]
        shown = running[: room - 1 if len(running) > room else room]
        ended = sorted((trial for trial in trials if trial.ended), key=lambda trial: trial.number)
        for trial in (*ended[max(0, len(ended) - min(_RECENT, room - len(shown))) :], *shown):
            table.add_row(
                str(trial.number), str(trial.particle.get("particle", "")), trial.status, f"{trial.time:g}",
                percent(trial), f"{trial.seconds:.0f}",
            )  # fmt: skip
        if len(shown) < len(running):
            table.add_row("…", "", f"{len(running) - len(shown)} more")
        return table

    def _summary(self) -> str:
        counts, best, left = self.counts(), self.best(), self.seconds_left()
        states = ", ".join(f"{counts[state]} {state}" for state in ("running", "ok", "stopped", "failed"))
        text = f"{self.wanted} trials: {states}; {duration(time.monotonic() - self.started)}"
        text += f", about {duration(left)} left" if left and left > 0 else ""
        return text if best is None else f"{text}\nbest {percent(best)}, trial {best.number}: {settings(best)}"


@contextmanager
def show_trials(board: Board, transient: bool = False) -> Iterator[OnTrial]:
    """A listener for ``search`` that prints to stderr; a ``transient`` table goes when the block ends.

    Made when trials begin: the board's clock starts here.
    """
    from rich.console import Console
    from rich.live import Live

    console, board.started = Console(file=sys.stderr, highlight=False), time.monotonic()
    if not console.is_terminal:
        yield lambda trial: _print(board, trial)
        return
    with Live(
        console=console, get_renderable=lambda: board.view(console.height), refresh_per_second=1, transient=transient
    ):
        yield lambda trial: board.trials.update({trial.number: trial})


def _print(board: Board, trial: Trial) -> None:
    board.trials[trial.number] = trial
    if trial.ended:
        print(board.line(trial), file=sys.stderr, flush=True)


def percent(trial: Trial) -> str:
    """A trial's score, as the tables print it."""
    return "-" if trial.score is None or not trial.feasible else f"{100 * trial.score:.1f}"


def duration(seconds: float) -> str:
    """``40 s``, ``5 min`` or ``2 h 5 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


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
