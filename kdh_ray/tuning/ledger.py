"""The ledger of a search on disk: every trial, and the searcher's state at the same moment.

``search.json`` is replaced as a whole at each event (suggestion, report, checkpoint, end). It names the file with the
searcher's state. So a kill at any moment leaves one consistent pair of files to resume from.

Ray Tune's own snapshots don't serve (Ray 2.60). They are at least 10 s apart, so that trials which began or ended after
the last one would be lost or run again. They are copied into the storage folder in place, and don't hold the
scheduler's state. Given a snapshot that can't be read, ``Tuner.restore`` starts over without an error.
"""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Protocol

from kdh_ray.errors import CheckpointError, UnavailableError
from kdh_ray.storage import sync_folder
from kdh_ray.tuning.config_values import ConfigValues
from kdh_ray.tuning.trials import Report, Trial

FILE = "search.json"
VERSION = 1
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class Savable(Protocol):
    """The part of a Ray Tune searcher that a ledger calls."""

    def save(self, checkpoint_path: str) -> None:
        """Write the searcher's state to the file ``checkpoint_path``."""


class Ledger:
    """The trials of one search, stored in ``folder``.

    Args:
        folder: Folder of the search.
        values: Translates configurations to JSON; without the search space, objects in them are known by name only.

    Attributes:
        trials: Trials in the order of suggestions.
        searcher: File of the searcher's state; None before the first commit, or if the searcher can't be saved.
        purpose: Metric, mode and search algorithm of the search; empty if an earlier version began it.
        space: Its settings with their ranges, as text; empty as well.
        fault: The error of the last failed commit; None without one. Ray Tune passes errors of callbacks on only as a
            traceback in a string.

    Raises:
        CheckpointError: If the folder holds a ledger that can't be read.
    """

    def __init__(self, folder: Path, values: ConfigValues | None = None) -> None:
        self.folder = folder
        self.values = values or ConfigValues()
        self.trials: list[Trial] = []
        self.searcher: Path | None = None
        self.purpose: dict[str, str] = {}
        self.space: dict[str, str] = {}
        self.fault: UnavailableError | None = None
        self._ended: dict[int, str] = {}  # a trial's number -> its JSON
        self._earlier_seconds = 0.0
        self._opened = time.monotonic()
        if (folder / FILE).exists():
            self._read()

    @property
    def seconds(self) -> float:
        """Wall time of the search, over all its sessions."""
        return self._earlier_seconds + time.monotonic() - self._opened

    def n_ended(self) -> int:
        """Return the number of trials that ended."""
        return sum(trial.ended for trial in self.trials)

    def running(self) -> list[Trial]:
        """Return the trials that have not ended, in order."""
        return [trial for trial in self.trials if not trial.ended]

    def commit(self, searcher: Savable | None = None) -> None:
        """Write the trials and the state of ``searcher``, for a later session to resume from.

        Raises:
            UnavailableError: If the folder can't be written or the disk is full. The commit before stays intact.
        """
        try:
            self._commit(searcher)
        except OSError as error:
            full = error.errno in DISK_FULL
            reason = "no disk space left; free some and resume the search" if full else error.strerror
            self.fault = UnavailableError(f"{self.folder} can't be written: {reason}")
            raise self.fault from None

    def _commit(self, searcher: Savable | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.searcher
        if searcher is not None:
            self.searcher = self._save(searcher)
        name = self.searcher.name if self.searcher else None
        content = {"seconds": self.seconds, "searcher": name, "purpose": self.purpose, "space": self.space}
        head = json.dumps({"version": VERSION, **content})
        # A rename is atomic: a reader sees the old file or the new one, never a part.
        temporary = self.folder / f".{FILE}"
        with temporary.open("w", encoding="utf-8") as stream:
            stream.writelines([head[:-1], ', "trials": [', ",\n".join(map(self._entry, self.trials)), "]}\n"])
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self.folder / FILE)
        sync_folder(self.folder)
        # Only now does no ledger name the former state.
        if before is not None and before != self.searcher:
            before.unlink(missing_ok=True)

    def _entry(self, trial: Trial) -> str:
        """Return a trial as JSON. That of an ended trial can't change any more, and is cached."""
        if trial.number not in self._ended:
            entry = json.dumps(asdict(replace(trial, config=self.values.to_json(trial.config))), default=_to_json)
            if not trial.ended:
                return entry
            self._ended[trial.number] = entry
        return self._ended[trial.number]

    def _save(self, searcher: Savable) -> Path | None:
        file = self.folder / f"searcher-{time.time_ns()}"
        try:
            searcher.save(str(file))
        except NotImplementedError:  # of Ray's base class; a resumed search then continues with a fresh searcher
            return None
        return file

    def _read(self) -> None:
        file = self.folder / FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise CheckpointError(f"{file}: version must be {VERSION}; got {content['version']!r}")
            self.trials = [self._trial(entry) for entry in content["trials"]]
            self.purpose = dict(content.get("purpose", {}))
            self.space = dict(content.get("space", {}))
            self._earlier_seconds = float(content["seconds"])
            self.searcher = self.folder / content["searcher"] if content["searcher"] else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{file} can't be read ({reason}); remove it to start the search anew") from None

    def _trial(self, entry: dict[str, Any]) -> Trial:
        reports = [Report(**report) for report in entry["reports"]]
        return Trial(**{**entry, "config": self.values.from_json(entry["config"]), "reports": reports})


def _to_json(value: Any) -> Any:
    """Return a NumPy scalar or array as plain values."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a search's state can't hold a {type(value).__name__}")
