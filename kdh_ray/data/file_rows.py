"""The one reader of files of text: what a file is, and its rows, for training tables and for prediction alike.

A file is first understood: its format, encoding and delimiter. Then its rows are read as a stream, from the start or,
in a plain file, from the position at which an earlier row ended.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kdh_ray.data.delimiters import delimited_records, recognise_delimiter
from kdh_ray.data.encodings import (
    UTF8,
    Encoding,
    TextLines,
    has_escaped_bytes,
    lines_of,
    named_encoding,
    recognise_encoding,
)
from kdh_ray.data.excel import excel_rows
from kdh_ray.data.fasttext import LABEL_PREFIX, fasttext_row
from kdh_ray.data.opening import can_seek, open_bytes, open_seekable, zip_member
from kdh_ray.data.text_files import (
    COMPRESSED,
    DELIMITERS,
    EXCEL,
    FORMATS,
    JSON_LINES,
    file_format,
    shown_name,
    unknown_format,
)  # fmt: skip
from kdh_ray.errors import DataError

Row = dict[str, Any]
_NAMES = {".csv": "CSV", ".psv": "text", ".json": "JSON", ".parquet": "Parquet", ".txt": "fastText"}
_NAMES |= dict.fromkeys((".tsv", ".tab"), "TSV")
_SIGNS = {",": "','", ";": "';'", "\t": "tabs", "|": "'|'"}


@dataclass(frozen=True)
class Reading:
    """How a user says that files are to be read. None stands for what is recognised.

    Attributes:
        format: Name of an annotation tool, ``table``, or ``auto``.
        delimiter: Character between the fields of CSV and TSV.
        encoding: Python's name of a codec.
        sheet: Sheet of an Excel workbook.
        subset: Subset of a dataset on the hub.
    """

    format: str = "auto"
    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    subset: str | None = None


@dataclass(frozen=True)
class Fault:
    """A row that can't be read.

    Attributes:
        kind: ``fields``, ``json``, ``surrogate`` or ``encoding``.
        message: The rule and what was received.
        row: The row, if only one of its values is faulty.
    """

    kind: str
    message: str
    row: Row | None = None


@dataclass(frozen=True)
class Understood:
    """Format of a file, as recognised.

    Attributes:
        file: Path or URL.
        format: The ending that stands for it: one of ``FORMATS``, or ``.txt`` for fastText. ``.json`` is one array.
        encoding: Encoding of a text file.
        delimiter: Delimiter of CSV or TSV.
        header: Column names of CSV, TSV, Excel and Parquet; empty where each row names its own.
        start: Position in bytes of the first row.
        start_line: Number of lines before it.
        sheet: Sheet of an Excel workbook.
    """

    file: str
    format: str
    encoding: Encoding = field(default_factory=Encoding)
    delimiter: str | None = None
    header: tuple[str, ...] = ()
    start: int = 0
    start_line: int = 0
    sheet: str | None = None

    @property
    def has_positions(self) -> bool:
        """True if rows can be read from the middle of the file."""
        is_text = self.delimiter is not None or self.format in JSON_LINES
        return is_text and can_seek(self.file) and self.encoding.has_exact_positions

    def describe(self) -> str:
        """Return the format, delimiter and encoding in words: ``CSV with ';' between fields, cp1252``."""
        name = "Excel" if self.format in EXCEL else _NAMES.get(self.format, "JSON Lines")
        name = "text" if self.format == ".txt" and self.delimiter else name
        sign = f" with {_SIGNS.get(self.delimiter, repr(self.delimiter))} between fields" if self.delimiter else ""
        sheet = f", sheet {self.sheet!r}" if self.sheet else ""
        encoding = "" if self.format in (*EXCEL, ".parquet") else f", {self.encoding.name}"
        return f"{name}{sign}{encoding}{sheet}"


def understand(file: str, reading: Reading | None = None) -> Understood:
    """Find out what a file is.

    Raises:
        DataError: If its name has no known ending, it is damaged or binary, or its header names a column twice.
        OSError: If it can't be read.
    """
    reading = reading or Reading()
    suffix = _format(file, reading)
    if suffix == ".parquet":
        return Understood(file, suffix, header=_parquet_header(file))
    if suffix in EXCEL:
        rows = excel_rows(file, reading.sheet)
        return Understood(file, suffix, header=_checked_header(file, next(rows, [])), sheet=reading.sheet)
    with open_bytes(file) as stream:
        encoding = named_encoding(reading.encoding, stream) if reading.encoding else recognise_encoding(file, stream)
    if suffix in DELIMITERS:
        return _understand_delimited(file, suffix, encoding, reading.delimiter)
    if suffix == ".json" and not _is_array(file, encoding):
        suffix = JSON_LINES[0]
    if suffix == ".txt" and reading.format != "fasttext" and not _is_fasttext(file, encoding):
        return _understand_delimited(file, suffix, encoding, reading.delimiter)
    return Understood(file, suffix, encoding, start=encoding.mark)


def _format(file: str, reading: Reading) -> str:
    suffix = file_format(file)
    if reading.format == "fasttext":
        return ".txt"
    if suffix == ".zip":
        suffix = file_format(zip_member(file))
    if suffix not in (*FORMATS, ".txt") or suffix in COMPRESSED:
        raise unknown_format(file)
    return suffix


def _understand_delimited(file: str, suffix: str, encoding: Encoding, delimiter: str | None) -> Understood:
    if delimiter is None:
        with open_bytes(file) as stream:
            delimiter = recognise_delimiter(lines_of(file, stream, encoding), DELIMITERS.get(suffix, ""))
    if not delimiter:
        raise DataError(
            f"{shown_name(file)}: a .txt file is read if its lines begin with {LABEL_PREFIX}, as fastText's do, or if"
            " it is a table whose delimiter is certain, or named as data.delimiter"
        )
    with open_bytes(file) as stream:
        lines = lines_of(file, stream, encoding)
        try:
            header = next(delimited_records(lines, delimiter), [])
        except csv.Error as error:
            raise DataError(f"{shown_name(file)}: line {lines.number} is malformed: {error}") from None
        if any(map(has_escaped_bytes, header)):
            raise DataError(f"{shown_name(file)}: must be UTF-8; its header is not")
        return Understood(
            file, suffix, encoding, delimiter, _checked_header(file, header), lines.position, lines.number
        )


def _checked_header(file: str, names: list[Any]) -> tuple[str, ...]:
    """Return column names without white space around them; those of columns without a name are empty."""
    header = tuple("" if name is None else str(name).strip() for name in names)
    named = [name for name in header if name]  # spreadsheets add empty columns at the end
    if len(set(named)) != len(named):
        twin = next(place for place, name in enumerate(header) if name and name in header[:place])
        numbers = f"columns {header.index(header[twin]) + 1} and {twin + 1}"  # a name may be a value
        raise DataError(f"{shown_name(file)}: must name each column once; {numbers} have the same name")
    return header


def _parquet_header(file: str) -> tuple[str, ...]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_seekable(file) as source:
        try:
            return _checked_header(file, pq.ParquetFile(source).schema_arrow.names)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:  # a fault of the disk, not of the file
                raise
            raise DataError(f"{shown_name(file)}: is not a readable Parquet file ({type(error).__name__})") from None


def _is_array(file: str, encoding: Encoding) -> bool:
    with open_bytes(file) as stream:
        return next((line.lstrip()[:1] for line in lines_of(file, stream, encoding) if line.strip()), "") == "["


def _is_fasttext(file: str, encoding: Encoding) -> bool:
    with open_bytes(file) as stream:
        return next((line for line in lines_of(file, stream, encoding) if line.strip()), "").startswith(LABEL_PREFIX)


def iterate_rows(source: Understood, start: int | None = None) -> Iterator[tuple[Row | Fault, int]]:
    """Yield each row of a file that is not Parquet, and the position in bytes at which it ends.

    Args:
        source: The file.
        start: Position of a row; the first row if None. Only where ``source.has_positions``.

    Raises:
        DataError: If the file is damaged beyond a row.
        OSError: If it can't be read.
    """
    if source.format in EXCEL:
        rows = excel_rows(source.file, source.sheet)
        next(rows)  # the header
        yield from ((dict(zip(source.header, row, strict=False)), 0) for row in rows)
        return
    with open_bytes(source.file) as stream:
        position = source.start if start is None else start
        if source.has_positions:
            stream.seek(position)
            before = source.start_line if start is None else 0
            lines = TextLines(source.file, stream, source.encoding, position, before)
        else:
            lines = lines_of(source.file, stream, source.encoding)
        if source.delimiter is not None:
            yield from _delimited_rows(source, lines)
        elif source.format == ".json":
            yield from ((row, 0) for row in _array_rows(source, lines))
        else:
            yield from ((_line_row(source, line, lines.number), lines.position) for line in lines if line.strip())


def _delimited_rows(source: Understood, lines: TextLines) -> Iterator[tuple[Row | Fault, int]]:
    records = delimited_records(lines, source.delimiter or ",")
    if not source.has_positions:
        next(records, None)  # the header
    wanted = len(source.header)
    is_doubtful = bool(source.encoding.fault)
    try:
        for fields in records:
            if is_doubtful and any(map(has_escaped_bytes, fields)):
                yield Fault("encoding", f"must be UTF-8; {source.encoding.fault}"), lines.position
            elif len(fields) != wanted:
                yield Fault("fields", f"{wanted} fields; got {len(fields)}"), lines.position
            else:
                yield dict(zip(source.header, fields, strict=True)), lines.position
    except csv.Error as error:
        raise MalformedError(source.file, lines.number, str(error)) from None


class MalformedError(DataError):
    """Delimited text that can't be read on from some line: the end of a quoted field is missing or misplaced."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(f"{shown_name(file)}: line {line} is malformed: {reason}")
        self.reason = reason


