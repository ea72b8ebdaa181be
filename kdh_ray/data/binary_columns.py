"""Columns that say of one label whether a document has it: 0 and 1, true and false, yes and no, or an x."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from kdh_ray.config import DataConfig
from kdh_ray.data.class_names import ClassName
from kdh_ray.data.label_cells import says_missing
from kdh_ray.data.messages import Faults, listing

UNCERTAIN = "-1"  # CheXpert's labeller; datasets and others write it where a value is missing
NUMBERS: Mapping[str, bool] = {"1": True, "true": True, "0": False, "false": False}
VOCABULARIES: Sequence[Mapping[str, bool]] = (
    NUMBERS,
    {"yes": True, "no": False},
    {"y": True, "n": False},
    {"t": True, "f": False},
    {"positive": True, "negative": False},
    {"pos": True, "neg": False},
    {"present": True, "absent": False},
    *({mark: True, "": False} for mark in ("x", "\N{CHECK MARK}")),
)
"""Words for 1 and 0. A column keeps to one pair; where only 1 has a mark, a blank cell is 0."""
BLANK = "blank"
MARKS = (
    "0 and 1, or one pair of words throughout (yes and no, true and false, y and n, t and f, positive and negative,"
    " present and absent, or x and blank)"
)
WHOLE = "words are read where the whole column holds them: yes and no, true and false, or x and blanks"
READINGS = {"negative": "read as 0", "positive": "read as 1", "drop": "their documents dropped"}

_NUMBER = re.compile(r"[-+]?\d{1,9}(\.\d{1,9})?")
_SHOWN = re.compile(r"-?\d{1,2}")  # longer ones may identify somebody
MENDED = {
    "": ("missing or NaN", "data.missing: negative reads blank cells as 0, and drop leaves their documents out"),
    UNCERTAIN: ("got -1", "data.uncertain: negative reads -1 as 0, positive as 1, and drop leaves their documents out"),
}
"""Cell -> how a message calls it, and the setting that reads it."""


@dataclass
class BinaryColumns:
    """Reads columns of one label each, and counts what was not 0 or 1.

    Attributes:
        data: Says what missing and uncertain cells mean.
        faults: Receives what is wrong.
        counts: (kind of cell, reading) -> number of cells: ``("blank", "negative")``.
        words: Words for 1 and 0 -> the columns that use them.
    """

    data: DataConfig
    faults: Faults
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    words: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def read(self, column: str, rows: Sequence[str], cells: Sequence[Any]) -> list[bool | None]:
        """Return for each cell if its document has the label, or None where the document is to be dropped.

        Args:
            column: Name of the column, which is that of the label.
            rows: Names of the cells' rows, for messages.
            cells: The cells.
        """
        tokens = [_token(cell) for cell in cells]
        vocabulary, is_known = _vocabulary(tokens)
        classes = {cell.number: str(cell) for cell in cells if isinstance(cell, ClassName)}
        if classes and not any(word in vocabulary for word in tokens if word):
            tokens = [str(cell.number) if isinstance(cell, ClassName) else _token(cell) for cell in cells]
            self._note_words(column, classes.get(1, "class 1"), classes.get(0, "class 0"))
        elif vocabulary is not NUMBERS:
            yes, no = vocabulary
            self._note_words(column, yes, no)
        rule = _rule(vocabulary, is_known)
        return [
            vocabulary[token] if token in vocabulary else self._other(column, row, cell, token, rule)
            for row, cell, token in zip(rows, cells, tokens, strict=True)
        ]

    def notes(self) -> list[str]:
        """Return a line for each pair of words that stand for 1 and 0."""
        return [
            f"{listing(columns, 'label column')}: {yes!r} is 1 and {repr(no) if no else BLANK} is 0"
            for (yes, no), columns in self.words.items()
        ]

    def warnings(self) -> list[str]:
        """Return a line for each kind of cell that is neither 0 nor 1."""
        return [
            f"cells of label columns that are {kind}, {READINGS[reading]}: {count}"
            for (kind, reading), count in sorted(self.counts.items())
        ]

    def _note_words(self, column: str, yes: str, no: str) -> None:
        self.words.setdefault((yes, no), []).append(column)

    def _other(self, column: str, row: str, cell: Any, token: str, rule: str) -> bool | None:
        """Return what a cell means that is none of its column's words; note a fault if no setting says."""
        if token in ("", UNCERTAIN):
            reading = self.data.missing if token == "" else self.data.uncertain or self.data.missing
            if reading != "refuse":
                self.counts[token or BLANK, reading] += 1
                return None if reading == "drop" else reading == "positive"
        received, hint = MENDED.get(token) or _received(cell, token)
        hint = "" if rule == MARKS and hint == WHOLE else hint  # the rule says so
        self.faults.add(f"must hold {rule}; {received}", row, hint, column)
        return False


def _vocabulary(tokens: Sequence[str]) -> tuple[Mapping[str, bool], bool]:
    """Return the words that most cells hold, 0 and 1 if none is ahead of them; and whether any cell holds them."""
    counts = Counter(tokens)
    held = [sum(counts[word] for word in words if word) for words in VOCABULARIES]
    return VOCABULARIES[held.index(max(held))], any(held)


def _rule(vocabulary: Mapping[str, bool], is_known: bool) -> str:
    """Return what a column must hold, given the words that its cells hold most often, if any."""
    if vocabulary is not NUMBERS:
        return f"{' or '.join(word or BLANK for word in vocabulary)}, as most of its cells do"
    return "0 or 1" if is_known else MARKS


def _token(cell: Any) -> str:
    """Return a cell as a lower-case word, with ``1`` for 1.0; empty if it is missing."""
    return "" if says_missing(cell) else _word(str(cell))


@lru_cache(maxsize=10_000)  # a column repeats few words many times
def _word(text: str) -> str:
    word = text.strip().lower()
    return f"{float(word):g}" if _NUMBER.fullmatch(word) else word


def _received(cell: Any, token: str) -> tuple[str, str]:
    """Describe a cell without showing a text, nor a number that may be somebody's; return a hint as well."""
    if _NUMBER.fullmatch(token) and 0 < float(token) < 1:
        return "got a number between them, such as a probability", ""
    if _SHOWN.fullmatch(token):
        return f"got {token}", ""
    if not isinstance(cell, str):
        return f"got {type(cell).__name__}", ""
    return "got another word" if token.isalpha() else "got text that is no word", WHOLE
