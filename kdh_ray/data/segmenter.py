"""Rules that divide a raw text into parts: sentences, lines, or none.

A classifier whose training data has labelled parts combines the logits of a text's parts. It needs parts in every
text that it reads, also where nobody has marked any. The rule is stored on its card, so that the same text is always
divided in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from kdh_ray.errors import DataError

Rule = Literal["sentences", "lines", "none"]
VERSION = 1
"""Raised whenever a rule divides texts differently."""


@dataclass(frozen=True)
class Segmenter:
    """A rule that divides raw texts into parts.

    Attributes:
        rule: ``sentences`` (by sentencex, Wikimedia's splitter for some 300 languages), ``lines`` (every line that is
            not blank) or ``none`` (a text is one part).
        language: ISO 639 code; sentencex falls back to a related language or to English for codes that it doesn't know.
        version: Version of the rules.

    Example:
        >>> Segmenter("sentences").spans(["Cells died. Tumours shrank."])[0].tolist()
        [[0, 11], [12, 27]]
    """

    rule: Rule = "sentences"
    language: str = "en"
    version: int = VERSION

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]] | None:
        """Return the parts of each text, without the white space around them; None for the rule ``none``.

        Returns:
            One array per text, (n_segments, 2) int32: half-open character ranges.

        Raises:
            DataError: If a text holds half a surrogate pair, which is not Unicode text.
        """
        if self.rule == "none":
            return None
        divide = _sentences if self.rule == "sentences" else _lines
        return [_trimmed(text, divide(text, self.language)) for text in texts]


def _sentences(text: str, language: str) -> list[tuple[int, int]]:
    from sentencex import get_sentence_boundaries

    try:
        found = get_sentence_boundaries(language, text)
    except UnicodeEncodeError:
        raise DataError("a text holds half a surrogate pair, which is not Unicode text") from None
    return [(part["start_index"], part["end_index"]) for part in found]


def _lines(text: str, language: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^\n]+", text)]


def _trimmed(text: str, parts: list[tuple[int, int]]) -> NDArray[np.int32]:
    spans = []
    for begin, end in parts:
        part = text[begin:end]
        if part.strip():
            spans.append((begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())))
    return np.array(spans, dtype=np.int32).reshape(-1, 2)
