"""Live display of a run whose stages and trials take turns on the terminal."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from kdh_ray.cli.progress import show_progress
from kdh_ray.cli.trials import Board, show_trials

if TYPE_CHECKING:
    from kdh_ray.config import RunConfig
    from kdh_ray.events import Event
    from kdh_ray.tuning.trials import Trial

T = TypeVar("T")


class Display:
    """The bars of stages and the table of trials, one at a time: a terminal holds only one live display.

    >>> with Display(config, out) as display:  # doctest: +SKIP
    ...     kdh_ray.search(config, out, listener=display.on_event, on_trial=display.on_trial)

    Args:
        config: Configuration of the run.
        out: Folder of the run.
        transient: Remove bars and table from the terminal when they end.

    Attributes:
        board: The search's trials so far.
    """

    def __init__(self, config: RunConfig, out: Path, transient: bool = False) -> None:
        self.board = Board(config, out)
        self._transient = transient
        self._live = ExitStack()  # holds the display that is on the terminal
        self._on_event: Callable[[Event], None] | None = None
        self._on_trial: Callable[[Trial], None] | None = None

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exception: object) -> None:
        self._live.close()

    def on_event(self, event: Event) -> None:
        """Show an event of a stage."""
        if self._on_event is None:
            self._on_event = self._switch_to(show_progress(self._transient))
        self._on_event(event)

    def on_trial(self, trial: Trial) -> None:
        """Show a trial that has started, reported or ended."""
        if self._on_trial is None:
            self._on_trial = self._switch_to(show_trials(self.board, self._transient))
        self._on_trial(trial)

    def _switch_to(self, display: AbstractContextManager[T]) -> T:
        """End the display on the terminal and begin another."""
        self._live.close()
        self._on_event = self._on_trial = None
        return self._live.enter_context(display)
