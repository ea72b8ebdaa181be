"""Labels that carry more than a name: a value, a place in a list, brackets or markup.

Read as names, ``pain:0`` and ``pain:1`` would be two labels, of which each document has one.
"""

from __future__ import annotations

import re
from collections.abc import Collection

_MARKUP = re.compile(r"</?[A-Za-z][^<>]*>|&(#\d+|#x[0-9A-Fa-f]+|amp|lt|gt|quot|nbsp)\b")
_VALUE = re.compile(r"\S.*([:=]\s*(0|1|true|false|yes|no|\d?\.\d+)|\(\d?\.\d+\))", re.IGNORECASE)
_NUMBERED = re.compile(r"\d{1,2}[.)]\s*(\S.*)")


def surplus(names: Collection[str]) -> str:
    """Return in words what a column's labels carry besides names; empty if they are names.

    ``1. Infections`` and ``2. Injuries`` are names; ``1. pain`` and ``2. pain`` are one label in two places of a list.

    Args:
        names: Every label of the column.

    Example:
        >>> surplus(["pain:0", "pain:1", "fever:0"])
        'a value after each name'
        >>> surplus(["stage 0", "stage 1"])
        ''
    """
    if any(_MARKUP.search(name) for name in names):
        return "HTML"
    if names and all(_VALUE.fullmatch(name) for name in names):
        return "a value after each name"
    stems = [match[1].lower() for name in names if (match := _NUMBERED.fullmatch(name))]
    if len(stems) == len(names) > len(set(stems)):
        return "numbers before them"
    return "brackets around several of them" if _brackets_lists(names) else ""


def _brackets_lists(names: Collection[str]) -> bool:
    """Return whether brackets enclose lists: ``(pain, fever)``, or ``(pain`` and ``fever)`` where ; separates."""
    if names and all(name.startswith("(") and name.endswith(")") for name in names):
        return any("," in name for name in names)
    surplus_of_open = {(name.count("(") > name.count(")")) - (name.count("(") < name.count(")")) for name in names}
    return {-1, 1} <= surplus_of_open
