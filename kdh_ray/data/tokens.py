"""Documents as token ids: made once per corpus and tokenizer, kept as Arrow, memory-mapped by whoever needs them."""

from __future__ import annotations

import hashlib
import os
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Segments, Split

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

OUTSIDE = -1  # segment number of a token that belongs to no segment


@dataclass(frozen=True)
class Tokens:
    """Ragged token ids of one split; document i is ``ids[offsets[i]:offsets[i + 1]]``.

    Attributes:
        ids: (n_tokens,) int32.
        segments: (n_tokens,) int32, the number of the document's segment that a token belongs to, or -1.
        offsets: (n_documents + 1,) int64.
        fingerprint: Of texts, segments, tokenizer and maximum length.
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.int32]
    offsets: NDArray[np.int64]
    fingerprint: str

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n_documents,) tokens of each document."""
        return np.diff(self.offsets)

    def cut(self, max_tokens: int, tail: int) -> Tokens:
        """The same documents, none longer than ``max_tokens``, as if they had been tokenised so.

        Args:
            max_tokens: Special tokens included.
            tail: Special tokens that end each document, which are kept; see ``trailing_specials``.
        """
        lengths = np.minimum(self.lengths, max_tokens)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        begins, ends = (np.repeat(bound, lengths) for bound in (self.offsets[:-1], self.offsets[1:]))
        place = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
        from_end = np.repeat(lengths, lengths) - place
        source = np.where(from_end <= tail, ends - from_end, begins + place)
        return Tokens(self.ids[source], self.segments[source], offsets, f"{self.fingerprint}-{max_tokens}")

    def followed_by(self, other: Tokens) -> Tokens:
        """These documents and then those of ``other``."""
        return Tokens(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.segments, other.segments]),
            np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
            hashlib.sha256(f"{self.fingerprint} {other.fingerprint}".encode()).hexdigest(),
        )


def tokenize(
    split: Split, tokenizer: PreTrainedTokenizerBase, max_tokens: int, cache: Path | None = None, batch: int = 1000
) -> Tokens:
    """Token ids of a split, cut at ``max_tokens`` (special tokens included).

    Args:
        split: The documents.
        tokenizer: A fast tokenizer; its character offsets say which segment a token belongs to.
        max_tokens: Longest document, in tokens.
        cache: Folder in which tokens are kept from one call to the next.
        batch: Documents a call of the tokenizer.
    """
    fingerprint = _fingerprint(split, tokenizer, max_tokens)
    file = None if cache is None else cache / f"tokens-{fingerprint[:20]}.arrow"
    if file is not None and (known := _read(file, fingerprint)) is not None:
        return known
    ids: list[NDArray[np.int32]] = []
    owners: list[NDArray[np.int32]] = []
    for start in range(0, len(split), batch):
        encoded = tokenizer(
            list(split.texts[start : start + batch]),
            truncation=True,
            max_length=max_tokens,
            return_offsets_mapping=True,
            return_attention_mask=False,
            return_token_type_ids=False,
        )
        for row, (row_ids, spans) in enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)):
            ids.append(np.asarray(row_ids, dtype=np.int32))
            owners.append(_owners(np.asarray(spans, dtype=np.int32), split.segments, start + row))
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in ids])]).astype(np.int64)
    empty = np.zeros(0, dtype=np.int32)
    tokens = Tokens(np.concatenate([empty, *ids]), np.concatenate([empty, *owners]), offsets, fingerprint)
    if file is not None:
        _write(file, tokens)
    return tokens


def trailing_specials(tokenizer: PreTrainedTokenizerBase) -> int:
    """Special tokens that a tokenizer puts behind a text: one ([SEP]) for encoders like BERT."""
    mask = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    return len(mask) - 1 - max(place for place, special in enumerate(mask) if not special)


def _owners(spans: NDArray[np.int32], segments: Segments | None, document: int) -> NDArray[np.int32]:
    """The segment of each token: the one in whose character range its last character stands, or else its first.

    Some tokenizers count the space before a word to its token, and some a line end to the full stop before it.
    """
    if segments is None or len(segments.spans[document]) == 0:
        return np.full(len(spans), OUTSIDE, dtype=np.int32)
    ranges = segments.spans[document]

    def owner(characters: NDArray[np.int32]) -> NDArray[np.int64]:
        found = np.searchsorted(ranges[:, 0], characters, side="right") - 1
        inside = (found >= 0) & (characters < ranges[np.maximum(found, 0), 1])
        return np.where(inside, found, OUTSIDE)

    last = owner(spans[:, 1] - 1)
    owners = np.where(last == OUTSIDE, owner(spans[:, 0]), last)
    return np.where(spans[:, 1] > spans[:, 0], owners, OUTSIDE).astype(np.int32)


_OWNERS = b"2"  # the rule of `_owners`, raised with it: what was cached by another isn't taken


def _fingerprint(split: Split, tokenizer: PreTrainedTokenizerBase, max_tokens: int) -> str:
    digest = hashlib.sha256(tokenizer_fingerprint(tokenizer).encode())
    digest.update(repr((max_tokens, list(split.ids))).encode())
    for text in split.texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    if split.segments is not None:
        digest.update(_OWNERS)
        for spans in split.segments.spans:
            digest.update(np.ascontiguousarray(spans, dtype=np.int32).tobytes() + b"|")
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of a fast tokenizer's whole definition (vocabulary, normalisation, special tokens).

    Truncation and padding are left out: a call of the tokenizer sets them, which must not change its identity.
    """
    return _definition_fingerprint(tokenizer.backend_tokenizer.to_str())


@lru_cache(maxsize=8)  # a vocabulary takes a tenth of a second, and each split of each stage asks
def _definition_fingerprint(text: str) -> str:
    import json

    definition: dict[str, Any] = json.loads(text)
    definition.pop("truncation", None)
    definition.pop("padding", None)
    return hashlib.sha256(json.dumps(definition, sort_keys=True).encode()).hexdigest()


def _write(file: Path, tokens: Tokens) -> None:
    import pyarrow as pa

    table = pa.table(
        {
            name: pa.LargeListArray.from_arrays(pa.array(tokens.offsets), pa.array(values))
            for name, values in (("ids", tokens.ids), ("segments", tokens.segments))
        }
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=file.name)
    os.close(handle)
    try:
        with pa.OSFile(temporary, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table.combine_chunks())
        os.replace(temporary, file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _read(file: Path, fingerprint: str) -> Tokens | None:
    """What is kept in ``file``; None where there is none, or only part of one, as a machine's crash can leave it."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    ids, segments = (table[name].combine_chunks() for name in ("ids", "segments"))
    return Tokens(ids.values.to_numpy(), segments.values.to_numpy(), ids.offsets.to_numpy(), fingerprint)
