"""Wording of error messages about data, which name documents and columns and never show what they hold."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def listing(names: Iterable[str], kind: str, shown: int = 3) -> str:
    """Name things of one kind in a few words: ``document 'a'`` or ``12 documents, first 'a', 'b', 'c'``.

    Args:
        names: Names of documents, labels or columns.
        kind: Noun in the singular.
        shown: Most names in the message.
    """
    quoted: Sequence[str] = [repr(name) for name in names]
    if len(quoted) == 1:
        return f"{kind} {quoted[0]}"
    if len(quoted) <= shown:
        return f"{kind}s {', '.join(quoted)}"
    return f"{len(quoted)} {kind}s, first {', '.join(quoted[:shown])}"
