"""Row files on local disks, shared file systems and buckets, through pyarrow and fsspec.

A row file is ``row-*.parquet`` (one row) or ``rows-COUNT-*.parquet`` (many, merged), anywhere below a folder. It gets
that name when it is whole. Until then it is a hidden ``.*.tmp`` in the same folder or, in a bucket, an open upload.

Rows are merged without locks, on any file system: a merged file is whole before the files that it replaces are removed,
and only files whose rows it holds are removed. A kill, or two merges at once, may leave a row twice but never lose one;
readers drop repeated rows.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, one_line, write_parquet

ROW_FILE = re.compile(r"rows?-.*\.parquet")
_MERGED = re.compile(r"rows-(\d+)-.*\.parquet")
_TEMPORARY = re.compile(r"\.rows?-.*\.parquet\.tmp")
_IN_FLIGHT = 60.0  # seconds during which a temporary file may still become a row
_MOST_LISTINGS = 10
MERGE_AT = 64  # files in a folder


def find(path: str | os.PathLike[str]) -> tuple[Any, list[str], list[str]]:
    """Find row files at or below ``path``.

    Returns:
        The file system, the paths of row files, and those of files that a writer began and never finished; both sorted.

    Raises:
        DataError: If there is no such file or folder.
        UnavailableError: If the folder can't be listed.
    """
    import pyarrow.fs

    filesystem, root = locate(path)
    try:
        info = filesystem.get_file_info(root)
        if info.type == pyarrow.fs.FileType.File:
            return filesystem, [root], []
        if info.type == pyarrow.fs.FileType.NotFound:
            raise DataError(f"{os.fspath(path)}: no such file or folder")
        rows, unfinished = _list(filesystem, root)
        for _ in range(_MOST_LISTINGS):
            # A listing takes time: it may miss a new merged file and then also the files that this one replaced. It is
            # complete if every file that it saw still exists in the next listing.
            before, (rows, unfinished) = rows, _list(filesystem, root)
            if set(before) <= set(rows):
                break
    except OSError as error:
        raise UnavailableError(f"{os.fspath(path)}: can't be listed ({one_line(error)})") from None
    return filesystem, rows, unfinished


def _list(filesystem: Any, root: str, recursive: bool = True) -> tuple[list[str], list[str]]:
    """List row files and unfinished files once."""
    import pyarrow.fs

    entries = filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=recursive))
    files = [entry for entry in entries if entry.type == pyarrow.fs.FileType.File]
    rows = sorted(entry.path for entry in files if ROW_FILE.fullmatch(entry.base_name))
    unfinished = sorted(entry.path for entry in files if _TEMPORARY.fullmatch(entry.base_name) and _is_old(entry))
    return rows, unfinished


def mergeable(folder: str | os.PathLike[str]) -> list[str]:
    """Return the row files directly in ``folder`` that are due to be merged, usually none."""
    filesystem, root = locate(folder)
    try:
        names, _ = _list(filesystem, root, recursive=False)
    except OSError:
        return []  # the row is written; merging can wait
    return due({name: _count(name) for name in names})


def due(rows: Mapping[str, int]) -> list[str]:
    """Return the files to merge, given how many rows each holds.

    From :data:`MERGE_AT` files on, these are the smallest one and each next one that has no more than twice the rows of
    all smaller ones. So n rows are in about log2(n / MERGE_AT) merged files, and each row is written as often.
    """
    chosen: list[str] = []
    if len(rows) < MERGE_AT:
        return chosen
    total = 0
    for name in sorted(rows, key=lambda name: rows[name]):
        if rows[name] > 2 * max(total, MERGE_AT):
            break
        chosen.append(name)
        total += rows[name]
    return chosen


def _count(name: str) -> int:
    """Return the number of rows of a file, from its name."""
    merged = _MERGED.fullmatch(PurePosixPath(name).name)
    return int(merged[1]) if merged else 1


def replace(folder: str | os.PathLike[str], table: Any, names: list[str]) -> str:
    """Write ``table``, which holds all rows of the files ``names``, and remove those files. Return the new path."""
    filesystem, _ = locate(folder)
    merged = write(folder, f"rows-{table.num_rows}", table)
    for name in names:
        with suppress(FileNotFoundError):  # another process merged it too
            filesystem.delete_file(name)
    return merged


def write(folder: str | os.PathLike[str], stem: str, table: Any) -> str:
    """Write ``table`` as a new row file in ``folder``, whole or not at all. Many writers may do so at once.

    Returns:
        Path of the file.

    Raises:
        UnavailableError: If the folder can't be written or the disk is full.
    """
    filesystem, root = locate(folder)
    target = str(PurePosixPath(root) / f"{stem}-{uuid.uuid4().hex[:12]}.parquet")
    try:
        write_parquet(filesystem, target, table)
    except OSError as error:
        hint = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota exceeded"}.get(error.errno or 0, one_line(error))
        raise UnavailableError(f"{os.fspath(folder)}: a result row can't be written ({hint})") from None
    return target


def _is_old(entry: Any) -> bool:
    return entry.mtime is None or (datetime.now(UTC) - entry.mtime).total_seconds() > _IN_FLIGHT
