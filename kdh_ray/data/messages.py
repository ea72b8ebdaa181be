"""Wording of error messages about data, which name documents and columns and never show what they hold.

The first row of a file without a header becomes its column names: a patient's id, a name, a diagnosis. So messages show
column names only where :func:`is_recognisable_header` says so, and the number of columns elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches

from kdh_ray.errors import DataError

MAX_COLUMNS_SHOWN = 20
MAX_KINDS_OF_FAULTS = 8  # in one message

# A short word without spaces, as programs name columns. Dates, codes such as I10.9, and text are none.
_COLUMN_NAME = re.compile(r"[^\W\d]\w{0,30}")
# Names that columns have in files of text, and that values hardly ever are: doc_id, note_text, labels, split.
_COLUMN_WORD = re.compile(r"(\w+_)?(id|ids|pmid|text|texts|label|labels|split|target|targets)", re.IGNORECASE)


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


@dataclass
class Faults:
    """Faults of many rows, collected by the rule that they break.

    Attributes:
        rows: Rule -> names of the rows that break it; none where a whole column breaks it.
        columns: Rule -> label columns that break it, where the rule is about several.
        hints: Ways to mend them, which the message says once.
    """

    rows: dict[str, list[str]] = field(default_factory=dict)
    columns: dict[str, list[str]] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)

    def add(self, rule: str, row: str | None = None, hint: str = "", column: str | None = None) -> None:
        """Note that ``row``, or a whole column, breaks ``rule``; the message puts label columns before the rule."""
        self.rows.setdefault(rule, []).extend([] if row is None else [row])
        if column is not None and column not in self.columns.setdefault(rule, []):
            self.columns[rule].append(column)
        if hint and hint not in self.hints:
            self.hints.append(hint)

    def check(self, source: object) -> None:
        """Raise a DataError of one line, with a clause per rule, if any rule is broken."""
        if not self.rows:
            return
        clauses = [self._clause(rule, rows) for rule, rows in self.rows.items()]
        further = len(clauses) - MAX_KINDS_OF_FAULTS
        if further > 0:
            clauses = [*clauses[:MAX_KINDS_OF_FAULTS], f"and {further} faults of other kinds"]
        raise DataError(f"{source}: {'; '.join([*clauses, *self.hints])}")

    def _clause(self, rule: str, rows: Sequence[str]) -> str:
        subject = f"{listing(self.columns[rule], 'label column')} " if rule in self.columns else ""
        return f"{subject}{rule}" + (f": {listing(list(dict.fromkeys(rows)), 'row')}" if rows else "")


def is_recognisable_header(names: Sequence[str], are_json_keys: bool = False) -> bool:
    """Return whether names are certain to be a header, and not the first row of a file without one.

    Every name must look like a column's: a short word of letters, digits and underscores. In addition, one must be a
    word that values hardly ever are, such as ``id``, ``note_text`` or ``labels``; the keys of JSON objects need none,
    since they are never a row of values. A header in doubt counts as data: its owner can look at the file.

    Args:
        names: Column names; empty ones, which spreadsheets add at the end, are ignored.
        are_json_keys: Whether the names come from JSON objects.
    """
    named = [name for name in names if name]
    if not named or not all(_COLUMN_NAME.fullmatch(name) for name in named):
        return False
    return are_json_keys or any(_COLUMN_WORD.fullmatch(name) for name in named)


def check_columns_exist(source: str, wanted: Iterable[str], names: Sequence[str], are_json_keys: bool = False) -> None:
    """Check that a file has columns.

    Args:
        source: The file, for the message.
        wanted: Names of the columns that are needed, from the configuration.
        names: Names of the columns that the file has.
        are_json_keys: Whether these come from JSON objects.

    Raises:
        DataError: If a column is missing. Shows the names of the others only if they are certain to be a header.
    """
    if reason := missing_columns(wanted, names, are_json_keys):
        raise DataError(f"{source}: {reason}")


def missing_columns(wanted: Iterable[str], names: Sequence[str], are_json_keys: bool = False) -> str:
    """Return which columns a file lacks and which it has, as in :func:`check_columns_exist`; empty if it lacks none."""
    named = [name for name in names if name]
    missing = [name for name in wanted if name not in named]
    return f"has no {listing(missing, 'column')}; {_describe(missing[0], named, are_json_keys)}" if missing else ""


def _describe(missing: str, names: Sequence[str], are_json_keys: bool) -> str:
    """Describe a file's columns: by name where they are certain to be a header, else by number."""
    count = f"it has {len(names)} {'column' if len(names) == 1 else 'columns'}"
    if is_recognisable_header(names, are_json_keys):
        close = get_close_matches(missing, names, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        more = ", ..." if len(names) > MAX_COLUMNS_SHOWN else ""
        return f"{count}: {', '.join(names[:MAX_COLUMNS_SHOWN])}{more}{hint}"
    hint = separator_hint(names) or "whose names are not shown: the first row may be data; a file needs a header"
    return f"{count}, {hint}"


def separator_hint(names: Sequence[str]) -> str:
    """Return a hint where a file's one column holds another separator than its format's; else nothing."""
    found = [separator for separator in (";", "|", "\t") if len(names) == 1 and separator in names[0]]
    if not found:
        return ""
    return f"as its fields seem to be separated by {found[0]!r}; see data.delimiter"
