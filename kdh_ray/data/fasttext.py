"""Lines of fastText's supervised format: ``__label__pain __label__fever The text.``"""

from __future__ import annotations

import re
from typing import Any

LABEL_PREFIX = "__label__"
_LABEL = re.compile(rf"(?<!\S){LABEL_PREFIX}(\S+)[ \t]?")


def fasttext_row(line: str) -> dict[str, Any]:
    """Return the labels and the text of a line. As in fastText, a label may stand anywhere in it.

    Example:
        >>> fasttext_row("__label__pain __label__fever It hurts.")
        {'text': 'It hurts.', 'labels': ['pain', 'fever']}
    """
    return {"text": _LABEL.sub("", line).strip(), "labels": _LABEL.findall(line)}
