"""Progress of a run, as JSON lines in its folder: workers on any machine write, and any process can follow.

Kinds of events: ``note`` (a sentence for the user), ``start`` of a stage, ``step`` (documents done), ``epoch``, and
``done`` (with the validation score, and the epoch whose weights are kept). Events never hold the text of a document.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

Event = dict[str, Any]
STEP_SECONDS = 0.5  # between two step events, to keep the file short
POLL_SECONDS = 0.25  # between two reads of a file that is followed


class EventLog:
    """Appends events to a file and passes them to a listener in the same process."""

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

    def note(self, text: str) -> None:
        """Record a sentence for the user, which belongs to no stage."""
        self.write("note", "", text=text)


class EventReader:
    """Reads the events that another process appends to a file.

    Args:
        file: The file, which need not exist yet.
        from_end: Skip the events that the file already has.
    """

    def __init__(self, file: Path, from_end: bool = True) -> None:
        self.file = file
        self._position = file.stat().st_size if from_end and file.exists() else 0

    def new(self) -> Iterator[Event]:
        """Yield the events since the last call; a line that is only half written waits for the next call."""
        if not self.file.exists():
            return
        with self.file.open("rb") as stream:
            stream.seek(self._position)
            for line in stream:
                if not line.endswith(b"\n"):  # still being written
                    break
                self._position += len(line)
                yield json.loads(line)


@contextmanager
def follow_events(file: Path, listener: Callable[[Event], None] | None) -> Iterator[None]:
    """Pass the events that other processes append to ``file`` to ``listener``, from a thread, until the block ends."""
    if listener is None:
        yield
        return
    reader, ended = EventReader(file), threading.Event()

    def follow() -> None:
        last = False
        while not last:
            last = ended.wait(POLL_SECONDS)  # true once the block has ended: read what came last, then stop
            for event in reader.new():
                listener(event)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
