"""Documents as token ids: made once per corpus and tokenizer, stored as Arrow, memory-mapped by every reader.

Documents are tokenised whole. Training cuts them at a maximum length; inference reads longer ones in windows.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.data.corpus import Spans, Texts

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_ROWS_PER_CUT = 4096
OUTSIDE = -1  # segment number of a token that belongs to no segment


@dataclass(frozen=True)
class Tokens:
    """Ragged token ids; row i is ``ids[offsets[i]:offsets[i + 1]]``.

    A row is a document, or one of the windows of a document; see :meth:`windows`.

    Attributes:
        ids: (n_tokens,) int32.
        segments: (n_tokens,) int32, the number of the document's segment that a token belongs to, or -1.
        offsets: (n_rows + 1,) int64.
        fingerprint: Digest of texts, segments, tokenizer, and how the rows were cut.
        head: Special tokens that begin every row, such as [CLS].
        tail: Special tokens that end every row, such as [SEP].
        documents: (n_rows,) int64, the document of each row, in ascending order.
    """

    ids: NDArray[np.int32]
    segments: NDArray[np.int32]
    offsets: NDArray[np.int64]
    fingerprint: str
    head: int
    tail: int
    documents: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(n_rows,) tokens of each row."""
        return np.diff(self.offsets)

    @property
    def n_documents(self) -> int:
        """Number of documents, of which each has one row or more."""
        return int(self.documents[-1]) + 1 if len(self.documents) else 0

    def cut(self, max_tokens: int) -> Tokens:
        """Return the rows, none longer than ``max_tokens``, as if the tokenizer had truncated them.

        Args:
            max_tokens: Special tokens included; those at the end of a row are kept.
        """
        fingerprint = f"{self.fingerprint}-cut-{max_tokens}"
        lengths = np.minimum(self.lengths, max_tokens)
        if np.array_equal(lengths, self.lengths):
            return replace(self, fingerprint=fingerprint)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        ids, segments = (np.empty(offsets[-1], dtype=np.int32) for _ in range(2))
        for first in range(0, len(self), _ROWS_PER_CUT):  # the indices below take 40 bytes a token
            last = min(first + _ROWS_PER_CUT, len(self))
            own, begins = lengths[first:last], offsets[first:last]
            place = np.arange(begins[0], offsets[last]) - np.repeat(begins, own)
            from_end = np.repeat(own, own) - place
            starts, ends = (np.repeat(bound[first:last], own) for bound in (self.offsets[:-1], self.offsets[1:]))
            source = np.where(from_end <= self.tail, ends - from_end, starts + place)
            part = slice(begins[0], offsets[last])
            ids[part], segments[part] = self.ids[source], self.segments[source]
        return replace(self, ids=ids, segments=segments, offsets=offsets, fingerprint=fingerprint)

    def windows(self, max_tokens: int, overlap: int) -> Tokens:
        """Return the rows in windows of at most ``max_tokens``, each with the special tokens of a whole row.

        Neighbouring windows share ``overlap`` tokens (fewer than half a window). A row that is short enough is its
        own only window.
        """
        content = max(1, max_tokens - self.head - self.tail)
        step = max(1, content - min(overlap, content // 2))
        sources: list[NDArray[np.int64]] = []
        documents: list[int] = []
        for row, (begin, end) in enumerate(zip(self.offsets[:-1], self.offsets[1:], strict=True)):
            inner = int(end - begin) - self.head - self.tail
            starts = [0] if end - begin <= max_tokens else range(0, max(1, inner - content + step), step)
            for start in starts:
                body = np.arange(begin + self.head + start, begin + self.head + min(start + content, inner))
                whole = [np.arange(begin, begin + self.head), body, np.arange(end - self.tail, end)]
                sources.append(np.concatenate(whole))
                documents.append(int(self.documents[row]))
        offsets = np.concatenate([[0], np.cumsum([len(source) for source in sources])]).astype(np.int64)
        empty = np.zeros(0, dtype=np.int64)
        fingerprint = f"{self.fingerprint}-windows-{max_tokens}-{overlap}"
        return self._taken(np.concatenate([empty, *sources]), offsets, fingerprint, np.array(documents, dtype=np.int64))

    def _taken(
        self, source: NDArray[np.int64], offsets: NDArray[np.int64], fingerprint: str, documents: NDArray[np.int64]
    ) -> Tokens:
        return Tokens(self.ids[source], self.segments[source], offsets, fingerprint, self.head, self.tail, documents)

    def followed_by(self, other: Tokens) -> Tokens:
        """Return these documents and then those of ``other``."""
        return Tokens(
            np.concatenate([self.ids, other.ids]),
            np.concatenate([self.segments, other.segments]),
            np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]]),
            hashlib.sha256(f"{self.fingerprint} {other.fingerprint}".encode()).hexdigest(),
            self.head,
            self.tail,
            np.concatenate([self.documents, self.n_documents + other.documents]),
        )


