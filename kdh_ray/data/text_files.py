"""Names and formats of text files: CSV, TSV, JSON Lines and Parquet, on local disks or in buckets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from pathlib import PurePosixPath

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, one_line

FORMATS = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv")
DELIMITERS = {".csv": ",", ".tsv": "\t"}


def file_format(file: str) -> str:
    """Return a file's ending in lower case, with its dot: one of :data:`FORMATS` for a file that can be read."""
    return PurePosixPath(file).suffix.lower()


def list_files(patterns: Iterable[str]) -> list[tuple[str, int]]:
    """List files by name, with their sizes in bytes.

    Args:
        patterns: Each is a file, a folder, or a path with ``*`` or ``?`` in it (``s3://bucket/notes/*.parquet``). A
            folder stands for the files directly inside it.

    Returns:
        (path or URL, bytes) of every file with one of :data:`FORMATS`, sorted, each once.

    Raises:
        DataError: If a pattern matches no file of one of :data:`FORMATS`.
        UnavailableError: If a bucket or folder can't be listed.
    """
    sizes: dict[str, int] = {}
    for pattern in patterns:
        try:
            matches = dict(_matching_files(pattern))
        except OSError as error:
            raise UnavailableError(f"{pattern}: can't be listed ({one_line(error)})") from None
        if not matches:
            raise DataError(f"{pattern}: no file ({', '.join(FORMATS)}) here")
        sizes |= matches
    return sorted(sizes.items())


def _matching_files(pattern: str) -> Iterator[tuple[str, int]]:
    """Yield (path or URL, bytes) of the files that one pattern stands for."""
    import pyarrow.fs

    scheme, separator, path = pattern.rpartition("://")
    parts = PurePosixPath(path).parts
    first_wildcard = next((i for i, part in enumerate(parts) if "*" in part or "?" in part), len(parts))
    folder = str(PurePosixPath(*parts[:first_wildcard]))
    wildcards = parts[first_wildcard:] or ("*",)  # a folder stands for all files directly inside it
    filesystem, root = locate(scheme + separator + folder)
    info = filesystem.get_file_info(root)
    if info.type == pyarrow.fs.FileType.NotFound:
        return
    if info.type == pyarrow.fs.FileType.File:
        if first_wildcard == len(parts) and file_format(info.path) in FORMATS:
            yield scheme + separator + folder, info.size
        return
    for entry in filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=len(wildcards) > 1)):
        inner = PurePosixPath(entry.path).relative_to(root).parts
        matches = len(inner) == len(wildcards) and all(map(fnmatch, inner, wildcards))
        if matches and entry.type == pyarrow.fs.FileType.File and file_format(entry.path) in FORMATS:
            yield scheme + separator + str(PurePosixPath(folder, *inner)), entry.size
