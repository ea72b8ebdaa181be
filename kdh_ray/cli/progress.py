"""Live display of the stages of a run: bars on a terminal, a line per epoch anywhere else."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

    from kdh_ray.events import Event

WIDE = 90  # terminal columns from which counts, speed and the metric's full name fit


@contextmanager
def show_progress(transient: bool = False) -> Iterator[Callable[[Event], None]]:
    """Yield a listener for :func:`kdh_ray.run` that prints to stderr, so that stdout holds only results.

    Args:
        transient: Remove the bars from the terminal when the block ends.
    """
    from rich.console import Console

    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield print_event
        return
    bars = StageBars(console, transient)
    with bars.progress:
        yield bars.on_event


class StageBars:
    """A bar per stage on a terminal, with the speed, the remaining time and the last score.

    Args:
        console: The terminal; its width decides how much a bar says.
        transient: Remove the bars when they end.
    """

    def __init__(self, console: Console, transient: bool) -> None:
        self.wide = console.width >= WIDE
        self.progress = self._make_progress(console, transient)
        self._tasks: dict[str, TaskID] = {}  # by stage

    def on_event(self, event: Event) -> None:
        """Show an event of a run."""
        if event["kind"] == "note":
            self.progress.console.print(event["text"], markup=False)
        elif event["kind"] == "step":
            self._show_step(event)
        elif event["kind"] == "epoch":
            score = f": F1 {100 * event['score']:.1f}" if _is_validated(event) else ""
            self.progress.update(self._task(event), score=f"epoch {event['epoch']}{score}")
        elif event["kind"] == "done":
            score = f"{_validation_score(event)}{_kept_epoch(event)}" if self.wide else f"F1 {100 * event['score']:.1f}"
            self.progress.update(self._task(event), score=score)

    def _show_step(self, event: Event) -> None:
        task = self._task(event)
        self.progress.update(task, completed=event["done"], total=event["total"])
        speed = self.progress.tasks[task].speed
        self.progress.update(task, rate=f"{speed:.1f} documents/s" if speed else "")

    def _task(self, event: Event) -> TaskID:
        """Return the bar of the event's stage, which its first event adds."""
        stage = event["stage"]
        if stage not in self._tasks:
            self._tasks[stage] = self.progress.add_task(stage, total=event.get("total"), rate="", score="")
        return self._tasks[stage]

    def _make_progress(self, console: Console, transient: bool) -> Progress:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
        from rich.progress import TimeRemainingColumn as TimeColumn

        columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False)]
        if self.wide:
            columns += [BarColumn(24), MofNCompleteColumn(), TextColumn("{task.fields[rate]}")]
        else:
            columns += [BarColumn(8), TaskProgressColumn()]
        columns.append(TimeColumn(compact=True, elapsed_when_finished=True))
        columns.append(TextColumn("{task.fields[score]}", markup=False))
        return Progress(*columns, console=console, transient=transient)


def print_event(event: Event) -> None:
    """Print a note, or a line about an epoch or a finished stage, on stderr."""
    stage = event["stage"]
    if event["kind"] == "note":
        line = event["text"]
    elif event["kind"] == "epoch":
        losses = ", ".join(f"{name} {value:.3f}" for name, value in event["losses"].items())
        score = f"{_validation_score(event)}, " if _is_validated(event) else ""
        line = (
            f"{stage}: epoch {event['epoch']}/{event['epochs']}, {score}losses {losses},"
            f" {event['documents_per_second']:.1f} documents/s, {event['seconds']:.0f} s"
        )
    elif event["kind"] == "done":
        line = f"{stage}: {_validation_score(event)}{_kept_epoch(event)}"
    else:
        return
    print(line, file=sys.stderr, flush=True)


def _is_validated(event: Event) -> bool:
    """Return False for an epoch of a model that is refit on all folds."""
    return not math.isnan(event["score"])


def _kept_epoch(event: Event) -> str:
    """Return which epoch's weights a finished stage kept; nothing for the mean of an ensemble."""
    return f", weights of epoch {event['epoch']}" if event.get("epoch") else ""


def _validation_score(event: Event) -> str:
    return f"validation micro F1 {100 * event['score']:.1f}"
