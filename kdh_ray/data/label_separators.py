"""Separators other than the one that is set: several labels that were read as one.

A public corpus of tweets, read with ``;`` where blanks separate its 11 labels, has 70 labels such as ``conspiracy
country``. Such a compound is recognised by its parts, which recur: as labels of their own, or in other compounds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

_LINE_SEPARATORS = ("\n", "\t")  # no name of a label contains them
_USUAL = (",", "|", ";", "#", *_LINE_SEPARATORS)

Parts = Mapping[str, Sequence[str]]
"""Name -> what a separator makes of it."""


def find_separator(labels: Iterable[str], known: Iterable[str] = ()) -> tuple[str, frozenset[str]] | None:
    """Find a separator that joins several labels in what was read as one label, such as ``pain,cough``.

    A name that only contains a comma, such as ``Diabetes mellitus, type 1``, is not a compound.

    Args:
        labels: Labels of plain text cells, as they were read.
        known: Names that certainly are one label.

    Returns:
        The separator and the compounds, or None.
    """
    certain = frozenset(known)
    names = frozenset(labels) | certain
    for separator in (*_USUAL, *_other_separators(names), " "):
        parts = {name: parts for name in names - certain if len(parts := _split(name, separator)) > 1}
        compounds = _compounds(parts, names - parts.keys(), separator)
        if compounds:
            return separator, compounds
    return None


def _other_separators(names: frozenset[str]) -> list[str]:
    """Return what stands between two names inside another one, the most frequent first: a slash, " and ", "<br>"."""
    between = Counter(
        name[end:start] if name[end:start].strip().isalnum() else name[end:start].strip()
        for name in names
        for end in range(1, len(name))
        if name[:end].rstrip() in names and not name[end].isalnum()
        for start in range(end + 1, len(name))
        if name[start:].lstrip() in names and not name[start - 1].isalnum()
    )
    candidates = sorted((each for each in between if each.strip()), key=lambda each: (-between[each], each))
    return [each for each in candidates if each not in _USUAL and not any(name in each for name in names)]


def _split(name: str, separator: str) -> list[str]:
    return [part.strip() for part in name.split(separator) if part.strip()]


def _compounds(parts: Parts, single: frozenset[str], separator: str) -> frozenset[str]:
    """Return the names that consist of several labels.

    Args:
        parts: What the separator makes of the names that contain it.
        single: The other names.
        separator: What may be a separator.
    """
    joined = frozenset(parts)
    if separator in _LINE_SEPARATORS:
        return joined
    of_labels = frozenset(name for name in joined if single.issuperset(parts[name]))
    if separator == " ":  # "chest pain" is a name, unless most names of several words consist of other labels
        is_separator = of_labels == joined or len(of_labels) >= max(2, len(joined) / 2)
        return (joined if is_separator or _parts_recur(parts) else frozenset()) if joined else joined
    if separator in _USUAL and _parts_recur(parts):
        return joined
    return of_labels


def _parts_recur(parts: Parts) -> bool:
    """Return whether names are mixed from few parts, which recur in any place.

    ``Diabetes, type 1``, ``Diabetes, type 2`` and ``Obesity, type 1`` have parts that recur, but each in its own place.
    """
    counts = Counter(part for name in parts for part in set(parts[name]))
    recurring = {part for part, count in counts.items() if count > 1}
    first = {name_parts[0] for name_parts in parts.values()}
    later = {part for name_parts in parts.values() for part in name_parts[1:]}
    mixed = sum(recurring.issuperset(name_parts) for name_parts in parts.values())
    return 1 < len(counts) < len(parts) and bool(first & later) and mixed > len(parts) / 2
