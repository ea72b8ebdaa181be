"""Row files on local disks, shared file systems and buckets, through pyarrow and fsspec.

A row file is ``row-*.parquet`` (one row) or ``rows-*.parquet`` (many, compacted), anywhere below a folder. It gets its
name when it is whole: before that it is a hidden ``.*.tmp`` beside its place, or, in a bucket, an upload not finished.
"""

from __future__ import annotations

import errno
import os
import re
import uuid
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any

from kdh_ray.errors import DataError, UnavailableError

ROW_FILE = re.compile(r"rows?-.*\.parquet")
_TEMPORARY = re.compile(r"\.rows?-.*\.parquet\.tmp")
_ONE_ROW: Any = {"use_dictionary": False, "write_statistics": False}  # one value a column: both only cost
_IN_FLIGHT = 60.0  # seconds in which a temporary file may still become a row


def locate(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """The pyarrow file system that ``path`` lies in, and its path there.

    ``file://``, ``s3://``, ``gs://`` and ``hdfs://`` are pyarrow's own; other schemes go through fsspec.

    Raises:
        UnavailableError: If nothing here can read the scheme.
    """
    import pyarrow.fs

    text = os.fspath(path)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return pyarrow.fs.LocalFileSystem(), os.path.abspath(text)
    try:
        if scheme in ("file", "s3", "gs", "gcs", "hdfs"):
            filesystem, root = pyarrow.fs.FileSystem.from_uri(text)
            return filesystem, str(root)
        fsspec = import_module("fsspec.core")
        filesystem, root = fsspec.url_to_fs(text)
    except (ImportError, ValueError, OSError) as error:
        raise UnavailableError(f"{text}: can't be opened ({_one_line(error)})") from None
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem)), str(root)


def find(path: str | os.PathLike[str]) -> tuple[Any, list[str], list[str]]:
    """Row files at or below ``path``, and files that a writer began and never finished, both sorted.

    Raises:
        DataError: If there is no such file or folder, or a file is not a row file's format.
    """
    import pyarrow.fs

    filesystem, root = locate(path)
    try:
        info = filesystem.get_file_info(root)
        if info.type == pyarrow.fs.FileType.File:
            return filesystem, [root], []
        if info.type == pyarrow.fs.FileType.NotFound:
            raise DataError(f"{os.fspath(path)}: no such file or folder")
        entries = filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
    except OSError as error:
        raise UnavailableError(f"{os.fspath(path)}: can't be listed ({_one_line(error)})") from None
    files = [entry for entry in entries if entry.type == pyarrow.fs.FileType.File]
    rows = sorted(entry.path for entry in files if ROW_FILE.fullmatch(entry.base_name))
    left = sorted(entry.path for entry in files if _TEMPORARY.fullmatch(entry.base_name) and _is_old(entry))
    return filesystem, rows, left


def write(folder: str | os.PathLike[str], stem: str, table: Any) -> str:
    """Write ``table`` as a new row file in ``folder``, whole or not at all; many writers may do so at once.

    Returns:
        Its path.

    Raises:
        UnavailableError: If the folder can't be written or the disk is full.
    """
    import pyarrow.fs
    import pyarrow.parquet

    filesystem, root = locate(folder)
    name = f"{stem}-{uuid.uuid4().hex[:12]}.parquet"
    target = str(PurePosixPath(root) / name)
    try:
        if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
            _write_local(Path(target), table)
        else:  # an object appears when its upload is complete
            filesystem.create_dir(root, recursive=True)
            pyarrow.parquet.write_table(table, target, filesystem=filesystem)
    except OSError as error:
        hint = {errno.ENOSPC: "no space left", errno.EDQUOT: "quota exceeded"}.get(error.errno or 0, _one_line(error))
        raise UnavailableError(f"{os.fspath(folder)}: a result row can't be written ({hint})") from None
    return target


def _write_local(target: Path, table: Any) -> None:
    import pyarrow.parquet

    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with temporary.open("xb") as file:
            pyarrow.parquet.write_table(table, file, **(_ONE_ROW if table.num_rows == 1 else {}))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` last through a power cut, where the file system can (Windows and some NFS can't)."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _is_old(entry: Any) -> bool:
    return entry.mtime is None or (datetime.now(UTC) - entry.mtime).total_seconds() > _IN_FLIGHT


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
