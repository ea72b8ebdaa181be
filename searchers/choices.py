"""Comparison of the choices of a parameter, which may be any values."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def same(left: Any, right: Any) -> bool:
    """Return True if two choices are equal and of one type: ``1``, ``1.0`` and ``True`` are three choices.

    Values that can't be compared are the same only if they are one object.
    """
    if left is right:
        return True
    if isinstance(left, (list, tuple)) and type(left) is type(right):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    if isinstance(left, np.ndarray) and isinstance(right, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    try:
        return type(left) is type(right) and bool(left == right)
    except (TypeError, ValueError):
        return False


def distinct(choices: Iterable[Any]) -> tuple[Any, ...]:
    """Return choices without repeats: to a search, a repeated value would be two configurations."""
    distinct: list[Any] = []
    buckets: dict[Any, list[Any]] = {}  # distinct choices by type and hash, so that few need comparing
    for choice in choices:
        try:
            key = type(choice), hash(choice)
        except TypeError:
            key = type(choice), 0
        bucket = buckets.setdefault(key, [])
        if not any(same(choice, other) for other in bucket):
            bucket.append(choice)
            distinct.append(choice)
    return tuple(distinct)


def listed(choices: Sequence[Any]) -> str:
    """Return choices as words of an error message."""
    if len(choices) <= 20:
        return f"one of {list(choices)!r}"
    return f"one of {len(choices)} choices, {', '.join(map(repr, choices[:3]))} to {choices[-1]!r}"


def same_in_json(left: Any, right: Any) -> bool:
    """Return True if two choices are the same but for what JSON and its readers change."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        return same(list(left), list(right))
    return isinstance(left, (int, float)) and isinstance(right, (int, float)) and left == right
