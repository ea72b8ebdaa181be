"""A run's events on the terminal: bars with rates where there is one, else a line an epoch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, TaskID

    from kdh_ray.config import RunConfig
    from kdh_ray.events import Event


WIDE = 90  # columns of a terminal that has room for everything


@contextmanager
def show_progress(config: RunConfig, transient: bool = False) -> Iterator[Callable[[Event], None]]:
    """A listener for ``kdh_ray.run`` that prints to stderr, so that stdout holds results alone.

    Args:
        config: Of the run.
        transient: Whether a terminal's bars go when the block ends.
    """
    from rich.console import Console

    console = Console(file=sys.stderr, highlight=False)
    if not console.is_terminal:
        yield lambda event: _print_line(config, event)
        return
    progress = _bars(console, transient)
    tasks: dict[str, TaskID] = {}
    with progress:
        yield lambda event: _show(progress, tasks, config, event)


def _bars(console: Console, transient: bool) -> Progress:
    """Bars with what there is room for."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn
    from rich.progress import TimeRemainingColumn as TimeColumn

    wide = console.width >= WIDE
    columns: list[ProgressColumn] = [TextColumn("{task.description}", markup=False), BarColumn(24 if wide else 8)]
    columns += [MofNCompleteColumn(), TextColumn("{task.fields[rate]}")] if wide else [TaskProgressColumn()]
    columns += [TimeColumn(compact=True, elapsed_when_finished=True), TextColumn("{task.fields[score]}", markup=False)]
    return Progress(*columns, console=console, transient=transient)


def _show(progress: Progress, tasks: dict[str, TaskID], config: RunConfig, event: Event) -> None:
    stage = event["stage"]
    if event["kind"] == "note":
        progress.console.print(event["text"], markup=False)
        return
    if event["kind"] == "start":
        return
    if stage not in tasks:
        tasks[stage] = progress.add_task(stage, total=event.get("total"), rate="", score="")
    if event["kind"] == "step":
        progress.update(tasks[stage], completed=event["done"], total=event["total"])
        speed = progress.tasks[tasks[stage]].speed
        progress.update(tasks[stage], rate=f"{speed:.1f} documents/s" if speed else "")
    elif event["kind"] == "epoch":
        progress.update(tasks[stage], score=f"epoch {event['epoch']}: F1 {100 * event['score']:.1f}")
    elif event["kind"] == "done":
        wide = progress.console.width >= WIDE
        progress.update(tasks[stage], score=_done(event) if wide else f"F1 {100 * event['score']:.1f}")


def _print_line(config: RunConfig, event: Event) -> None:
    stage = event["stage"]
    if event["kind"] == "note":
        line = event["text"]
    elif event["kind"] == "epoch":
        losses = ", ".join(f"{name} {value:.3f}" for name, value in event["losses"].items())
        line = (
            f"{stage}: epoch {event['epoch']}/{event['epochs']},"
            f" validation micro F1 {100 * event['score']:.1f}, losses {losses},"
            f" {event['documents_per_second']:.1f} documents/s, {event['seconds']:.0f} s"
        )
    elif event["kind"] == "done":
        line = f"{stage}: {_done(event)}"
    else:
        return
    print(line, file=sys.stderr, flush=True)


def _done(event: Event) -> str:
    return f"validation micro F1 {100 * event['score']:.1f}"
