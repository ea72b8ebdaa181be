"""Files of a user's own labelled text as tables.

CSV, TSV, JSON Lines and Parquet files are read, folders of such files named after splits, and folders that Hugging Face
``datasets`` saved.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdh_ray.data.class_names import name_classes, parquet_features
from kdh_ray.data.messages import separator_hint
from kdh_ray.errors import DataError

SPLIT_ALIASES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
}
GZIP = ".gz"
LONGEST_FIELD = 2**31 - 1  # characters; the csv module stops at 128 KiB, which a long note exceeds
SAVED_DATASET_FILES = ("dataset_dict.json", "dataset_info.json", "state.json")


@dataclass(frozen=True)
class Table:
    """Rows of one file.

    Attributes:
        source: The file, for messages.
        split: The split that the file's name says, or None.
        columns: Column names in the file's order. Columns with an empty name are not readable.
        rows: One mapping from column to value per row. Messages count rows from 1.
        has_json_keys: Whether column names are keys of JSON objects, so never a row of data.
    """

    source: str
    split: str | None
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]
    has_json_keys: bool = False


Content = tuple[tuple[str, ...], list[dict[str, Any]]]
"""Column names and rows, as in :class:`Table`."""


def read_tables(path: Path) -> list[Table]:
    """Read the tables of a file, of a folder with files named after splits, or of a saved ``datasets`` folder.

    A folder's files are named ``train.csv`` or ``train-00000-of-00002.parquet``; ``SPLIT_ALIASES`` has the names.

    Raises:
        DataError: If the path is absent, or its content is empty, unreadable, malformed or not UTF-8.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if path.is_file():
            return [_read_file(path, None)]
        if any((path / name).is_file() for name in SAVED_DATASET_FILES):
            return _read_saved_dataset(path)
        files = sorted(file for file in path.iterdir() if _suffix(file) in READERS and _split_of(file))
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror}") from None
    if not files:
        raise DataError(
            f"{path}: a folder holds train, validation and test files ({', '.join(READERS)}) or a saved dataset; "
            "found neither"
        )
    _check_formats(path, files)
    return [_read_file(file, _split_of(file)) for file in files]


def _check_formats(folder: Path, files: list[Path]) -> None:
    """Check that each split has files of one format: ``train.csv`` and ``train.parquet`` hold the same text twice."""
    formats: dict[str | None, set[str]] = {}
    for file in files:
        formats.setdefault(_split_of(file), set()).add(_suffix(file))
    for split, suffixes in formats.items():
        if len(suffixes) > 1:
            raise DataError(
                f"{folder}: files of the {split} split must have one format; got {', '.join(sorted(suffixes))}"
            )


def _suffix(file: Path) -> str:
    """Return a file's ending in lower case, without the ``.gz`` of a compressed one."""
    suffix = Path(file.name.lower().removesuffix(GZIP)).suffix
    is_binary = suffix == ".parquet"  # compressed inside
    return GZIP if is_binary and file.name.lower().endswith(GZIP) else suffix


def _split_of(file: Path) -> str | None:
    """Return ``train`` for ``train.csv`` and for the shard ``train-00000-of-00002.parquet``; None for other names."""
    return SPLIT_ALIASES.get(re.split(r"[-._]", file.stem.lower())[0])


def _read_file(path: Path, split: str | None) -> Table:
    suffix = _suffix(path)
    if suffix not in READERS:
        raise DataError(f"{path}: files end in one of {', '.join(READERS)}; got {path.suffix!r}")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty")
        columns, rows = READERS[suffix](path)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or type(error).__name__}") from None
    named = [name for name in columns if name]  # spreadsheets add empty columns at the end
    if len(set(named)) != len(named):
        raise DataError(f"{path}: must name each column once; a name is repeated")
    if not rows:
        raise DataError(f"{path}: has no rows")
    return Table(str(path), split, columns, rows, has_json_keys=READERS[suffix] is _read_json_lines)


def _read_csv(path: Path) -> Content:
    return _read_delimited(path, ",")


def _read_tsv(path: Path) -> Content:
    return _read_delimited(path, "\t")


