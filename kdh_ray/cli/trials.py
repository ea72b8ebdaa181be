"""Live display of a search's trials: a table on a terminal, a line per ended trial anywhere else."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_ray.evaluation.objectives import OBJECTIVES, Cost, Objective, objective_named
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.trials import best_of, savings

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from kdh_ray.config import RunConfig
    from kdh_ray.tuning.trials import Trial

OnTrial = Callable[["Trial"], None]
_RECENT = 8  # ended trials in the live table
_OTHER_LINES = 10  # lines of a terminal for the heading, the summary and earlier output
_MIN_ROWS = 4


class Board:
    """The trials of a search as they are displayed: as a line each, as a live table, and in summary.

    Args:
        config: Configuration of the run.
        out: Folder of the run; the trials of an earlier session are read from its ledger.

    Attributes:
        trials: Every trial by its number.
        n_trials: Number of trials that the search will have.
        objective: The score that the search optimises, first of all if there are several objectives.
        further: The other objectives.
    """

    def __init__(self, config: RunConfig, out: Path) -> None:
        self.trials = {trial.number: trial for trial in Ledger(RunFolder(out).search.path).trials}
        self.n_trials = config.tune.n_trials
        self.objective = OBJECTIVES[config.tune.objectives[0]]
        self.folds = config.data.folds
        self.further = [objective_named(name) for name in config.tune.objectives[1:]]
        self._ended_earlier = self._ended()
        self.start_clock()

    def start_clock(self) -> None:
        """Count the time of this session from now on."""
        self._started = time.monotonic()

    def best(self) -> Trial | None:
        """Return the best trial, by the search's own rule; with folds, of those that all folds have judged."""
        judged = [trial for trial in self.trials.values() if self.folds == 1 or trial.status == "ok"]
        return best_of(judged, self.objective.mode)

    def score(self, trial: Trial) -> str:
        """Return a trial's score as result tables print it; ``-`` without a score, or beyond the search's budget."""
        return "-" if trial.score is None or not trial.feasible else self.objective.text(trial.score)

    def savings(self) -> str:
        """Return a line about what early stopping has saved."""
        saved = savings(self.trials.values())
        if not saved.spared:
            return f"Early stopping saved nothing: trials ran {saved.ran:g} epochs"
        return (
            f"Early stopping saved {saved.spared:g} of the {saved.ran + saved.spared:g} epochs that the same trials"
            f" would have run ({100 * saved.share:.0f} %, about {saved.seconds:.0f} s of worker time)"
        )

    def seconds_left(self) -> float | None:
        """Estimate the remaining time from the pace of this session; None until one of its trials has ended."""
        ended = self._ended()
        ended_now = ended - self._ended_earlier
        return self._elapsed() / ended_now * (self.n_trials - ended) if ended_now else None

    def line(self, trial: Trial) -> str:
        """Return a line about a trial that has ended, and the state of the search."""
        best = self.best()
        further = "".join(f", {each.with_unit(value)}" for each, value in self._further_values(trial))
        best_so_far = f"; best {self.score(best)} (trial {best.number})" if best else ""
        reason = f" ({trial.error})" if trial.error else ""
        score = f"{self.score(trial)}{self._judged_by(trial)}{further}"
        return (
            f"trial {trial.number}{_particle(trial)}: {trial.status} after {epochs(trial)}, validation"
            f" {self.objective.title} {score}, {trial.seconds:.0f} s{reason};"
            f" {self._ended()}/{self.n_trials} done{best_so_far}"
        )

    def _judged_by(self, trial: Trial) -> str:
        """Return which of the folds a score is of, unless it is of all; during the first fold it is of that one."""
        finished = int(trial.values.get("folds_run", self.folds))
        return "" if finished >= self.folds else f" on {max(1, finished)} of {self.folds} folds"

    def _further_values(self, trial: Trial) -> list[tuple[Objective | Cost, float]]:
        """Return the values of the other objectives, as far as a trial has reported them."""
        return [(each, trial.values[each.column]) for each in self.further if each.column in trial.values]

    def view(self, height: int) -> Group:
        """Return the table and the summary, for a terminal of ``height`` lines."""
        from rich.console import Group
        from rich.text import Text

        return Group(self.table(height), Text(self._summary()))

    def table(self, height: int) -> Table:
        """Return a table of the last ended and the running trials, as many as fit a terminal of ``height`` lines."""
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        titles = [each.title for each in self.further]
        for heading in ("trial", "particle", "status", "epochs", self.objective.title, *titles, "seconds"):
            table.add_column(heading, justify="left" if heading == "status" else "right")
        ended, running, n_hidden = self._visible(max(_MIN_ROWS, height - _OTHER_LINES))
        for trial in (*ended, *running):
            particle = str(trial.particle.get("particle", ""))
            known = {each.name: each.text(value) for each, value in self._further_values(trial)}
            costs = [known.get(each.name, "-") for each in self.further]
            values = (f"{trial.time:g}", self.score(trial), *costs, f"{trial.seconds:.0f}")
            table.add_row(str(trial.number), particle, trial.status, *values)
        if n_hidden:
            table.add_row("…", "", f"{n_hidden} more")
        return table

    def _visible(self, n_rows: int) -> tuple[list[Trial], list[Trial], int]:
        """Return the ended and the running trials that ``n_rows`` rows show, and the number of hidden running ones."""
        running = [trial for trial in self.trials.values() if not trial.ended]
        shown = running[: n_rows - 1 if len(running) > n_rows else n_rows]  # the last row says how many are hidden
        ended = sorted((trial for trial in self.trials.values() if trial.ended), key=lambda trial: trial.number)
        n_ended = min(_RECENT, n_rows - len(shown), len(ended))
        return ended[len(ended) - n_ended :], shown, len(running) - len(shown)

    def _summary(self) -> str:
        counts = Counter(trial.status for trial in self.trials.values())
        states = ", ".join(f"{counts[state]} {state}" for state in ("running", "ok", "stopped", "failed"))
        text = f"{self.n_trials} trials: {states}; {duration(self._elapsed())}"
        left, best = self.seconds_left(), self.best()
        text += f", about {duration(left)} left" if left and left > 0 else ""
        return text if best is None else f"{text}\nbest {self.score(best)}, trial {best.number}: {settings(best)}"

    def _ended(self) -> int:
        return sum(trial.ended for trial in self.trials.values())

    def _elapsed(self) -> float:
        return time.monotonic() - self._started


