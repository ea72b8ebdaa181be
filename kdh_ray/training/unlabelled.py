"""Predictions of a run's unlabelled text: where they are, and how a stage reads them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from kdh_ray.data.corpus import Unlabelled
from kdh_ray.data.prediction_files import FORMAT, PredictionFolder
from kdh_ray.data.text_pool import TextPool
from kdh_ray.data.unlabelled import read_predicted
from kdh_ray.models.checkpoint import load_card


def prediction_folder(pool: TextPool, checkpoint: Path, cache: Path, precision: str) -> PredictionFolder:
    """Return the folder of what a checkpoint predicts for a pool; another text or checkpoint has another folder.

    Args:
        pool: The text.
        checkpoint: Folder of a teacher.
        cache: Folder of tokens and logits.
        precision: As configured.

    Raises:
        CheckpointError: If the checkpoint can't be read.
    """
    identity = repr((FORMAT, pool.fingerprint, load_card(checkpoint).fingerprint, precision))
    return PredictionFolder(str(cache.absolute() / "unlabelled" / hashlib.sha256(identity.encode()).hexdigest()[:20]))


def is_complete(pool: TextPool, folder: PredictionFolder) -> bool:
    """Return True if every block of a pool is predicted."""
    return {folder.file_name(number) for number in range(len(pool.blocks))} <= folder.files()


def predicted_by(
    pool: TextPool, checkpoints: Sequence[Path], cache: Path, precision: str, labels: Sequence[str]
) -> Unlabelled:
    """Return the texts of a pool with the mean logits of teachers that have predicted it.

    Raises:
        DataError: If a teacher has not predicted all of it.
        CheckpointError: If a checkpoint can't be read.
    """
    folders = [prediction_folder(pool, checkpoint, cache, precision).place for checkpoint in checkpoints]
    return read_predicted(pool, folders, labels, [model_name(checkpoint) for checkpoint in checkpoints])


def model_name(checkpoint: Path) -> str:
    """Return the stage that a folder of a checkpoint belongs to, or the folder's own name, without its place."""
    return checkpoint.parent.name if checkpoint.name == "checkpoint" else checkpoint.name