def _line_row(source: Understood, line: str, number: int) -> Row | Fault:
    if source.encoding.fault and has_escaped_bytes(line):
        return Fault("encoding", f"must be UTF-8; {source.encoding.fault}")
    if source.format == ".txt":
        return fasttext_row(line)
    try:
        row = json.loads(line)
        if "\\ud" in line.lower():  # an escaped surrogate, which is not a character without its other half
            json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return Fault("surrogate", f"line {number} holds half a surrogate pair, which is not Unicode text", row)
    except (ValueError, RecursionError):
        return Fault("json", f"line {number} is not JSON; JSON Lines hold one object per line")
    found = _object(row)
    return Fault("json", f"line {number} must hold a JSON object; got {type(row).__name__}") if found is None else found


def _object(item: Any) -> Row | None:
    """Return a JSON object, or spaCy's pair of a text and its annotations as one; None for anything else."""
    if isinstance(item, list) and len(item) == 2 and isinstance(item[0], str) and isinstance(item[1], dict):
        return {"text": item[0], **item[1]}
    return item if isinstance(item, dict) else None


def _array_rows(source: Understood, lines: TextLines) -> Iterator[Row | Fault]:
    text = "".join(lines)
    try:
        if has_escaped_bytes(text):
            raise DataError(f"{shown_name(source.file)}: must be {UTF8.upper()}; {source.encoding.fault}")
        items = json.loads(text)
        json.dumps(items, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise DataError(f"{shown_name(source.file)}: holds half a surrogate pair, which is not Unicode text") from None
    except (ValueError, RecursionError):
        raise DataError(
            f"{shown_name(source.file)}: is not JSON: an array of objects, or an object on each line"
        ) from None
    for number, item in enumerate(items, start=1):
        row = _object(item)
        yield Fault("json", f"item {number} must be a JSON object; got {type(item).__name__}") if row is None else row
