"""The way from a raw text to the graph's input.

It mirrors ``kdh_ray.data.segmenter``, ``kdh_ray.data.tokens`` and ``kdh_ray.data.reading``, so that an exported
classifier reads a text as the original does. A test of kdh-ray compares the two on random texts: change both together.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_runtime.errors import TextError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

    from kdh_runtime.folder import Config

OUTSIDE = -1  # segment number of a token that belongs to no segment


@dataclass(frozen=True)
class Window:
    """A row of the graph's input: a document, or a part of a long one.

    Attributes:
        document: Number of the document.
        ids: (n_tokens,) token ids.
        segments: (n_tokens,) number of the window's segment that a token belongs to, or -1.
        first_segment: Number that segment 0 of the window has in the document.
    """

    document: int
    ids: NDArray[np.int64]
    segments: NDArray[np.int64]
    first_segment: int


class Reader:
    """Turns texts into windows.

    Args:
        tokenizer: Neither truncates nor pads.
        config: Of the exported classifier.
    """

    def __init__(self, tokenizer: Tokenizer, config: Config) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.head, self.tail = _special_tokens(tokenizer)

    def spans(self, texts: Sequence[str]) -> list[NDArray[np.int32]] | None:
        """Return the parts of each text, (n_segments, 2) character ranges; None for the rule ``none``."""
        if self.config.rule == "none":
            return None
        divide = _sentences if self.config.rule == "sentences" else _lines
        return [_trimmed(text, divide(text, self.config.language)) for text in texts]

    def windows(self, texts: Sequence[str], spans: Sequence[NDArray[np.int32]] | None) -> list[Window]:
        """Return the windows of all texts, in order; each has at most ``max_tokens`` tokens."""
        windows: list[Window] = []
        for document, encoding in enumerate(self.tokenizer.encode_batch(list(texts))):
            ids = np.asarray(encoding.ids, dtype=np.int64)
            characters = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2)
            owners = _owners(characters, None if spans is None else spans[document])
            for places in self._places(len(ids)):
                own = owners[places]
                inside = own != OUTSIDE
                first = int(own[inside].min()) if inside.any() else 0
                windows.append(Window(document, ids[places], np.where(inside, own - first, OUTSIDE), first))
        return windows

    def _places(self, length: int) -> list[NDArray[np.int64]]:
        """Return the places of each window's tokens in a row of ``length`` tokens.

        Every window has the special tokens of the whole row, and shares ``overlap`` tokens with its neighbour.
        """
        if length <= self.config.max_tokens:
            return [np.arange(length)]
        content = max(1, self.config.max_tokens - self.head - self.tail)
        step = max(1, content - min(self.config.overlap, content // 2))
        inner = length - self.head - self.tail
        begin, end = np.arange(self.head), np.arange(length - self.tail, length)
        starts = range(0, max(1, inner - content + step), step)
        bodies = [np.arange(self.head + start, self.head + min(start + content, inner)) for start in starts]
        return [np.concatenate([begin, body, end]) for body in bodies]


def checked(texts: Any) -> list[str]:
    """Return the texts as a list.

    Raises:
        TextError: If ``texts`` is not a sequence, such as one string, or an item is not Unicode text.
    """
    if isinstance(texts, str | bytes):
        raise TextError("predict takes a sequence of texts; got one: put it into a list")
    if not isinstance(texts, Iterable) or isinstance(texts, Mapping | Set) or getattr(texts, "ndim", 1) != 1:
        kind = type(texts).__name__  # a table's items are its columns' names, and a set has no order
        raise TextError(f"predict takes a sequence of texts, such as a list or a table's column; got {kind}")
    items = list(texts)
    for number, text in enumerate(items):
        if not isinstance(text, str):
            raise TextError(f"a text must be a string; got {type(text).__name__} at position {number}")
        try:
            text.encode()
        except UnicodeEncodeError:
            raise TextError(f"text {number} holds half a surrogate pair, which is not Unicode text") from None
    return items


def _special_tokens(tokenizer: Tokenizer) -> tuple[int, int]:
    """Return how many special tokens the tokenizer puts before and after a text: (1, 1) for encoders like BERT."""
    mask = tokenizer.encode("a").special_tokens_mask
    content = [place for place, special in enumerate(mask) if not special]
    if not content:
        return len(mask) // 2, len(mask) - len(mask) // 2
    return content[0], len(mask) - 1 - content[-1]


def _sentences(text: str, language: str) -> list[tuple[int, int]]:
    from sentencex import get_sentence_boundaries

    return [(part["start_index"], part["end_index"]) for part in get_sentence_boundaries(language, text)]


def _lines(text: str, language: str) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(r"[^\n]+", text)]


def _trimmed(text: str, parts: list[tuple[int, int]]) -> NDArray[np.int32]:
    """Return the parts that are not blank, without the white space around them."""
    spans = []
    for begin, end in parts:
        part = text[begin:end]
        if part.strip():
            spans.append((begin + len(part) - len(part.lstrip()), begin + len(part.rstrip())))
    return np.array(spans, dtype=np.int32).reshape(-1, 2)


def _owners(characters: NDArray[np.int32], spans: NDArray[np.int32] | None) -> NDArray[np.int64]:
    """Return the segment of each token: the one that holds its last character, or else its first.

    Args:
        characters: (n_tokens, 2) character range of each token; special tokens have an empty one.
        spans: (n_segments, 2) character range of each segment; None if texts are read whole.
    """
    if spans is None or len(spans) == 0:
        return np.full(len(characters), OUTSIDE, dtype=np.int64)

    def owner(places: NDArray[np.int32]) -> NDArray[np.int64]:
        candidate = np.searchsorted(spans[:, 0], places, side="right") - 1
        inside = (candidate >= 0) & (places < spans[np.maximum(candidate, 0), 1])
        return np.where(inside, candidate, OUTSIDE)

    last = owner(characters[:, 1] - 1)
    owners = np.where(last == OUTSIDE, owner(characters[:, 0]), last)
    return np.where(characters[:, 1] > characters[:, 0], owners, OUTSIDE)