def _read_delimited(path: Path, delimiter: str) -> Content:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    reader = csv.reader(io.StringIO(_decode(path), newline=""), delimiter=delimiter, strict=True)
    rows: list[dict[str, Any]] = []
    ragged: list[int] = []  # numbers of rows with more or fewer fields than the header
    try:
        header = tuple(name.strip() for name in next(reader, []))
        for fields in reader:
            if not fields:
                continue  # a blank line
            if len(fields) != len(header):
                ragged.append(len(rows) + 1)
            rows.append(dict(zip(header, fields, strict=False)))
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num} is malformed: {error}") from None
    if ragged and len(set(header)) == len(header):  # a repeated name is the fault to report first
        hint = separator_hint(header)
        number = "1 field" if len(header) == 1 else f"{len(header)} fields"
        raise DataError(
            f"{path}: every row needs {number}, as the header has; {len(ragged)} rows differ, first row {ragged[0]}"
            + (f", {hint}" if hint else "")
        )
    return header, rows


def _read_json_lines(path: Path) -> Content:
    lines = enumerate(_decode(path).split("\n"), start=1)
    rows = [_parse_json_line(path, number, line) for number, line in lines if line.strip()]
    return tuple(dict.fromkeys(name for row in rows for name in row)), rows


def _parse_json_line(path: Path, number: int, line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
        if "\\ud" in line.lower():  # an escaped surrogate, which is not a character without its other half
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{path}: line {number} holds half a surrogate pair, which is not Unicode text") from None
    except (ValueError, RecursionError):
        raise DataError(f"{path}: line {number} is not JSON; JSON Lines hold one object per line") from None
    if not isinstance(row, dict):
        raise DataError(f"{path}: line {number} must hold a JSON object; got {type(row).__name__}")
    return row


def _read_parquet(path: Path) -> Content:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        features = parquet_features(table.schema)
        rows = table.to_pylist()
        return tuple(table.column_names), [name_classes(row, features) for row in rows] if features else rows
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # a fault of the disk, not of the file
            raise
        raise DataError(f"{path}: is not a readable Parquet file ({type(error).__name__})") from None


def _read_saved_dataset(path: Path) -> list[Table]:
    """Read a folder written by ``save_to_disk``: a Dataset, or a DatasetDict with named splits."""
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
        parts = dict(loaded) if isinstance(loaded, DatasetDict) else {None: loaded}
        tables = [
            Table(f"{path}/{name}" if name else str(path), _check_split_name(name, path), *_dataset_content(part))
            for name, part in parts.items()
        ]
    except (
        OSError,
        ValueError,
        LookupError,
        TypeError,
    ) as error:  # of a damaged folder; ArrowInvalid is a ValueError
        raise DataError(f"{path}: is not a readable folder of a saved dataset ({type(error).__name__})") from None
    empty = [table.source for table in tables if not table.rows]
    if empty:
        raise DataError(f"{empty[0]}: has no rows")
    return tables


def _check_split_name(name: str | None, path: Path) -> str | None:
    if name is None:
        return None
    if name.lower() not in SPLIT_ALIASES:
        raise DataError(f"{path}: splits are named train, validation and test; got {name!r}")
    return SPLIT_ALIASES[name.lower()]


def _dataset_content(part: Any) -> Content:
    """Read the columns and rows of a Dataset, with the numbers of its classes turned into names."""
    return tuple(part.column_names), [name_classes(row, part.features) for row in part.with_format(None)]


def _read_bytes(path: Path) -> bytes:
    if not path.name.lower().endswith(GZIP):
        return path.read_bytes()
    try:
        with gzip.open(path) as stream:
            return stream.read()
    except (gzip.BadGzipFile, EOFError, zlib.error):
        raise DataError(f"{path}: is not an intact gzip file") from None


def _decode(path: Path) -> str:
    content = _read_bytes(path)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError(f"{path}: must be UTF-8; byte {error.start}, in line {line}, is not") from None


READERS: dict[str, Callable[[Path], Content]] = {
    ".csv": _read_csv,
    ".tsv": _read_tsv,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
    ".json": _read_json_lines,
    ".parquet": _read_parquet,
}