def tokenize(
    documents: Texts, tokenizer: PreTrainedTokenizerBase, cache: Path | None = None, batch: int = 1000
) -> Tokens:
    """Return the token ids of whole documents, a row per document.

    Args:
        documents: Texts, with or without parts.
        tokenizer: A fast tokenizer; its character offsets say which segment a token belongs to.
        cache: Folder that stores tokens from one call to the next.
        batch: Documents per call of the tokenizer.
    """
    fingerprint = _fingerprint(documents, tokenizer)
    file = None if cache is None else cache / f"tokens-{fingerprint[:20]}.arrow"
    head, tail = special_tokens(tokenizer)
    if file is not None and (stored := _read(file)) is not None:
        return _tokens(*stored, fingerprint, head, tail)
    with _Spool(None if file is None else file.parent) as spool:
        for start in range(0, len(documents), batch):
            encoded = tokenizer(
                list(documents.texts[start : start + batch]),
                truncation=False,
                return_offsets_mapping=True,
                return_attention_mask=False,
                return_token_type_ids=False,
                verbose=False,  # no advice about texts that are longer than the encoder reads at once
            )
            rows = enumerate(zip(encoded["input_ids"], encoded["offset_mapping"], strict=True), start)
            spool.add(
                [
                    (np.asarray(ids, dtype=np.int32), _owners(np.asarray(spans, dtype=np.int32), documents.spans, row))
                    for row, (ids, spans) in rows
                ]
            )
        tokens = _tokens(*spool.arrays(), fingerprint, head, tail)
        if file is None:
            return tokens
        _write(file, tokens)
    stored = _read(file)
    return tokens if stored is None else _tokens(*stored, fingerprint, head, tail)


