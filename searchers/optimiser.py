"""The contract between `searchers.ask_tell_search` and the optimisers that it drives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from searchers.archive import Value
from searchers.pending import Move
from searchers.space import Space


class Optimiser(Protocol):
    """An optimiser with ask and tell. It minimises.

    Attributes:
        space: The search space.
        full_fidelity: Fidelity of a full run.
    """

    space: Space
    full_fidelity: float

    def ask(self) -> Move | None:
        """Return the next move to evaluate; None if results have to come first."""

    def report(self, move_id: int, value: Value, fidelity: float) -> None:
        """Report the value of a running move at a fidelity on its way."""

    def tell(self, move_id: int, value: Value, fidelity: float | None = None) -> None:
        """Tell the value of a move, None if it failed, and its fidelity, None for a full run."""

    def config_of(self, move_id: int) -> dict[str, Any] | None:
        """Return the configuration of a move; None once it has a result."""

    def enqueue(self, point: Mapping[str, Any]) -> None:
        """Suggest a configuration, or part of one, next."""

    def add_evaluated(self, config: Mapping[str, Any], value: Value, fidelity: float | None = None) -> None:
        """Learn from a run made elsewhere."""

    def exhausted(self) -> bool:
        """Return True if every configuration of a finite space has been suggested."""

    def get_state(self) -> dict[str, Any]:
        """Return the whole state as JSON values."""
