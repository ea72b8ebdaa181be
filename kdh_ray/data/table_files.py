"""Files of a user's own text: CSV, TSV, JSON Lines, Parquet, and folders that Hugging Face `datasets` saved."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
LONGEST_FIELD = 2**31 - 1  # csv stops at 128 KiB otherwise, which a long note exceeds


@dataclass(frozen=True)
class Table:
    """Rows of one file.

    Attributes:
        source: The file, for messages.
        split: The split that its name stands for, or None.
        columns: Column names in the file's order.
        rows: One mapping a row, from column to value; row n of messages is ``rows[n - 1]``.
    """

    source: str
    split: str | None
    columns: tuple[str, ...]
    rows: list[dict[str, Any]]


def read_tables(path: Path) -> list[Table]:
    """The tables of a file, of a folder with files named after splits, or of a saved `datasets` folder.

    Raises:
        DataError: If there is nothing there, or it is empty, unreadable, malformed or not UTF-8.
    """
    try:
        if not path.exists():
            raise DataError(f"{path}: no such file or folder")
        if path.is_file():
            return [_read_file(path, None)]
        if any((path / name).is_file() for name in ("dataset_dict.json", "dataset_info.json", "state.json")):
            return _read_dataset(path)
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in READERS and _split_of(file))
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
    """Shards of a split are of one format: ``train.csv`` beside ``train.parquet`` is the same text twice."""
    formats: dict[str | None, set[str]] = {}
    for file in files:
        formats.setdefault(_split_of(file), set()).add(file.suffix.lower())
    for split, found in formats.items():
        if len(found) > 1:
            raise DataError(
                f"{folder}: files of the {split} split must have one format; got {', '.join(sorted(found))}"
            )


def _split_of(file: Path) -> str | None:
    """``train`` for ``train.csv`` and for the shard ``train-00000-of-00002.parquet``."""
    return SPLIT_ALIASES.get(re.split(r"[-._]", file.stem.lower())[0])


def _read_file(path: Path, split: str | None) -> Table:
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: files end in one of {', '.join(READERS)}; got {path.suffix!r}")
    try:
        if path.stat().st_size == 0:
            raise DataError(f"{path}: is empty")
        columns, rows = reader(path)
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or type(error).__name__}") from None
    if len(set(columns)) != len(columns):
        raise DataError(f"{path}: must name each column once; a name is repeated")
    if not rows:
        raise DataError(f"{path}: has no rows")
    return Table(str(path), split, columns, rows)


Content = tuple[tuple[str, ...], list[dict[str, Any]]]


def _read_csv(path: Path) -> Content:
    return _read_delimited(path, ",")


def _read_tsv(path: Path) -> Content:
    return _read_delimited(path, "\t")


def _read_delimited(path: Path, delimiter: str) -> Content:
    csv.field_size_limit(max(csv.field_size_limit(), LONGEST_FIELD))
    reader = csv.reader(io.StringIO(_decode(path), newline=""), delimiter=delimiter, strict=True)
    rows: list[dict[str, Any]] = []
    ragged: list[int] = []
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
    if ragged and len(set(header)) == len(header):
        raise DataError(
            f"{path}: every row needs {len(header)} fields, as the header has; {len(ragged)} rows differ, "
            f"first row {ragged[0]}"
        )
    return header, rows


def _read_json_lines(path: Path) -> Content:
    rows: list[dict[str, Any]] = []
    for number, line in enumerate(_decode(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            if "\\ud" in line.lower():  # an escaped surrogate, which without its other half is no character
                json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise DataError(f"{path}: line {number} holds half a surrogate pair, which is not Unicode text") from None
        except (ValueError, RecursionError):
            raise DataError(f"{path}: line {number} is not JSON; JSON Lines hold one object a line") from None
        if not isinstance(row, dict):
            raise DataError(f"{path}: line {number} must hold a JSON object; got {type(row).__name__}")
        rows.append(row)
    return tuple(dict.fromkeys(name for row in rows for name in row)), rows


def _read_parquet(path: Path) -> Content:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        return tuple(table.column_names), table.to_pylist()
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the disk, not of what is on it
            raise
        raise DataError(f"{path}: is not a readable Parquet file ({type(error).__name__})") from None


def _read_dataset(path: Path) -> list[Table]:
    """A folder written by ``save_to_disk``: a Dataset, or a DatasetDict with named splits."""
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
        parts = dict(loaded) if isinstance(loaded, DatasetDict) else {None: loaded}
        tables = [
            Table(f"{path}/{name}" if name else str(path), _known_split(name, path), *_dataset_rows(part))
            for name, part in parts.items()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:  # what a damaged folder raises, ArrowInvalid included
        raise DataError(f"{path}: is not a readable folder of a saved dataset ({type(error).__name__})") from None
    empty = [table.source for table in tables if not table.rows]
    if empty:
        raise DataError(f"{empty[0]}: has no rows")
    return tables


def _known_split(name: str | None, path: Path) -> str | None:
    if name is not None and name.lower() not in SPLIT_ALIASES:
        raise DataError(f"{path}: splits are named train, validation and test; got {name!r}")
    return None if name is None else SPLIT_ALIASES[name.lower()]


def _dataset_rows(part: Any) -> Content:
    """Rows of a Dataset, with the numbers of its ClassLabel columns turned into names; -1 stands for a missing one."""
    names = {column: _class_names(feature) for column, feature in part.features.items()}

    def named(column: str, value: Any) -> Any:
        labels = names[column]
        if labels is None or value is None:
            return value
        if isinstance(value, list):
            return [named(column, number) for number in value]
        return None if value < 0 else labels[value]

    def rows() -> Iterator[dict[str, Any]]:
        for row in part.with_format(None):
            yield {column: named(column, value) for column, value in row.items()}

    return tuple(part.column_names), list(rows())


def _class_names(feature: Any) -> list[str] | None:
    inner = getattr(feature, "feature", feature)  # of a list of ClassLabel
    names = getattr(inner, "names", None)
    # A binary ClassLabel with names such as "0" and "1" stays readable as a 0/1 column.
    return list(names) if names is not None else None


def _decode(path: Path) -> str:
    content = path.read_bytes()
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
