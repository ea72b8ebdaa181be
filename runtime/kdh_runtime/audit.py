"""A record of who labelled how many texts with which classifier, and when. It holds no text."""

from __future__ import annotations

import getpass
import json
import os
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kdh_runtime.classifier import Classifier, Prediction


class Audit:
    """Appends a JSON line per batch to a file, which is readable by its owner only if it is new.

    Args:
        file: Appended to.
        classifier: Named in each line by its fingerprint.
    """

    def __init__(self, file: str | os.PathLike[str], classifier: Classifier) -> None:
        self.file = Path(file)
        self.classifier = classifier

    def record(self, ids: Sequence[int | str], prediction: Prediction) -> None:
        """Append a line: time, user, model, ids, number of texts, and how often each label was found.

        Raises:
            OSError: If the file can't be written. Call it before the labels are passed on.
        """
        entry = {
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "user": _user(),
            "model": self.classifier.config.fingerprint,
            "precision": self.classifier.config.precision,
            "ids": list(ids),
            "texts": len(prediction),
            "labels": dict(Counter(label for labels in prediction.labels for label in labels)),
        }
        line = (json.dumps(entry) + "\n").encode()
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
