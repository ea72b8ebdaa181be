"""The audit of a batch prediction: a line per block, also where the prediction was killed and resumed."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kdh_runtime.audit import Audit

from kdh_ray.data.prediction_files import PredictionFolder
from kdh_ray.errors import UnavailableError
from kdh_ray.storage import one_line


@contextmanager
def writable(file: str | os.PathLike[str]) -> Iterator[None]:
    """Raise an ``UnavailableError`` that names the file where the block fails to use it."""
    try:
        yield
    except OSError as error:
        raise UnavailableError(f"{file}: can't be written ({error.strerror or one_line(error)})") from None


class BlockAudit:
    """Appends a line per finished block to a file, in the format of :class:`kdh_runtime.audit.Audit`.

    Args:
        file: Appended to; created if it is missing.
        model: Fingerprint of the classifier.
        folder: Holds the blocks.

    Raises:
        UnavailableError: If the file can't be written.
    """

    def __init__(self, file: str | os.PathLike[str], model: str, folder: PredictionFolder) -> None:
        self.file, self.model, self.folder = Path(file), model, folder
        with writable(self.file):
            Audit(file, model, "").check()

    def record(self, number: int, precision: str) -> None:
        """Append the line of block ``number``: its documents without an error, and their labels.

        Raises:
            UnavailableError: If the block can't be read or the file not written.
        """
        ids, labels = self._labelled(number)
        with writable(self.file):
            Audit(self.file, self.model, precision).record(ids, labels)

    def record_missing(self, numbers: Iterable[int], precision: str) -> None:
        """Append the lines of those blocks that have none: a kill may come between a block and its line.

        Raises:
            UnavailableError: If a block can't be read or the file not written.
        """
        recorded = set(self._recorded())
        for number in numbers:
            if tuple(self._labelled(number)[0]) not in recorded:
                self.record(number, precision)

    def _labelled(self, number: int) -> tuple[list[str], list[list[str]]]:
        block = self.folder.summary(number)
        labelled = [place for place, faulty in enumerate(block.errors) if not faulty]
        return [block.ids[place] for place in labelled], [block.labels[place] for place in labelled]

    def _recorded(self) -> Iterator[tuple[str, ...]]:
        """Yield the ids of each line about this model."""
        with writable(self.file), self.file.open(encoding="utf-8") as lines:
            for line in lines:
                try:
                    entry = json.loads(line)
                    if entry["model"] == self.model:
                        yield tuple(map(str, entry["ids"]))
                except (ValueError, KeyError, TypeError):
                    continue  # the line is another program's
