"""What a search has done so far, on disk: every trial, and the searcher's state of the same moment.

``search.json`` is replaced whole at each event (suggestion, report, checkpoint, end), and names the file with the
searcher's state. So a kill at any moment leaves one consistent pair to go on from.

Ray Tune's own snapshots are not used for that (Ray 2.60): they are at least 10 s apart, are copied into the storage
folder in place, don't hold the scheduler, and a snapshot that can't be read makes ``Tuner.restore`` start over without
an error. Trials that began after the last one would be lost, and those that ended after it run again.
"""

from __future__ import annotations

import errno
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from kdh_ray.errors import CheckpointError, UnavailableError
from kdh_ray.storage import sync_folder
from kdh_ray.tuning.trials import Report, Trial, trial_columns

if TYPE_CHECKING:
    import pandas as pd

FILE = "search.json"
VERSION = 1


class Savable(Protocol):
    """Of a Ray Tune searcher, what a ledger needs."""

    def save(self, checkpoint_path: str) -> None: ...


class Ledger:
    """The trials of one search, kept in ``folder``.

    Attributes:
        trials: In the order of suggestions.
        searcher: File of the searcher's state, None before the first commit or where the searcher can't be saved.
        fault: What kept the last commit from being written, which Ray Tune passes on as a traceback in a string.

    Raises:
        CheckpointError: If there is a ledger that can't be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.trials: list[Trial] = []
        self.searcher: Path | None = None
        self.fault: UnavailableError | None = None
        self._ended: dict[int, str] = {}  # number -> JSON
        self._spent, self._opened = 0.0, time.monotonic()
        if (folder / FILE).exists():
            self._read()

    @property
    def seconds(self) -> float:
        """Wall time of the search, over all its sessions."""
        return self._spent + time.monotonic() - self._opened

    def n_ended(self) -> int:
        return sum(trial.ended for trial in self.trials)

    def running(self) -> list[Trial]:
        return [trial for trial in self.trials if not trial.ended]

    def commit(self, searcher: Savable | None = None) -> None:
        """Make the trials, and the state of ``searcher``, what a later session goes on from.

        Raises:
            UnavailableError: If the folder can't be written or the disk is full; the commit before then stays.
        """
        try:
            self._commit(searcher)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            reason = "no disk space left; the search goes on from here when there is" if full else error.strerror
            self.fault = UnavailableError(f"{self.folder} can't be written: {reason}")
            raise self.fault from None

    def _commit(self, searcher: Savable | None) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        before = self.searcher
        if searcher is not None:
            self.searcher = self._save(searcher)
        name = json.dumps(self.searcher.name if self.searcher else None)
        head = f'{{"version": {VERSION}, "seconds": {self.seconds}, "searcher": {name}, "trials": ['
        temporary = self.folder / f".{FILE}"
        with temporary.open("w", encoding="utf-8") as stream:
            stream.writelines([head, ",\n".join(map(self._entry, self.trials)), "]}\n"])
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, self.folder / FILE)
        sync_folder(self.folder)
        if before is not None and before != self.searcher:
            before.unlink(missing_ok=True)

    def _entry(self, trial: Trial) -> str:
        """A trial as JSON; one that has ended is the same ever after, and is put into words once."""
        if trial.number not in self._ended:
            entry = json.dumps(asdict(trial), default=_plain)
            if not trial.ended:
                return entry
            self._ended[trial.number] = entry
        return self._ended[trial.number]

    def _save(self, searcher: Savable) -> Path | None:
        file = self.folder / f"searcher-{time.time_ns()}"
        try:
            searcher.save(str(file))
        except NotImplementedError:  # Ray's base class; the search goes on with a fresh one then
            return None
        return file

    def _read(self) -> None:
        file = self.folder / FILE
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            if content["version"] != VERSION:
                raise CheckpointError(f"{file}: version must be {VERSION}; got {content['version']!r}")
            self.trials = [
                Trial(**{**entry, "reports": [Report(**report) for report in entry["reports"]]})
                for entry in content["trials"]
            ]
            self._spent = float(content["seconds"])
            self.searcher = self.folder / content["searcher"] if content["searcher"] else None
        except (OSError, ValueError, KeyError, TypeError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"{file} can't be read ({reason}); remove it to search anew") from None

    def frame(self) -> pd.DataFrame:
        """One row a trial: number, status, time and score reached, configuration, particle, curve."""
        import pandas as pd

        return pd.DataFrame([trial_columns(trial) for trial in self.trials])


def _plain(value: Any) -> Any:
    """NumPy's scalars and arrays as JSON has them."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"a search's state can't hold a {type(value).__name__}")