class _Spool:
    """Tokens on their way to a file: on the disk, since those of a million documents would take gigabytes.

    Args:
        folder: Where a temporary file is made; None keeps the tokens in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._stack = ExitStack()
        self._files: list[IO[bytes]] = []  # of ids and of segments
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            self._files = [self._stack.enter_context(tempfile.TemporaryFile(dir=folder)) for _ in range(2)]  # noqa: SIM115
        self._parts: list[NDArray[np.int32]] = []  # (2, n_tokens) of each batch, without files
        self._lengths: list[int] = []

    def __enter__(self) -> _Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, rows: Sequence[tuple[NDArray[np.int32], NDArray[np.int32]]]) -> None:
        """Add the ids and segments of some documents."""
        self._lengths += [len(ids) for ids, _ in rows]
        both = np.array([np.concatenate(each) for each in zip(*rows, strict=True)], dtype=np.int32)  # (2, n_tokens)
        if not self._files:
            self._parts.append(both)
        else:
            for file, values in zip(self._files, both, strict=True):
                file.write(values.tobytes())

    def arrays(self) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]]:
        """Return ids, segments and offsets of all documents."""
        offsets = np.concatenate([[0], np.cumsum(self._lengths)]).astype(np.int64)
        if not self._files or offsets[-1] == 0:
            ids, segments = np.concatenate([np.zeros((2, 0), dtype=np.int32), *self._parts], axis=1)
            return ids, segments, offsets
        ids, segments = (_mapped(file) for file in self._files)
        return ids, segments, offsets


def _tokens(
    ids: NDArray[np.int32],
    segments: NDArray[np.int32],
    offsets: NDArray[np.int64],
    fingerprint: str,
    head: int,
    tail: int,
) -> Tokens:
    return Tokens(ids, segments, offsets, fingerprint, head, tail, np.arange(len(offsets) - 1))


def _mapped(file: IO[bytes]) -> NDArray[np.int32]:
    file.flush()
    return np.memmap(file, dtype=np.int32, mode="r")


def special_tokens(tokenizer: PreTrainedTokenizerBase) -> tuple[int, int]:
    """Return how many special tokens a tokenizer puts before and after a text: (1, 1) for encoders like BERT."""
    mask = tokenizer("a", return_special_tokens_mask=True)["special_tokens_mask"]
    content = [place for place, special in enumerate(mask) if not special]
    if not content:  # a vocabulary without the letter and without an unknown token
        return len(mask) // 2, len(mask) - len(mask) // 2
    return content[0], len(mask) - 1 - content[-1]


def _owners(spans: NDArray[np.int32], parts: Spans | None, document: int) -> NDArray[np.int32]:
    """Return the segment of each token: the one that holds its last character, or else its first.

    Some tokenizers count the space before a word as part of its token, and some a line end as part of the full stop
    before it.
    """
    if parts is None or len(parts[document]) == 0:
        return np.full(len(spans), OUTSIDE, dtype=np.int32)
    ranges = parts[document]

    def owner(characters: NDArray[np.int32]) -> NDArray[np.int64]:
        found = np.searchsorted(ranges[:, 0], characters, side="right") - 1
        inside = (found >= 0) & (characters < ranges[np.maximum(found, 0), 1])
        return np.where(inside, found, OUTSIDE)

    last = owner(spans[:, 1] - 1)
    owners = np.where(last == OUTSIDE, owner(spans[:, 0]), last)
    return np.where(spans[:, 1] > spans[:, 0], owners, OUTSIDE).astype(np.int32)


_OWNERS = b"2"  # version of the rule in `_owners`: tokens that another version cached are not used


def _fingerprint(documents: Texts, tokenizer: PreTrainedTokenizerBase) -> str:
    digest = hashlib.sha256(tokenizer_fingerprint(tokenizer).encode())
    digest.update(repr(("whole", list(documents.ids))).encode())
    for text in documents.texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    if documents.spans is not None:
        digest.update(_OWNERS)
        for spans in documents.spans:
            digest.update(np.ascontiguousarray(spans, dtype=np.int32).tobytes() + b"|")
    return digest.hexdigest()


def tokenizer_fingerprint(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return the SHA-256 of a fast tokenizer's whole definition (vocabulary, normalisation, special tokens).

    Truncation and padding are left out: calling the tokenizer sets them, which must not change its identity.
    """
    return _definition_fingerprint(tokenizer.backend_tokenizer.to_str())


@lru_cache(maxsize=8)  # a vocabulary takes a tenth of a second, for each split of each stage
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


def _read(file: Path) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int64]] | None:
    """Return ids, segments and offsets from ``file``; None if it is missing or incomplete, as after a crash."""
    import pyarrow as pa

    try:
        with pa.memory_map(str(file)) as source:
            table = pa.ipc.open_file(source).read_all()
    except (FileNotFoundError, pa.ArrowInvalid):
        return None
    ids, segments = (table[name].combine_chunks() for name in ("ids", "segments"))
    return ids.values.to_numpy(), segments.values.to_numpy(), ids.offsets.to_numpy()
