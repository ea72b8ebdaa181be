"""What happens in a run, as JSON lines in the run's folder: a worker on any machine writes, whoever watches reads.

Kinds: ``note``, ``start`` (of a stage), ``step`` (documents done), ``epoch`` and ``done`` (with the validation score).
Texts never get here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]
EVENTS = "events.jsonl"
STEP_SECONDS = 0.5  # between two step events; more would only make the file long


class EventLog:
    """Appends events to a file and hands them to a listener in the same process."""

    def __init__(self, file: Path | None = None, listener: Callable[[Event], None] | None = None) -> None:
        self.file, self.listener = file, listener
        self._last_step = 0.0

    def write(self, kind: str, stage: str, **values: Any) -> None:
        """Record an event of ``stage``."""
        now = time.time()
        if kind == "step":
            if now - self._last_step < STEP_SECONDS and values["done"] < values["total"]:
                return
            self._last_step = now
        event = {"time": round(now, 3), "kind": kind, "stage": stage, **values}
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(event) + "\n")
        if self.listener is not None:
            self.listener(event)


class EventReader:
    """Reads events that another process appends, from where the last call stopped."""

    def __init__(self, file: Path, from_end: bool = True) -> None:
        self.file = file
        self._position = file.stat().st_size if from_end and file.exists() else 0

    def new(self) -> Iterator[Event]:
        """Events written since the last call; half a line is left for the next one."""
        if not self.file.exists():
            return
        with self.file.open("rb") as stream:
            stream.seek(self._position)
            for line in stream:
                if not line.endswith(b"\n"):
                    break
                self._position += len(line)
                yield json.loads(line)
