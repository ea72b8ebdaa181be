"""Files as streams of bytes: local, in buckets or on the web, compressed or not.

A compressed file that expands beyond all proportion is refused, and nothing is ever unpacked to the disk.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath, PureWindowsPath
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from kdh_ray.data.text_files import COMPRESSED, file_suffix, shown_name
from kdh_ray.errors import DataError
from kdh_ray.storage import locate

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BUFFER_BYTES = 2**20
MOST_EXPANSION = 200  # bytes of text for each compressed byte; text compresses to a third or a tenth
FREE_BYTES = 8 * 2**20  # up to here, any expansion is harmless
ENCRYPTED = 0x1  # a bit of a ZIP member's flags


def is_compressed(file: str) -> bool:
    """Return whether a file's name says that it is compressed as a whole."""
    return file_suffix(file) in COMPRESSED


def can_seek(file: str) -> bool:
    """Return whether reading may start in the middle of a file. A web server need not support that."""
    return not is_compressed(file) and not file.startswith(("http://", "https://"))


@contextmanager
def open_bytes(file: str) -> Iterator[BinaryIO]:
    """Open a file to read the bytes of its content, expanded if the file is compressed.

    Raises:
        DataError: If a compressed file is damaged, expands suspiciously, or is a ZIP archive of another than one file.
        OSError: If the file can't be read; the caller knows the words for it.
    """
    with ExitStack() as stack:
        filesystem, path = locate(file)
        source: Any = stack.enter_context(filesystem.open_input_stream(path) if _is_web(file) else _open(file))
        compression = COMPRESSED.get(file_suffix(file))
        if compression is None:
            yield io.BufferedReader(source, BUFFER_BYTES)
            return
        size = filesystem.get_file_info(path).size or 0
        if compression == "zip":
            inner: Any = stack.enter_context(_open_zip(file, stack.enter_context(open_seekable(file))))
        else:
            inner = _open_arrow_stream(source, compression)
        yield io.BufferedReader(_Expanding(file, inner, compression, size), BUFFER_BYTES)


@contextmanager
def open_seekable(file: str) -> Iterator[BinaryIO]:
    """Open a file that is not compressed as a whole (Parquet, Excel, ZIP), to read it in any order."""
    filesystem, path = locate(file)
    if _is_web(file):
        with filesystem.open_input_stream(path) as stream:
            yield io.BytesIO(stream.read())
        return
    with _open(file) as source:
        yield source


def _open(file: str) -> Any:
    filesystem, path = locate(file)
    return filesystem.open_input_file(path)


def _is_web(file: str) -> bool:
    return file.startswith(("http://", "https://"))


def _open_arrow_stream(source: Any, compression: str) -> Any:
    import lzma

    import pyarrow as pa

    return lzma.open(source) if compression == "xz" else pa.CompressedInputStream(source, compression)


@contextmanager
def _open_zip(file: str, source: BinaryIO) -> Iterator[IO[bytes]]:
    """Open the one member of an archive."""
    try:
        with zipfile.ZipFile(source) as archive, archive.open(_one_member(file, archive)) as member:
            yield member
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError):  # whatever zipfile raises for damage
        raise DataError(f"{shown_name(file)}: is not an intact zip file") from None


def zip_member(file: str) -> str:
    """Return the name of the one file in a ZIP archive.

    Raises:
        DataError: If the archive is damaged, or holds several files or a suspicious one.
    """
    with open_seekable(file) as source:
        try:
            with zipfile.ZipFile(source) as archive:
                return _one_member(file, archive).filename
        except (zipfile.BadZipFile, ValueError):
            raise DataError(f"{shown_name(file)}: is not an intact zip file") from None


def _one_member(file: str, archive: zipfile.ZipFile) -> zipfile.ZipInfo:
    members = [each for each in archive.infolist() if not each.is_dir() and not _is_of_the_system(each.filename)]
    if len(members) != 1:
        raise DataError(f"{shown_name(file)}: a zip archive must hold one file; got {len(members)}")
    name = members[0].filename
    if ".." in PurePosixPath(name).parts or PurePosixPath(name).is_absolute() or PureWindowsPath(name).drive:
        raise DataError(f"{shown_name(file)}: the file in a zip archive must not name a place outside of it")
    if members[0].flag_bits & ENCRYPTED:
        raise DataError(f"{shown_name(file)}: is encrypted; unpack it first")
    return members[0]


def _is_of_the_system(member: str) -> bool:
    """Return whether macOS put a file into an archive: ``__MACOSX/._a.csv``, ``.DS_Store``."""
    return member.startswith("__MACOSX/") or PurePosixPath(member).name == ".DS_Store"


def check_expansion(file: str, expanded: int, size: int) -> None:
    """Refuse a file that expands beyond all proportion.

    Args:
        file: For the message.
        expanded: Bytes of content, so far.
        size: Bytes of the compressed file.
    """
    if expanded > max(FREE_BYTES, MOST_EXPANSION * size):
        raise DataError(
            f"{shown_name(file)}: expands to more than {MOST_EXPANSION} times its size, which text does not do;"
            " unpack it first if you trust it"
        )


class _Expanding(io.RawIOBase):
    """A decompressed stream that gives up on damage and on bombs."""

    def __init__(self, file: str, inner: IO[bytes], compression: str, size: int) -> None:
        self._file, self._inner, self._compression, self._size = file, inner, compression, size
        self._expanded = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        import lzma
        import zlib

        import pyarrow as pa

        view = memoryview(buffer)
        try:
            content = self._inner.read(len(view))
        except (pa.ArrowException, OSError, EOFError, lzma.LZMAError, zlib.error, zipfile.BadZipFile):
            raise DataError(f"{shown_name(self._file)}: is not an intact {self._compression} file") from None
        self._expanded += len(content)
        check_expansion(self._file, self._expanded, self._size)
        view[: len(content)] = content
        return len(content)
