"""Results of runs on many machines, in one place: a shared folder or a bucket.

    <results>/rows/                    the rows of every run, for ``load_runs``
    <results>/runs/<run id>/           config.yaml, and of each finished stage checkpoint, predictions and scores

A run works in its own folder; what is finished is copied from there. The same run copied twice is there once.
"""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path, PurePosixPath
from typing import Any

from kdh_ray.errors import UnavailableError
from kdh_ray.results import copy_rows
from kdh_ray.storage import locate, make_parent, one_line

_PARTS = ("checkpoint", "predictions", "result.json")  # in this order: scores say that the stage is whole


def publish(folder: Path, run_id: str, results: str) -> None:
    """Copy a run's rows and finished stages to ``results``.

    Args:
        folder: Of the run.
        run_id: Its name there.
        results: A folder, or a bucket and prefix.

    Raises:
        UnavailableError: If ``results`` can't be written.
        DataError: If one of the run's rows is corrupt.
    """
    filesystem, root = locate(results)
    place = PurePosixPath(root) / "runs" / run_id
    try:
        for stage in sorted((folder / "stages").glob("*/result.json")):
            _copy_stage(stage.parent, filesystem, place / "stages" / stage.parent.name)
        if (folder / "config.yaml").exists():
            _copy(folder / "config.yaml", filesystem, place / "config.yaml")
    except OSError as error:
        raise UnavailableError(f"results: {results} can't be written ({one_line(error)}); all is in {folder}") from None
    copy_rows([folder], f"{results.rstrip('/')}/rows")


def check_writable(results: str, setting: str = "results") -> None:
    """Write and remove a small file in the place that ``setting`` names.

    Raises:
        UnavailableError: If that can't be done.
    """
    filesystem, root = locate(results)
    probe = PurePosixPath(root) / f".probe-{uuid.uuid4().hex[:12]}"
    try:
        with _open(filesystem, probe) as stream:
            stream.write(b"kdh-ray")
        filesystem.delete_file(str(probe))
    except OSError as error:
        raise UnavailableError(f"{setting}: {results} can't be written ({one_line(error)})") from None


def _copy_stage(folder: Path, filesystem: Any, place: PurePosixPath) -> None:
    if _content(filesystem, place / "result.json") == (folder / "result.json").read_bytes():
        return
    for part in _PARTS:
        for file in sorted(file for file in (folder / part, *(folder / part).rglob("*")) if file.is_file()):
            _copy(file, filesystem, place / file.relative_to(folder).as_posix())


def _copy(file: Path, filesystem: Any, place: PurePosixPath) -> None:
    with file.open("rb") as source, _open(filesystem, place) as target:
        shutil.copyfileobj(source, target, 2**22)


def _open(filesystem: Any, place: PurePosixPath) -> Any:
    make_parent(filesystem, str(place))
    return filesystem.open_output_stream(str(place))


def _content(filesystem: Any, place: PurePosixPath) -> bytes | None:
    try:
        with filesystem.open_input_stream(str(place)) as stream:
            return bytes(stream.read())
    except FileNotFoundError:
        return None
