"""Files of a user's own labelled text as tables.

Single files in any format of ``file_rows``, folders of such files named after splits, folders of brat's files, and
what Hugging Face ``datasets`` writes and publishes.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath
from typing import Any

from kdh_ray.data.annotations.brat import read_folder as read_brat_folder
from kdh_ray.data.class_names import name_classes, parquet_features
from kdh_ray.data.dataset_folders import (
    hub_name,
    is_saved_dataset,
    is_snapshot,
    read_hub_dataset,
    read_saved_dataset,
    read_snapshot,
)
from kdh_ray.data.file_rows import Fault, Reading, Row, Understood, iterate_rows, understand
from kdh_ray.data.messages import separator_hint
from kdh_ray.data.opening import open_seekable
from kdh_ray.data.table import SPLIT_ALIASES, Table
from kdh_ray.data.text_files import FORMATS, file_format, is_readable, shown_name
from kdh_ray.errors import DataError
from kdh_ray.storage import locate, one_line


def read_tables(path: Path | str, reading: Reading | None = None) -> list[Table]:
    """Read the tables of a file, of a folder with files named after splits, or of a dataset.

    A folder's files are named ``train.csv`` or ``train-00000-of-00002.parquet``; ``SPLIT_ALIASES`` has the names.

    Args:
        path: File, folder, URL, or the name of a dataset on the hub.
        reading: How files are to be read; recognised if None.

    Raises:
        DataError: If the path is absent, or its content is empty, unreadable, malformed or in another encoding.
        UnavailableError: If a package is missing that reads it, or the hub can't be reached.
    """
    import pyarrow as pa
    import pyarrow.fs

    place, reading = str(path), reading or Reading()
    if name := hub_name(place):
        return read_hub_dataset(name, reading.subset)
    try:
        filesystem, root = locate(place)
        kind = filesystem.get_file_info(root).type
        if kind == pyarrow.fs.FileType.NotFound:
            raise DataError(f"{shown_name(place)}: no such file or folder")
        if kind == pyarrow.fs.FileType.Directory:
            return _read_folder(place, reading)
        return [_read_file(place, None, reading)]
    except (OSError, pa.ArrowException) as error:
        code = getattr(error, "errno", None)
        reason = os.strerror(code) if code else one_line(error)
        raise DataError(f"{shown_name(place)}: can't be read: {reason}") from None


def _read_folder(folder: str, reading: Reading) -> list[Table]:
    is_local = "://" not in folder
    if is_local and is_saved_dataset(Path(folder)):
        return read_saved_dataset(Path(folder))
    files = _files_below(folder)
    if reading.format == "brat" or (reading.format == "auto" and any(file.endswith(".ann") for file in files)):
        return _read_brat(folder, files)
    named = [file for file in files if "/" not in file and _split_of(file)]
    direct = [file for file in named if is_readable(file) or file_format(file) == ".txt"]
    if direct:
        _check_formats(folder, direct)
        return [_read_file(_join(folder, file), _split_of(file), reading) for file in direct]
    if is_local and is_snapshot(Path(folder)):
        return read_snapshot(Path(folder), reading.subset)
    raise DataError(
        f"{shown_name(folder)}: a folder holds train, validation and test files ({', '.join(FORMATS)}), a dataset, or"
        " brat's .txt and .ann files; found neither"
    )


def _files_below(folder: str) -> list[str]:
    """Return the paths of the files in a folder, relative to it, sorted; hidden ones are left out."""
    import pyarrow.fs

    filesystem, root = locate(folder)
    entries = filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
    files = [PurePosixPath(entry.path).relative_to(root) for entry in entries if entry.is_file]
    return sorted(str(file) for file in files if not any(part.startswith(".") for part in file.parts))


def _join(folder: str, file: str) -> str:
    return f"{folder.rstrip('/')}/{file}"


def _read_brat(folder: str, files: list[str]) -> list[Table]:
    """Read brat's files, directly in the folder or in folders named after splits."""
    tables = []
    for inner in sorted({str(PurePosixPath(file).parent) for file in files if file.endswith(".ann")}):
        split = SPLIT_ALIASES.get(PurePosixPath(inner).name.lower())
        members = [_join(folder, file) for file in files if str(PurePosixPath(file).parent) == inner]
        rows = list(read_brat_folder(members))
        source = folder if inner == "." else _join(folder, inner)
        tables.append(Table(source, split, tuple(rows[0]), rows, has_json_keys=True, understood="brat"))
    if not tables:
        raise DataError(f"{shown_name(folder)}: brat needs .txt and .ann files; it has no .ann file")
    return tables


def _check_formats(folder: str, files: list[str]) -> None:
    """Check that each split has files of one format: ``train.csv`` and ``train.parquet`` hold the same text twice."""
    formats: dict[str | None, set[str]] = {}
    for file in files:
        formats.setdefault(_split_of(file), set()).add(file_format(file))
    for split, suffixes in formats.items():
        if len(suffixes) > 1:
            raise DataError(
                f"{folder}: files of the {split} split must have one format; got {', '.join(sorted(suffixes))}"
            )


def _split_of(file: str) -> str | None:
    """Return ``train`` for ``train.csv`` and for the shard ``train-00000-of-00002.parquet``; None for other names."""
    return SPLIT_ALIASES.get(re.split(r"[-._]", PurePosixPath(file).stem.lower())[0])


def _read_file(file: str, split: str | None, reading: Reading) -> Table:
    filesystem, path = locate(file)
    if filesystem.get_file_info(path).size == 0:
        raise DataError(f"{shown_name(file)}: is empty")
    source = understand(file, reading)
    if source.format == ".parquet":
        columns, rows = source.header, _parquet_rows(file)
    else:
        if source.encoding.fault:
            hint = "name its encoding as data.encoding if you know it, such as cp1252"
            raise DataError(f"{shown_name(file)}: must be UTF-8; {source.encoding.fault} ({hint})")
        rows = _checked_rows(source)
        columns = source.header or tuple(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        raise DataError(f"{shown_name(file)}: has no rows")
    has_json_keys = not source.header
    return Table(shown_name(file), split, columns, rows, has_json_keys, source.describe())


def _checked_rows(source: Understood) -> list[Row]:
    """Read all rows of a file.

    Raises:
        DataError: If one can't be read.
    """
    rows: list[Row] = []
    ragged: list[int] = []  # numbers of rows with more or fewer fields than the header
    for number, (row, _) in enumerate(iterate_rows(source), start=1):
        if not isinstance(row, Fault):
            rows.append(row)
        elif row.kind == "fields":
            ragged.append(number)
        else:
            raise DataError(f"{shown_name(source.file)}: {row.message}")
    if ragged:
        hint = separator_hint(source.header)
        fields = "1 field" if len(source.header) == 1 else f"{len(source.header)} fields"
        raise DataError(
            f"{shown_name(source.file)}: every row needs {fields}, as the header has; {len(ragged)} rows differ, first"
            f" row {ragged[0]}" + (f", {hint}" if hint else "")
        )
    return rows


def _parquet_rows(file: str) -> list[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_seekable(file) as source:
        try:
            table = pq.ParquetFile(source).read()
            features = parquet_features(table.schema)
            rows: list[dict[str, Any]] = table.to_pylist()
            return [name_classes(row, features) for row in rows] if features else rows
        except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # a fault of the disk, not of the file
                raise
            raise DataError(f"{shown_name(file)}: is not a readable Parquet file ({type(error).__name__})") from None
