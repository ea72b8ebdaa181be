"""The one judge of what a trial may report as a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any


def number(value: Any) -> float | None:
    """Return a real number as a float; None for anything else.

    Any scalar is a number: Python's, NumPy's, a tensor without dimensions, NaN and infinities. None, text, lists and
    arrays, also those of one element, are not.

    >>> number(3), number("3"), number([3])
    (3.0, None, None)
    """
    if value is None or isinstance(value, (str, bytes, bytearray)) or getattr(value, "ndim", None):
        return None
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return None


def finite(value: Any) -> float | None:
    """Return a value as a finite float; None for anything else. Only finite scores are compared."""
    found = number(value)
    return found if found is not None and math.isfinite(found) else None


def fault(result: Mapping[str, Any], names: Iterable[str]) -> str:
    """Return in words why a result can't be recorded; empty if it can.

    Args:
        result: What a trial reported, flat.
        names: Names of the results that have to be numbers, where they are reported.
    """
    for name in names:
        if name in result and number(result[name]) is None:
            value = result[name]
            kind = "None" if value is None else f"a value of type {type(value).__name__}"
            return f"the objective must report a number as {name!r}; got {kind}"
    return ""
