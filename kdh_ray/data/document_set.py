"""Sets of documents without their texts: keyed digests, by which a known text is found in them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

BYTES = 16  # of a digest: among a billion documents, two share one with a probability of 1e-21
KEY = "key"
DIGESTS = "digests"


def keyed_digest(text_digest: str, key: bytes, size: int = BYTES) -> bytes:
    """Return the BLAKE2b digest of a text's digest under a key."""
    return hashlib.blake2b(text_digest.encode(), key=key, digest_size=size).digest()


def new_key() -> bytes:
    """Return a random key, so that nobody can match the digests of two files, or prepare digests of likely texts."""
    return os.urandom(BYTES)


@dataclass(frozen=True)
class DocumentSet:
    """Documents, known by digests of their texts.

    Attributes:
        key: Key of the digests.
        digests: (n_documents, 16) uint8, sorted, each once.
    """

    key: bytes
    digests: NDArray[np.uint8] = field(repr=False)

    def __len__(self) -> int:
        return len(self.digests)

    @classmethod
    def of(cls, text_digests: Iterable[str], key: bytes) -> DocumentSet:
        """Return the set of the documents with these digests (see :func:`kdh_ray.data.text_digest.text_digest`)."""
        digests = sorted({keyed_digest(digest, key) for digest in text_digests})
        return cls(key, np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, BYTES))

    def holds(self, text_digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return, for each of the digests, whether its document is in the set: (n_digests,)."""
        own = set(as_bytes(self.digests))
        return np.array([keyed_digest(digest, self.key) in own for digest in text_digests], dtype=bool)

    def tensors(self) -> dict[str, NDArray[np.uint8]]:
        """Return the set as arrays for a file."""
        return {KEY: np.frombuffer(self.key, dtype=np.uint8), DIGESTS: self.digests}

    @classmethod
    def from_tensors(cls, tensors: Mapping[str, NDArray[np.uint8]]) -> DocumentSet:
        """Return the set of :meth:`tensors`."""
        return cls(tensors[KEY].tobytes(), tensors[DIGESTS])


def as_bytes(digests: NDArray[np.uint8]) -> list[bytes]:
    """Return the rows of (n, size) bytes as byte strings."""
    size, whole = digests.shape[1], np.ascontiguousarray(digests).tobytes()
    return [whole[start : start + size] for start in range(0, len(whole), size)]