@contextmanager
def show_trials(board: Board, transient: bool = False) -> Iterator[OnTrial]:
    """Yield a trial listener for :func:`kdh_ray.search` that prints to stderr, and start the board's clock.

    Args:
        board: The trials to show.
        transient: Remove the table from the terminal when the block ends.
    """
    from rich.console import Console
    from rich.live import Live

    console = Console(file=sys.stderr, highlight=False)
    board.start_clock()
    if not console.is_terminal:
        yield lambda trial: _print_trial(board, trial)
        return
    with Live(
        console=console, get_renderable=lambda: board.view(console.height), refresh_per_second=1, transient=transient
    ):
        yield lambda trial: board.trials.update({trial.number: trial})


def _print_trial(board: Board, trial: Trial) -> None:
    board.trials[trial.number] = trial
    if trial.ended:
        print(board.line(trial), file=sys.stderr, flush=True)


def duration(seconds: float) -> str:
    """Return a time span as ``40 s``, ``5 min`` or ``2 h 5 min``."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"


def epochs(trial: Trial) -> str:
    """Return how long a trial has trained, as ``1 epoch`` or ``3 epochs``."""
    return f"{trial.time:g} epoch" + ("" if trial.time == 1 else "s")


def settings(trial: Trial) -> str:
    """Return a trial's settings as ``learning_rate 0.00021, loss.alpha 0.4``."""
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in trial.config.items()
    )


def _particle(trial: Trial) -> str:
    particle = trial.particle.get("particle")
    return "" if particle is None else f" (particle {particle})"
