"""Teacher logits, computed once per (teacher, documents) and memory-mapped from then on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdh_ray import distributed
from kdh_ray.data.corpus import Texts
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.inference.forward import Progress
from kdh_ray.inference.logits import Logits
from kdh_ray.models.checkpoint import load_card
from kdh_ray.models.encoders import load_tokenizer

_FORMAT = 2  # of a cache entry's files


def teacher_logits(
    teacher: Path,
    documents: Texts,
    cache: Path,
    *,
    precision: str = "float32",
    device: str = "cpu",
    progress: Progress | None = None,
) -> Logits:
    """Return the logits of the checkpoint ``teacher`` for ``documents``, from the cache if they are there.

    The key of a cache entry holds the teacher's weights, labels and way of reading text, and the fingerprint of the
    tokens (texts, parts, tokenizer): a change in any of them makes another entry, so that none is ever stale.

    Args:
        teacher: A checkpoint folder.
        documents: Texts; the teacher divides those without parts itself.
        cache: Folder of tokens and logits.
        precision: Of the forward pass.
        device: Where it runs.
        progress: See :func:`kdh_ray.inference.forward.forward`.

    Raises:
        CheckpointError: If the teacher can't be read.
    """
    card = load_card(teacher)
    tokens = card.reading.tokens(documents, load_tokenizer(str(teacher)), cache / "tokens")
    entry = cache / "logits" / cache_key(card.fingerprint, tokens.fingerprint, precision)
    is_cached = distributed.of_first(distributed.rank() == 0 and _is_complete(entry))
    if not is_cached:
        classifier = TextClassifier.load(teacher, precision=precision, device=device)
        logits = classifier.logits(documents, cache=cache / "tokens", progress=progress)
        if distributed.rank() == 0:
            _write(entry, logits, documents.ids)
        distributed.gather(None)  # nobody reads before it is written
    return _read(entry)


def cache_key(teacher_fingerprint: str, tokens_fingerprint: str, precision: str) -> str:
    """Return the name of a cache entry."""
    identity = f"{_FORMAT} {teacher_fingerprint} {tokens_fingerprint} {precision}"
    return "logits-" + hashlib.sha256(identity.encode()).hexdigest()[:20]


def _write(entry: Path, logits: Logits, ids: Sequence[str]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}-"))

    def save(name: str, array: NDArray[np.generic]) -> None:
        np.save(temporary / f"{name}.npy", array, allow_pickle=False)

    try:
        save("documents", logits.documents)  # (n_documents, n_labels)
        save("pooled", logits.pooled)  # (n_documents, hidden)
        if logits.segments is not None:
            # (segments of all documents, n_labels); the empty array in front serves a split without documents.
            save("segments", np.concatenate([np.zeros((0, logits.documents.shape[1]), np.float32), *logits.segments]))
            save("offsets", np.cumsum([0, *map(len, logits.segments)]))  # document i: [offsets[i], offsets[i + 1])
        (temporary / "ids.json").write_text(json.dumps(list(ids)), encoding="utf-8")
        os.replace(temporary, entry)  # readers see all of an entry or none of it
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if not entry.exists():  # another run may have written the same entry in the meantime
            raise


def _is_complete(entry: Path) -> bool:
    """Return True if the entry can be read; remove the remains that a crash or a cleanup of files left."""
    if not entry.exists():
        return False
    try:
        _read(entry)
    except (OSError, ValueError, EOFError):  # a file that is missing, shorter than it should be, or empty
        shutil.rmtree(entry, ignore_errors=True)
        return False
    return (entry / "ids.json").exists()


def _read(entry: Path) -> Logits:
    def load(name: str) -> NDArray[np.float32]:
        # Mapped: pages are read when they are used, and the workers of a machine share them.
        array: NDArray[np.float32] = np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return array

    segments = None
    if (entry / "offsets.npy").exists() or (entry / "segments.npy").exists():
        flat, offsets = load("segments"), np.load(entry / "offsets.npy", allow_pickle=False)
        if len(flat) != offsets[-1]:
            raise ValueError("segments and offsets differ in length")
        segments = [flat[begin:end] for begin, end in pairwise(offsets)]
    return Logits(load("documents"), segments, load("pooled"))
