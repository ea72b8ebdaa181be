"""The documents that a checkpoint has learnt from, as digests in a file next to its card.

A model that scores a document it was trained on looks better than it is. ``documents.safetensors`` lets anyone who has
the checkpoint *and a text* see whether the model was trained on it; it reveals no text. A checkpoint works without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from kdh_ray.data.corpus import Corpus
from kdh_ray.data.document_set import DIGESTS, KEY, DocumentSet, new_key
from kdh_ray.errors import CheckpointError, DataError
from kdh_ray.models.checkpoint import load_card

FILE = "documents.safetensors"
_FORMAT = "1"


@dataclass(frozen=True)
class TrainingDocuments:
    """The documents of a model, and of the models that it started from or was taught by.

    Attributes:
        train: Sets of documents that weights were trained on.
        validation: Sets of documents that chose epochs and thresholds.
        complete: False if one of the earlier models does not know its own.
    """

    train: Sequence[DocumentSet]
    validation: Sequence[DocumentSet]
    complete: bool = True

    @classmethod
    def of(cls, corpus: Corpus, earlier: Sequence[TrainingDocuments | None] = ()) -> TrainingDocuments:
        """Return the documents of a model.

        Args:
            corpus: The corpus that it is trained on.
            earlier: Documents of the models that it starts from or learns from; None for a model without the file.
        """
        key, train = new_key(), list(corpus.splits["train"].digests)
        if corpus.unlabelled is not None:
            train += corpus.unlabelled.texts.digests
        validation = corpus.splits["validation"].digests
        known = [documents for documents in earlier if documents is not None]
        return cls(
            [DocumentSet.of(train, key), *_others([each for one in known for each in one.train], train)],
            [DocumentSet.of(validation, key), *_others([each for one in known for each in one.validation], validation)],
            all(documents is not None and documents.complete for documents in earlier),
        )

    def trained_on(self, text_digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return, for each text's digest, whether a model was trained on the text: (n_digests,)."""
        return _in_any(self.train, text_digests)

    def chose_by(self, text_digests: Sequence[str]) -> NDArray[np.bool_]:
        """Return, for each text's digest, whether the text was a validation document: (n_digests,)."""
        return _in_any(self.validation, text_digests)

    def save(self, folder: Path) -> None:
        """Write the file into a checkpoint's folder: 16 bytes for each document."""
        tensors = {
            f"{role}.{number}.{name}": values
            for role, sets in (("train", self.train), ("validation", self.validation))
            for number, documents in enumerate(sets)
            for name, values in documents.tensors().items()
        }
        save_file(tensors, folder / FILE, {"format": _FORMAT, "complete": str(self.complete)})

    @classmethod
    def load(cls, folder: Path) -> TrainingDocuments | None:
        """Read the file; None if the checkpoint has none.

        Raises:
            CheckpointError: If the file can't be read.
        """
        file = folder / FILE
        if not file.exists():
            return None
        try:
            with safe_open(file, framework="np") as stored:
                facts = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 - no mapping
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{file} can't be read ({type(error).__name__}); remove it to do without") from None
        if facts.get("format") != _FORMAT:
            raise CheckpointError(f"{file}: format must be {_FORMAT}; got {facts.get('format')!r}")
        return cls(_sets("train", tensors), _sets("validation", tensors), facts["complete"] == str(True))


def _others(sets: Sequence[DocumentSet], text_digests: Sequence[str]) -> list[DocumentSet]:
    """Return the sets that hold documents beyond those with the digests, each once."""
    distinct = {documents.key: documents for documents in sets}
    digests = sorted(set(text_digests))
    return [documents for documents in distinct.values() if documents.holds(digests).sum() < len(documents)]


def _in_any(sets: Sequence[DocumentSet], text_digests: Sequence[str]) -> NDArray[np.bool_]:
    found = np.zeros(len(text_digests), dtype=bool)
    for documents in sets:
        found |= documents.holds(text_digests)
    return found


def _sets(role: str, tensors: dict[str, NDArray[np.uint8]]) -> list[DocumentSet]:
    count = sum(name.startswith(f"{role}.") and name.endswith(f".{KEY}") for name in tensors)
    return [
        DocumentSet.from_tensors({name: tensors[f"{role}.{number}.{name}"] for name in (KEY, DIGESTS)})
        for number in range(count)
    ]


def check_unseen(checkpoint: Path, corpus: Corpus, splits: Sequence[str], allowed: bool = False) -> str:
    """Check that a classifier has not learnt from documents of the splits that it is to be scored on.

    Nothing is checked on the very corpus that it was trained on. Documents that are in the corpus's own training split
    too don't count: that is a fault of the corpus, which its description names.

    Args:
        checkpoint: Folder of the classifier.
        corpus: The corpus that has the splits.
        splits: ``validation``, ``test`` or both.
        allowed: Return the fault as a warning instead of raising it.

    Returns:
        A warning for the user; empty if there is no reason for one.

    Raises:
        DataError: If documents of the splits were trained on, or documents of the test split chose a threshold.
        CheckpointError: If the checkpoint can't be read.
    """
    trained_on = load_card(checkpoint).corpus
    if trained_on.get("fingerprint") == corpus.fingerprint():
        return ""
    documents = TrainingDocuments.load(checkpoint)
    names = " and ".join(splits)
    if documents is None or not documents.complete:
        whose = "" if documents is None else " of all its teachers"
        return (
            f"{checkpoint}: was trained on other data, and doesn't say which documents{whose}: {names} documents may"
            " be among them"
        )
    seen = [part for split in splits for part in _seen(documents, corpus, split)]
    if not seen:
        return ""
    if is_of(trained_on, corpus):
        fault, remedy = f"{checkpoint}: learnt from {', '.join(seen)}", "score the test split"
        reason = "its run divided the data into folds, and "
    else:
        fault = f"{checkpoint}: was trained on other data, which has {', '.join(seen)}"
        remedy, reason = "train it again on this data, leave these documents out", ""
    if not allowed:
        raise DataError(
            f"{fault}: {reason}their scores would be too good; {remedy}, or pass --allow-changed-data"
            " (allow_changed_data=True)"
        )
    return f"{fault}; scores on them are too good"


def is_of(trained_on: Mapping[str, Any], corpus: Corpus) -> bool:
    """Return True if the corpus of a card is this one, or a sample or a fold of it.

    Args:
        trained_on: ``corpus`` of a card.
        corpus: The corpus.
    """
    own = trained_on.get("fingerprint") == corpus.fingerprint()
    return own or trained_on.get("whole") == corpus.identity.fingerprint


def _seen(documents: TrainingDocuments, corpus: Corpus, name: str) -> list[str]:
    """Count the documents of a split that the models learnt from, in words."""
    split, own = corpus.splits[name], set(corpus.splits["train"].digests)
    digests = [digest for digest in split.digests if digest not in own]
    trained = documents.trained_on(digests)
    counts = {"in its training split": int(trained.sum())}
    if name == "test":
        counts["in its validation split"] = int((documents.chose_by(digests) & ~trained).sum())
    return [f"{count} of the {len(split)} {name} documents {where}" for where, count in counts.items() if count]
