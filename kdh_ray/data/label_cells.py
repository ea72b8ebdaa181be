"""One cell of a user's table that lists labels.

A list of labels comes in many forms: in JSON Lines or Parquet as a list; in CSV as the text that pandas writes for a
list, tuple or set, as Label Studio's ``{"choices": [...]}``, or as names with a separator between them. Anything else
is refused: read as a name, ``{'pain', 'cough'}`` would become a label of its own.

What the numbers of a cell mean depends on its column; see :mod:`kdh_ray.data.label_column`.
"""

from __future__ import annotations

import ast
import io
import json
import math
import re
import tokenize
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from kdh_ray.data.class_names import ClassName
from kdh_ray.data.label_spelling import tidy

MAX_LABEL_CHARACTERS = 80  # longer ones are text in the wrong column
CHOICES = "choices"  # Label Studio's key for the labels of a document
# Text that stands for a missing value: pandas reads these as NaN, and writes some of them.
MISSING_WORDS = frozenset(("nan", "NaN", "None", "null", "NULL", "<NA>", "NA", "N/A", "n/a", "#N/A", "NaT"))
MULTI_HOT = (
    "must hold names of labels; got a list of 0 and 1 (name the labels in data.label_names, in the order of the"
    " list, or make a column for each label, see data.label_columns)"
)

_BRACKETED = re.compile(
    r"\[.*\]|\{.*\}|(set|frozenset|tuple|list|array|dict)\(.*\)|[A-Za-z_][\w.]*\([\[{(].*\)", re.DOTALL
)  # the last is how Index and other types of pandas write themselves
_EMPTY_SETS = {"set()", "frozenset()"}
_WRAPPED_SET = re.compile(r"frozenset\((\{.*\})\)", re.DOTALL)
_NUMPY_NUMBERS = re.compile(r"\[(\s*(\d+\.?\d*|True|False))(\s+(\d+\.?\d*|True|False))+\s*\]")  # no commas
_BITS = re.compile(r"[01](\.0)?(\s*[\s,;|#]\s*[01](\.0)?)+")  # "1 0 1" and "1,0,1", whatever the separator
_NOT_A_NAME = re.compile(r"-\d+(\.\d+)?|0?\.\d*[1-9]\d*")  # a probability, or the -1 of a missing class


class CellError(ValueError):
    """A cell that can't be read. The message states the rule, and never shows the cell."""


def is_missing(value: Any) -> bool:
    """Return whether a cell is empty: None, NaN or an empty text."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or value == ""


def says_missing(value: Any) -> bool:
    """Return whether a value is None, NaN, or a word for it. An empty text is none: it lists no labels."""
    if isinstance(value, str):
        return value.strip() in MISSING_WORDS and not isinstance(value, ClassName)
    return is_missing(value)


def is_blank(value: Any) -> bool:
    """Return whether a cell is empty or holds only white space."""
    return is_missing(value) or (isinstance(value, str) and not value.strip())


def is_plain_text(value: Any) -> bool:
    """Return whether a cell is names with separators, and not a list or the text of one."""
    return isinstance(value, str) and not isinstance(value, ClassName) and not _is_literal(value.strip())


def list_items(value: Any, separator: str) -> list[Any]:
    """Return what a cell lists: names as they are written, numbers, and whatever else is in it.

    Args:
        value: The cell.
        separator: Text between labels, where the cell is plain text.

    Raises:
        CellError: If the cell is text that looks like a list and is none.
    """
    if isinstance(value, str) and not isinstance(value, ClassName):
        text = _unquoted(value.strip())
        if not _is_literal(text):
            _check_brackets(text)
            parts = re.findall(r"[01]", re.sub(r"\.0", "", text)) if _BITS.fullmatch(text) else text.split(separator)
            return [part.strip() for part in parts if part.strip()]
        value = _parse_literal(text)
    if isinstance(value, list) and value == [""]:  # Python's "".split(";")
        return []
    if isinstance(value, list) and value and all(_is_choices(item) for item in value):  # one for each annotated region
        return [label for item in value for label in _choices(item)]
    return _choices(value) if _is_choices(value) else list(value) if isinstance(value, list | tuple | set) else [value]


def check_labels(items: Sequence[Any]) -> list[str]:
    """Return the labels that a cell lists, as text.

    Raises:
        CellError: If a label is empty, too long or not a name.

    Example:
        >>> check_labels(list_items("pain; cough", ";"))
        ['pain', 'cough']
        >>> check_labels(list_items("['pain', 'cough']", ";"))
        ['pain', 'cough']
    """
    if is_multi_hot(items):
        raise CellError(MULTI_HOT)
    whole = [int(item) if isinstance(item, float) and item.is_integer() else item for item in items]
    labels = [str(item).strip() for item in whole if isinstance(item, str | int)]
    if len(labels) < len(items) or any(not tidy(label) for label in labels):
        raise CellError("labels must be non-empty strings")
    if any(_NOT_A_NAME.fullmatch(label) for label in labels):
        raise CellError("labels must be names; got a negative number or a fraction, such as a probability")
    if any(len(label) > MAX_LABEL_CHARACTERS for label in labels):
        raise CellError(f"labels must have at most {MAX_LABEL_CHARACTERS} characters")
    return labels


def is_multi_hot(items: Sequence[Any]) -> bool:
    """Return whether a list says of each label in turn if a document has it: booleans, or 0 and 1, one repeated."""
    if any(isinstance(item, bool) for item in items):
        return True
    digits = [str(item).strip() for item in items if isinstance(item, str | int | float)]
    return len(set(digits)) < len(digits) and set(digits) <= {"0", "1", "0.0", "1.0"}


def _is_choices(value: Any) -> bool:
    return isinstance(value, dict) and value.keys() == {CHOICES}


def _choices(value: dict[str, Any]) -> list[Any]:
    """Return the labels of Label Studio's ``{"choices": ["a", "b"]}`` or ``{"choices": "a"}``."""
    labels = value[CHOICES]
    return labels if isinstance(labels, list) else [labels]


def _unquoted(text: str) -> str:
    """Return the list in a text that was written as JSON twice; any other text as it is."""
    if not text.startswith('"') or not text.endswith('"'):
        return text
    try:
        inner = json.loads(text)
    except ValueError:
        return text
    return inner.strip() if isinstance(inner, str) and _is_literal(inner.strip()) else text


def _check_brackets(text: str) -> None:
    """Refuse a list whose other end is missing, as in a cell that was cut off."""
    if text.startswith(("[", "{")) and text.count(text[0]) != text.count("]" if text[0] == "[" else "}"):
        raise CellError("must hold lists; malformed")


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
    if _NUMPY_NUMBERS.fullmatch(text):
        text = f"[{', '.join(text[1:-1].split())}]"
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
