"""The validation logits of a search's trials: small files, from which the choice among the trials is judged."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_LARGEST = float(np.finfo(np.float16).max)


def save_predictions(file: Path, logits: NDArray[np.float32]) -> None:
    """Write (n_documents, n_labels) logits as float16, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.with_name(f".{os.getpid()}-{file.name}")
    np.save(temporary, np.clip(logits, -_LARGEST, _LARGEST).astype(np.float16), allow_pickle=False)
    temporary.replace(file)


def read_predictions(file: Path, shape: tuple[int, ...]) -> NDArray[np.float32] | None:
    """Return the logits in a file; None if it is missing, can't be read, or is of other documents or labels."""
    try:
        logits = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return logits.astype(np.float32) if logits.shape == shape else None
