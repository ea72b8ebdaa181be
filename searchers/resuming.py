"""Comparison of a saved search with the one that is to resume it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_same(who: str, saved: Mapping[str, Any], asked: Mapping[str, Any]) -> None:
    """Check that what a search is asked for is what was saved, as far as both are known.

    Args:
        who: Beginning of the message, before the name and the value that was saved.
        saved: Values by name; None if unknown.
        asked: Values by name; None for whatever was saved.

    Raises:
        ValueError: If a value differs.
    """
    for name, value in asked.items():
        if value is not None and saved[name] is not None and value != saved[name]:
            raise ValueError(f"{who} {name} {saved[name]!r}; it can't be resumed with {value!r}")


def saved_algorithm(state: Mapping[str, Any]) -> str | None:
    """Return the algorithm of a searcher's state; None for an unknown one other than a swarm's.

    States of earlier versions of this package don't name it, but only a swarm's has particles, as ``flown``.
    """
    return state.get("algorithm") or ("ParticleSwarm" if "flown" in state else None)
