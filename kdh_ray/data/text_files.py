"""Names and formats of text files: CSV, TSV, JSON Lines and Parquet, on local disks or in buckets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from itertools import takewhile
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
            folder stands for the files directly inside it. Names that begin with ``.`` or ``_`` (``._a.csv``,
            ``_SUCCESS``) are what systems leave between files of data: only a pattern that begins so matches them.

    Returns:
        (path or URL, bytes) of every file with one of :data:`FORMATS`, sorted, each once.

    Raises:
        DataError: If a file or folder is missing, or a pattern matches no file of one of :data:`FORMATS`.
        UnavailableError: If a bucket or folder can't be listed.
    """
    sizes: dict[str, int] = {}
    skipped: list[str] = []
    for pattern in patterns:
        try:
            matches = dict(_matching_files(pattern))
        except OSError as error:
            raise UnavailableError(f"{pattern}: can't be listed ({one_line(error)})") from None
        if not matches and _is_hidden(PurePosixPath(pattern).name):  # the shell's `notes/*` names them too
            skipped.append(pattern)
        elif not matches:
            raise DataError(f"{pattern}: no file whose name ends in {', '.join(FORMATS)}")
        sizes |= matches
    if skipped and not sizes:
        raise DataError(f"{skipped[0]}: no file whose name ends in {', '.join(FORMATS)}")
    return sorted(sizes.items())


def _is_hidden(name: str) -> bool:
    """Return whether Spark and pyarrow pass over a name; they don't over a partition by a column ``_x``: ``_x=1``."""
    return name.startswith(".") or (name.startswith("_") and "=" not in name)


def relative_names(files: Iterable[str]) -> dict[str, str]:
    """Return a name for each file that tells it from the others: its path below the folder that all of them share.

    Example:
        >>> relative_names(["/notes/year=2023/part-0.csv", "/notes/year=2024/part-0.csv"]).values()
        dict_values(['year=2023/part-0.csv', 'year=2024/part-0.csv'])
    """
    parts = {file: _absolute_parts(file) for file in files}
    folders = [path[:-1] for path in parts.values()]
    # Sorted, the first and the last folder differ earliest.
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(min(folders), max(folders), strict=False)))
    return {file: "/".join(path[shared:]) for file, path in parts.items()}


def _absolute_parts(file: str) -> list[str]:
    """Return the folders and the name in a path or URL, from the root or bucket on."""
    return file.split("/") if "://" in file else list(PurePosixPath(locate(file)[1]).parts)


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
    if info.type == pyarrow.fs.FileType.NotFound and first_wildcard == len(parts):
        raise DataError(f"{pattern}: no such file or folder")
    if info.type == pyarrow.fs.FileType.NotFound:
        return
    if info.type == pyarrow.fs.FileType.File:
        if first_wildcard == len(parts) and file_format(info.path) in FORMATS:
            yield scheme + separator + folder, info.size
        return
    for entry in filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=len(wildcards) > 1)):
        inner = PurePosixPath(entry.path).relative_to(root).parts
        matches = len(inner) == len(wildcards) and all(map(_matches, inner, wildcards))
        if matches and entry.type == pyarrow.fs.FileType.File and file_format(entry.path) in FORMATS:
            yield scheme + separator + str(PurePosixPath(folder, *inner)), entry.size


def _matches(name: str, wildcard: str) -> bool:
    """Return whether a name fits; one that begins with ``.`` or ``_`` only a wildcard that begins so."""
    return fnmatch(name, wildcard) and (not _is_hidden(name) or wildcard[0] == name[0])
