"""Files on local disks, shared file systems and buckets, through pyarrow and fsspec."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path, PurePosixPath
from tempfile import SpooledTemporaryFile, TemporaryDirectory
from typing import Any

from kdh_ray.errors import UnavailableError

OBJECT_STORES = ("s3", "gcs", "abfs")  # have no folders, only prefixes of names
_ONE_ROW: Any = {"use_dictionary": False, "write_statistics": False}  # useless for one value per column
_SPOOL_BYTES = 2**26  # of a file for a bucket in memory; a larger one waits on the disk
_CHECKED: Any = {"write_page_checksum": True}  # lets readers notice damage on the disk


def locate(path: str | os.PathLike[str]) -> tuple[Any, str]:
    """Return the pyarrow file system of ``path``, and the path within it.

    pyarrow itself reads ``file://``, ``s3://``, ``gs://`` and ``hdfs://``; other schemes go through fsspec.

    Raises:
        UnavailableError: If no installed package reads the scheme.
    """
    import pyarrow.fs

    text = os.fspath(path)
    scheme, separator, _ = text.partition("://")
    if not separator:
        return pyarrow.fs.LocalFileSystem(), os.path.abspath(os.path.expanduser(text))
    try:
        if scheme in ("file", "s3", "gs", "gcs", "hdfs"):
            filesystem, root = pyarrow.fs.FileSystem.from_uri(text)
            return filesystem, str(root)
        fsspec = import_module("fsspec.core")
        filesystem, root = fsspec.url_to_fs(text)
    except (ImportError, ValueError, OSError) as error:
        raise UnavailableError(f"{text}: can't be opened ({one_line(error)})") from None
    return pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(filesystem)), str(root)


def local_folder(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path of a folder that locks and renames need to work in; ``~`` is expanded.

    Raises:
        UnavailableError: If it is in a bucket.
    """
    if re.match(r"[a-z][a-z0-9+.-]+:/", os.fspath(path)):  # a Path of s3://bucket is s3:/bucket
        raise UnavailableError(f"this needs a folder of this machine or of a shared file system; got {path}")
    return Path(path).expanduser().absolute()


def write_parquet(filesystem: Any, target: str, table: Any, **encoding: Any) -> None:
    """Write ``table`` to the file ``target``, completely or not at all; an existing file is replaced.

    Args:
        filesystem: A pyarrow file system.
        target: Path within it.
        table: A pyarrow table.
        encoding: Arguments of ``pyarrow.parquet.write_table``.

    Raises:
        OSError: If the file can't be written.
    """
    import pyarrow.parquet

    encoding = {**(encoding or (_ONE_ROW if table.num_rows == 1 else {})), **_CHECKED}
    write_file(filesystem, target, lambda stream: pyarrow.parquet.write_table(table, stream, **encoding))


def write_file(filesystem: Any, target: str, write: Callable[[Any], object]) -> None:
    """Write a file completely or not at all; an existing file is replaced.

    Args:
        filesystem: A pyarrow file system.
        target: Path within it.
        write: Writes the content to the binary stream that it gets.

    Raises:
        OSError: If the file can't be written.
    """
    import pyarrow.fs

    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        _write_local(Path(target), write)
        return
    make_parent(filesystem, target)
    # Encode first: closing the stream publishes the object, also after an error halfway.
    with SpooledTemporaryFile(_SPOOL_BYTES) as buffer:
        write(buffer)
        buffer.seek(0)
        with filesystem.open_output_stream(target) as stream:
            shutil.copyfileobj(buffer, stream)


def _write_local(target: Path, write: Callable[[Any], object]) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.tmp")
    try:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())  # the content must be on the disk before the name is
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(target.parent)


def make_parent(filesystem: Any, target: str) -> None:
    """Create the folder of ``target``, if the file system has folders."""
    if filesystem.type_name not in OBJECT_STORES:
        filesystem.create_dir(str(PurePosixPath(target).parent), recursive=True)


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut, if the system supports it (Windows and some NFS do not)."""
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


@contextmanager
def fetched(folder: str) -> Iterator[Path]:
    """Yield ``folder`` as a local folder: itself, or a copy of a bucket's content, deleted when the block ends.

    Raises:
        UnavailableError: If the bucket can't be read.
    """
    import pyarrow.fs

    filesystem, root = locate(folder)
    if isinstance(filesystem, pyarrow.fs.LocalFileSystem):
        yield Path(root if "://" in folder else folder).expanduser()  # in messages as the user wrote it
        return
    with TemporaryDirectory(prefix="kdh-ray-") as copy:
        try:
            pyarrow.fs.copy_files(root, copy, source_filesystem=filesystem)
        except OSError as error:
            raise UnavailableError(f"{folder}: can't be read ({one_line(error)})") from None
        yield Path(copy)


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Create a folder and lock it against other processes until the block ends; a killed process releases its lock.

    Raises:
        UnavailableError: If the folder can't be written, or another process holds the lock.
    """
    from filelock import FileLock, Timeout

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=0)
        lock.acquire()
    except Timeout:
        raise UnavailableError(f"{folder}: another run is writing here; wait for it, or give another folder") from None
    except OSError as error:
        raise UnavailableError(f"{folder} can't be written: {error.strerror}") from None
    try:
        yield
    finally:
        lock.release()


def one_line(error: BaseException) -> str:
    """Return an error's message on one line, cut to 200 characters."""
    return " ".join(str(error).split())[:200] or type(error).__name__
