"""The trials of a searcher: those that are live, with their moves, and those that are complete.

What Ray Tune (2.60) does with trials across experiments:

* Trials that a time budget cut off are never completed. There are two ways to continue:

  - ``Tuner.restore`` resumes the experiment. Tune sets the searcher's properties, then restores the searcher, then runs
    those trials further. So they are live.
  - The user restores the searcher and starts a new experiment, which sets the properties afterwards, and doesn't know
    the old trials. They don't count against the concurrency, as with Ray's OptunaSearch and HyperOptSearch, whose
    ConcurrencyLimiter starts empty there, and their configurations are suggested again, before any new one. If an old
    trial reports after all, it is live again.

  Without a ``param_space`` Tune sets no properties, and the two look alike: old trials are live once they report.
* A restarted trial can have an id that was never suggested. And a snapshot lags behind, so that completions are
  repeated after a restore. So unknown ids are ignored with one warning, and a second completion changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


class LiveTrials:
    """Ids of trials, as Ray Tune gives them, and the moves that they evaluate.

    A live trial has no result yet. It is *absent* if it belongs to an earlier experiment and has not reported since.
    Dicts stand for sets, for their order.

    Attributes:
        moves: Move of each live trial.
        completed: Trials that have a result.
    """

    def __init__(self) -> None:
        self.moves: dict[str, int] = {}
        self.completed: dict[str, None] = {}
        self._absent: dict[str, None] = {}
        self._lost: list[str] = []  # absent trials whose configurations have to be suggested again
        self._in_experiment = False

    def __contains__(self, trial_id: str) -> bool:
        """Return True for a trial with a move, live or complete."""
        return trial_id in self.moves or trial_id in self.completed

    @property
    def n_present(self) -> int:
        """Number of live trials that aren't absent."""
        return len(self.moves) - len(self._absent)

    def start_experiment(self) -> None:
        """Count all live trials as absent, and their moves as lost: a new experiment doesn't know them."""
        self._in_experiment = True
        self._absent = dict.fromkeys(self.moves)
        self._lost = list({move: trial_id for trial_id, move in self.moves.items()}.values())

    def lost_moves(self) -> Iterator[int]:
        """Remove and yield lost moves, except those of trials that have reported since."""
        while self._lost:
            trial_id = self._lost.pop(0)
            if trial_id in self._absent:
                yield self.moves[trial_id]

    def hear(self, trial_id: str) -> bool:
        """Return True for a live trial, which isn't absent from now on."""
        self._absent.pop(trial_id, None)
        return trial_id in self.moves

    def complete(self, trial_id: str) -> int:
        """Move a live trial to the complete ones, and return its move."""
        self.completed[trial_id] = None
        return self.moves.pop(trial_id)

    def get_state(self) -> dict[str, Any]:
        """Return all trials as JSON values."""
        return {
            "live": dict(self.moves),
            "absent": list(self._absent),
            "lost": list(self._lost),
            "completed": list(self.completed),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore what ``get_state`` returned. Outside an experiment, live trials are absent until they report."""
        self.moves = dict(state["live"])
        self._absent = dict.fromkeys(state["absent"] if self._in_experiment else state["live"])
        self._lost = list(state.get("lost", []))  # states of earlier versions have none
        self.completed = dict.fromkeys(state["completed"])
