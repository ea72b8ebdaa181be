"""Cells of a user's table as labels: 0/1 cells of label columns, and cells that list labels.

A list of labels comes in many forms: in JSON Lines or Parquet as a list; in CSV as the text that pandas writes for a
list, tuple or set, as Label Studio's ``{"choices": [...]}``, or as names with a separator between them. Anything else
is refused: read as a name, ``{'pain', 'cough'}`` would become a label of its own.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections import Counter
from collections.abc import Iterable
from itertools import pairwise
from typing import Any

TRUE = {"1", "1.0", "true"}
FALSE = {"0", "0.0", "false"}
MAX_LABEL_CHARACTERS = 80  # longer ones are text in the wrong column
CHOICES = "choices"  # Label Studio's key for the labels of a document

_NUMBER = re.compile(r"[-+]?\d{1,9}(\.\d{1,9})?")  # short enough to be shown: it can't be a text
_BRACKETED = re.compile(r"\[.*\]|\{.*\}|(set|frozenset|tuple|list|array|dict)\(.*\)", re.DOTALL)
_EMPTY_SETS = {"set()", "frozenset()"}
_WRAPPED_SET = re.compile(r"frozenset\((\{.*\})\)", re.DOTALL)
_LINE_SEPARATORS = ("\n", "\t")  # no name of a label contains them
_SEPARATORS = (",", "|", ";", "#", *_LINE_SEPARATORS, " ")


class CellError(ValueError):
    """A cell that can't be read. The message states the rule, and never shows the cell."""


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN or an empty text."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


def parse_binary(value: Any) -> bool:
    """Read a cell of a label column: 1 or true, 0 or false, as a number, a boolean or text.

    Raises:
        CellError: If it is something else.
    """
    text = str(value).strip().lower()
    if text in TRUE or text in FALSE:
        return text in TRUE
    if is_missing(value) or text == "nan":
        raise CellError("must hold 0 or 1; missing or NaN")
    received = value if isinstance(value, int | float) or _NUMBER.fullmatch(text) else type(value).__name__
    raise CellError(f"must hold 0 or 1; got {received}")


def parse_labels(value: Any, separator: str) -> frozenset[str]:
    """Read a cell that lists labels.

    Args:
        value: The cell. An empty text and an empty list hold no labels.
        separator: Text between labels, where the cell is plain text.

    Raises:
        CellError: If the cell is missing or is none of the forms above, or a label is empty, too long or not a name.

    Example:
        >>> sorted(parse_labels("pain; cough", ";"))
        ['cough', 'pain']
        >>> sorted(parse_labels("{'pain', 'cough'}", ";"))
        ['cough', 'pain']
    """
    if is_missing(value) and value != "":
        raise CellError("must hold labels, or an empty list; missing or NaN")
    items = _items(value, separator)
    if any(isinstance(item, bool) for item in items) or _is_multi_hot(items):
        raise CellError(
            "must hold names of labels; got a list of 0 and 1 (make a column for each label, see data.label_columns)"
        )
    labels = frozenset(str(item).strip() for item in items if isinstance(item, str | int))
    if any(not isinstance(item, str | int) for item in items) or "" in labels:
        raise CellError("labels must be non-empty strings")
    if any(len(label) > MAX_LABEL_CHARACTERS for label in labels):
        raise CellError(f"labels must have at most {MAX_LABEL_CHARACTERS} characters")
    return labels


def split_plain_text(value: Any, separator: str) -> list[str]:
    """Split a cell of plain text at the separator; an empty list for a cell of another form."""
    if not isinstance(value, str) or _is_literal(value.strip()):
        return []
    return [label.strip() for label in value.split(separator) if label.strip()]


def _items(value: Any, separator: str) -> list[Any]:
    """Return what a cell lists, unchecked."""
    if isinstance(value, str) and _is_literal(value.strip()):
        value = _parse_literal(value.strip())
    elif isinstance(value, str):
        return split_plain_text(value, separator)
    if isinstance(value, dict) and value.keys() == {CHOICES}:
        value = value[CHOICES]
    return list(value) if isinstance(value, list | tuple | set) else [value]


def _is_literal(text: str) -> bool:
    """Return whether a text is written as a list, tuple, set or mapping, and not as names.

    Round brackets alone don't decide: ``(other)`` is a name. They hold a tuple if they are empty or hold quotes.
    """
    if _BRACKETED.fullmatch(text):
        return True
    return text.startswith("(") and text.endswith(")") and (not text[1:-1].strip() or text[1:2] in "'\"")


def _parse_literal(text: str) -> Any:
    """Parse the text of a list, tuple, set or mapping: JSON if it is that, or else Python.

    JSON comes first since it pairs the escaped surrogates that it writes for an emoji, and Python doesn't.
    """
    if text in _EMPTY_SETS:
        return []
    text = _WRAPPED_SET.sub(r"\1", text)
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        raise CellError("must hold lists; malformed") from None
    if _has_adjacent_strings(text):
        raise CellError("must have commas between labels; got none")
    return value


def _has_adjacent_strings(source: str) -> bool:
    """Return whether strings have no comma between them: Python reads NumPy's ``['a' 'b']`` as one string, ``ab``."""
    if not re.search(r"""['"]\s*['"]""", source):
        return False
    types = [token.type for token in tokenize.generate_tokens(io.StringIO(source).readline)]
    types = [type_ for type_ in types if type_ != tokenize.NL]
    return any(first == second == tokenize.STRING for first, second in pairwise(types))


def _is_multi_hot(items: Iterable[Any]) -> bool:
    """Return whether a list says of each label in turn if a document has it: 0 and 1, one of them repeated."""
    digits = [str(item).strip() for item in items if isinstance(item, str | int | float)]
    return len(set(digits)) < len(digits) and set(digits) <= {"0", "1", "0.0", "1.0"}


def find_separator(labels: Iterable[str]) -> tuple[str, frozenset[str]] | None:
    """Find a separator that joins several labels in what was read as one label, such as ``pain,cough``.

    Such a compound is recognised by its parts, which recur: as labels of their own, or in other compounds. A name that
    only contains a comma, such as ``Diabetes mellitus, type 1``, is not a compound.

    Args:
        labels: Labels of plain text cells, as they were read.

    Returns:
        The separator and the compounds, or None.
    """
    names = frozenset(labels)
    for separator in _SEPARATORS:
        parts = {name: _parts(name, separator) for name in names}
        joined = frozenset(name for name in names if len(parts[name]) > 1)
        single = names - joined
        compounds = frozenset(name for name in joined if single.issuperset(parts[name]))
        if separator == " ":  # "chest pain" is a name, unless all names of several words consist of other labels
            is_separator = compounds == joined
        elif separator in _LINE_SEPARATORS or _parts_recur([parts[name] for name in joined]):
            is_separator, compounds = True, joined
        else:
            is_separator = True
        if is_separator and compounds:
            return separator, compounds
    return None


def _parts(name: str, separator: str) -> list[str]:
    return [part.strip() for part in name.split(separator) if part.strip()]


def _parts_recur(compounds: list[list[str]]) -> bool:
    """Return whether every part is in two compounds or more, and there are fewer parts than compounds."""
    counts = Counter(part for parts in compounds for part in set(parts))
    return 1 < len(counts) < len(compounds) and min(counts.values()) > 1
