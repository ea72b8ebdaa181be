"""Results of runs on many machines, collected in one shared folder or bucket.

    <results>/rows/             the rows of every run, for ``load_runs``
    <results>/runs/<run id>/    config.yaml, and the checkpoint, predictions and scores of each finished stage

A run works in its own folder and copies from there what is finished. A run that is copied twice is there once.
"""

from __future__ import annotations

import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from kdh_ray.config import RunConfig
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.jobs.run_rows import run_id
from kdh_ray.results import copy_rows
from kdh_ray.run_folder import RunFolder, StageFolder
from kdh_ray.storage import locate, make_parent, one_line


def publish_run(config: RunConfig, folder: RunFolder, error: Exception | None = None) -> None:
    """Copy rows and finished stages to the ``results`` of the configuration, if it names a place.

    If the copy fails after the run itself failed with ``error``, the failed copy becomes a note of that error.

    Raises:
        UnavailableError: If ``results`` can't be written and the run itself did not fail.
    """
    if not config.results:
        return
    try:
        publish(folder, run_id(config), config.results)
    except UserError as failure:
        if error is None:
            raise
        error.add_note(str(failure))


def publish(folder: RunFolder, identity: str, results: str) -> None:
    """Copy a run's rows and finished stages to ``results``.

    Args:
        folder: Folder of the run.
        identity: Its name in ``results``.
        results: A folder, or a bucket and prefix.

    Raises:
        UnavailableError: If ``results`` can't be written.
        DataError: If one of the run's rows is corrupt.
    """
    filesystem, root = locate(results)
    copy = _RunCopy(folder, filesystem, PurePosixPath(root) / "runs" / identity)
    try:
        for stage in folder.finished_stages():
            copy.add_stage(stage)
        if folder.config.exists():
            copy.add(folder.config)
    except OSError as error:
        reason = one_line(error)
        raise UnavailableError(f"results: {results} can't be written ({reason}); everything is in {folder}") from None
    copy_rows([folder], f"{results.rstrip('/')}/rows")


def check_writable(results: str, setting: str = "results") -> None:
    """Write and remove a small file in the folder or bucket that ``setting`` names.

    Raises:
        UnavailableError: If that fails.
    """
    filesystem, root = locate(results)
    probe = PurePosixPath(root) / f".probe-{uuid.uuid4().hex[:12]}"
    try:
        with _open(filesystem, probe) as stream:
            stream.write(b"kdh-ray")
        filesystem.delete_file(str(probe))
    except OSError as error:
        raise UnavailableError(f"{setting}: {results} can't be written ({one_line(error)})") from None


@dataclass(frozen=True)
class _RunCopy:
    """The copy of a run at ``target`` in a pyarrow file system; paths within it are the same as in the run's folder."""

    folder: RunFolder
    filesystem: Any
    target: PurePosixPath

    def add_stage(self, stage: StageFolder) -> None:
        """Copy a finished stage, unless the copy has the same scores."""
        # Scores are copied last and hold the start time, so equal scores mean an equal and complete copy.
        if self._read(stage.result) == stage.result.read_bytes():
            return
        for part in (stage.checkpoint, stage.predictions, stage.result):  # scores last: they mark the stage as whole
            for file in sorted(file for file in (part, *part.rglob("*")) if file.is_file()):
                self.add(file)

    def add(self, file: Path) -> None:
        """Copy one file."""
        with file.open("rb") as source, _open(self.filesystem, self._path(file)) as target:
            shutil.copyfileobj(source, target, 2**22)  # 4 MiB at a time, for object stores

    def _path(self, file: Path) -> PurePosixPath:
        return self.target / file.relative_to(self.folder.path).as_posix()

    def _read(self, file: Path) -> bytes | None:
        """The content of a file's copy, None if there is no copy."""
        try:
            with self.filesystem.open_input_stream(str(self._path(file))) as stream:
                return bytes(stream.read())
        except FileNotFoundError:
            return None


def _open(filesystem: Any, path: PurePosixPath) -> Any:
    make_parent(filesystem, str(path))
    return filesystem.open_output_stream(str(path))
