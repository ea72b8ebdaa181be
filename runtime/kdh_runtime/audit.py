"""A record of who labelled how many texts with which classifier, and when. It holds no text."""

from __future__ import annotations

import getpass
import json
import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path


class Audit:
    """Appends a JSON line per batch to a file, which is readable by its owner only if it is new.

    Args:
        file: Appended to.
        model: Fingerprint of the classifier.
        precision: Its number format.
    """

    def __init__(self, file: str | os.PathLike[str], model: str, precision: str) -> None:
        self.file = Path(file)
        self.model = model
        self.precision = precision

    def record(self, ids: Sequence[int | str], labels: Sequence[Sequence[str]], user: str | None = None) -> None:
        """Append a line: time, user, model, ids, number of texts, and how often each label was found.

        Args:
            ids: Of the texts.
            labels: Of each text.
            user: Who asked; the user of this process if None.

        Raises:
            OSError: If the file can't be written. Call it before the labels are passed on.
        """
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "user": _user() if user is None else user,
            "model": self.model,
            "precision": self.precision,
            "ids": list(ids),
            "texts": len(labels),
            "labels": dict(Counter(label for found in labels for label in found)),
        }
        self._append((json.dumps(entry) + "\n").encode())

    def check(self) -> None:
        """Create the file, if it is missing.

        Raises:
            OSError: If it can't be written.
        """
        self._append(b"")

    def _append(self, line: bytes) -> None:
        handle = os.open(self.file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(handle, line)  # one call: lines of several processes don't mix
        finally:
            os.close(handle)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user id without a name
        return str(os.getuid())
