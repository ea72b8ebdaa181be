"""Names and formats of files of text, on local disks, in buckets or on the web."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import PurePosixPath
from urllib.parse import urlsplit

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, one_line

DELIMITERS = {".csv": ",", ".tsv": "\t", ".tab": "\t", ".psv": "|"}
JSON_LINES = (".jsonl", ".ndjson")
EXCEL = (".xlsx", ".xlsm")
TEXT_FORMATS = (*DELIMITERS, *JSON_LINES, ".json")
FORMATS = (".parquet", *TEXT_FORMATS, *EXCEL)
COMPRESSED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".xz": "xz", ".zip": "zip"}
PICKLES = (".pkl", ".pickle", ".joblib", ".pt", ".pth", ".npy")


def file_suffix(file: str) -> str:
    """Return the ending of a file's or URL's name in lower case, with its dot."""
    name = urlsplit(file).path if "://" in file else file
    return PurePosixPath(name).suffix.lower()


def file_format(file: str) -> str:
    """Return a file's ending in lower case, without that of its compression: one of :data:`FORMATS` if it can be read.

    Example:
        >>> file_format("notes.CSV.gz"), file_format("https://example.org/notes.jsonl?key=1"), file_format("notes.zip")
        ('.csv', '.jsonl', '.zip')
    """
    suffix = file_suffix(file)
    if suffix not in COMPRESSED:
        return suffix
    name = urlsplit(file).path if "://" in file else file
    inner = file_suffix(name[: -len(suffix)])
    return inner if inner in TEXT_FORMATS or inner == ".txt" else suffix  # Parquet and Excel are compressed inside


def is_readable(file: str) -> bool:
    """Return whether a file's name ends as one of :data:`FORMATS`, compressed or not."""
    return file_format(file) in (*FORMATS, ".zip")


def shown_name(file: str) -> str:
    """Return a path or URL for messages, without a URL's query, which may hold a signature."""
    return file.partition("?")[0] if "://" in file else file


def unknown_format(file: str) -> DataError:
    """Return the error for a file whose name has none of the endings that are read."""
    reason = "; a pickle is never opened, since it can run code" if file_suffix(file) in PICKLES else ""
    return DataError(
        f"{shown_name(file)}: files end in one of {', '.join([*FORMATS[1:], FORMATS[0]])}"
        f" (text also in {', '.join(COMPRESSED)}); got {file_suffix(file)!r}{reason}"
    )


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
    return shown_name(file).split("/") if "://" in file else list(PurePosixPath(locate(file)[1]).parts)


def _matching_files(pattern: str) -> Iterator[tuple[str, int]]:
    """Yield (path or URL, bytes) of the files that one pattern stands for."""
    import pyarrow.fs

    scheme, separator, path = pattern.rpartition("://")
    if scheme.startswith("http"):  # the web has no folders, and ``?`` begins a query
        yield from _web_file(pattern)
        return
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
        if first_wildcard == len(parts) and is_readable(info.path):
            yield scheme + separator + folder, info.size
        return
    for entry in filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=len(wildcards) > 1)):
        inner = PurePosixPath(entry.path).relative_to(root).parts
        matches = len(inner) == len(wildcards) and all(map(_matches, inner, wildcards))
        if matches and entry.type == pyarrow.fs.FileType.File and is_readable(entry.path):
            yield scheme + separator + str(PurePosixPath(folder, *inner)), entry.size


def _web_file(url: str) -> Iterator[tuple[str, int]]:
    import pyarrow.fs

    filesystem, root = locate(url)
    info = filesystem.get_file_info(root)
    if info.type != pyarrow.fs.FileType.NotFound and is_readable(url):
        yield url, info.size or 0  # a server need not tell the size


def _matches(name: str, wildcard: str) -> bool:
    """Return whether a name fits; one that begins with ``.`` or ``_`` only a wildcard that begins so."""
    return fnmatch(name, wildcard) and (not _is_hidden(name) or wildcard[0] == name[0])
