"""One spelling for each label: ``Pain``, ``pain`` and ``"pain "`` are one label, as nobody means three."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

_INVISIBLE = re.compile("[\u200b\u2060\ufeff\u00ad]")  # zero-width blanks and joiners, soft hyphens
_QUOTED = re.compile(r"""(["'])(.*)\1""", re.DOTALL)
SHOWN = 3  # labels in a notice


@lru_cache(maxsize=100_000)
def tidy(label: str) -> str:
    """Return a label in Unicode's composed form, with single blanks, and without quotes or fastText's prefix.

    Example:
        >>> tidy(' "chest   pain" ')
        'chest pain'
    """
    text = " ".join(_INVISIBLE.sub("", unicodedata.normalize("NFC", label)).split())
    quoted = _QUOTED.fullmatch(text)
    return (quoted[2].strip() if quoted else text).removeprefix("__label__")


def one_spelling(labels: Iterable[str], known: Sequence[str] = ()) -> dict[str, str]:
    """Choose one spelling for labels that differ only in case, spacing, quotes or Unicode form.

    Args:
        labels: Every label of every document, as it is written.
        known: Names that stay as they are, whatever else is written; labels take their spelling.

    Returns:
        Label as it is written -> the known name, or else its most frequent spelling.
    """
    counts = Counter(labels)
    tidied = {label: tidy(label) for label in counts}
    known_spellings: dict[str, str] = {}
    for name in known:
        key = tidy(name).lower()
        known_spellings[key] = "" if key in known_spellings else name  # twins among the known names attract nobody
    groups: dict[str, Counter[str]] = {}
    for label, count in counts.items():
        groups.setdefault(tidied[label].lower(), Counter())[tidied[label]] += count
    usual = {
        key: min(group, key=lambda spelling: (-group[spelling], spelling != spelling.lower(), spelling))
        for key, group in groups.items()
    }
    names = frozenset(known)
    return {
        label: label if label in names else tidied[label] if tidied[label] in names
        else known_spellings.get(tidied[label].lower()) or usual[tidied[label].lower()]
        for label in counts
    }  # fmt: skip


def spelling_notice(spellings: dict[str, str]) -> str:
    """Return a line that says which labels are spelt otherwise than in the files; empty if none is."""
    changed = [f"{label!r} as {name!r}" for label, name in sorted(spellings.items()) if label != name]
    if not changed:
        return ""
    more = f", and {len(changed) - SHOWN} more" if len(changed) > SHOWN else ""
    return f"labels are read in one spelling: {', '.join(changed[:SHOWN])}{more}"
