"""Teacher predictions, computed once per (teacher, tokens) and memory-mapped from then on."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from kdh_ray import distributed as world
from kdh_ray.data.tokens import Tokens
from kdh_ray.inference.forward import Progress, predict
from kdh_ray.models.checkpoint import load_card, load_checkpoint
from kdh_ray.training.examples import Documents, Prediction

ARRAYS = ("documents", "segments", "pooled")


def teacher_prediction(
    teacher: Path,
    documents: Documents,
    ids: list[str],
    cache: Path,
    *,
    precision: str = "float32",
    device: str = "cpu",
    progress: Progress | None = None,
) -> Prediction:
    """What the checkpoint ``teacher`` says of ``documents``, from the cache where it is there.

    The key holds the teacher's weights, labels and reading of text, and the tokens' fingerprint (texts, tokenizer,
    maximum length, segments): a change of any of them is another entry, never a stale one.

    Args:
        teacher: A checkpoint folder.
        documents: Tokens made with the teacher's own tokenizer.
        ids: Document ids, kept beside the arrays.
        cache: Folder of all entries.
        precision: Of the forward pass.
        device: Where it runs.
        progress: See ``predict``.

    Raises:
        CheckpointError: If the teacher can't be read.
    """
    card = load_card(teacher)
    entry = cache / cache_key(card.fingerprint, documents.tokens, precision)
    known = world.of_first(world.rank() == 0 and _is_whole(entry, card.segments))
    if not known:
        model, _ = load_checkpoint(teacher)
        prediction = predict(model.to(device), documents, precision=precision, progress=progress)
        if world.rank() == 0:
            _write(entry, prediction, ids)
        world.gather(None)  # nobody reads before it is written
    return _read(entry)


def cache_key(teacher_fingerprint: str, tokens: Tokens, precision: str) -> str:
    """Name of a cache entry."""
    identity = f"{teacher_fingerprint} {tokens.fingerprint} {precision}"
    return "logits-" + hashlib.sha256(identity.encode()).hexdigest()[:20]


def _write(entry: Path, prediction: Prediction, ids: list[str]) -> None:
    entry.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=entry.parent, prefix=f".{entry.name}-"))
    try:
        for name in ARRAYS:
            array = getattr(prediction, name)
            if array is not None:
                np.save(temporary / f"{name}.npy", array, allow_pickle=False)
        (temporary / "ids.json").write_text(json.dumps(ids), encoding="utf-8")
        os.replace(temporary, entry)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if not entry.exists():  # another run may have written the same entry in the meantime
            raise


def _is_whole(entry: Path, segments: bool) -> bool:
    """Whether an entry is there; what a machine's crash or a cleaning of files has left of one is removed."""
    if not entry.exists():
        return False
    try:
        whole = (_read(entry).segments is not None) == segments
    except (OSError, ValueError, EOFError):  # a file that is missing, shorter than it says, or empty
        whole = False
    if not whole:
        shutil.rmtree(entry, ignore_errors=True)
    return whole


def _read(entry: Path) -> Prediction:
    def array(name: str) -> NDArray[np.float32]:
        loaded: NDArray[np.float32] = np.load(entry / f"{name}.npy", mmap_mode="r", allow_pickle=False)
        return loaded

    segments = array("segments") if (entry / "segments.npy").exists() else None
    return Prediction(array("documents"), segments, array("pooled"))
