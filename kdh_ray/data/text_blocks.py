"""Text of any size in blocks: ranges of documents of one file, each of which is read without reading the others.

Where blocks begin depends on the files only. So the output for a block stays valid when an interrupted prediction is
resumed, and blocks can be read by different processes.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from kdh_ray.data.messages import check_columns_exist
from kdh_ray.data.text_files import DELIMITERS, FORMATS, file_format
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, one_line

MAX_BLOCKS_PER_ROW_GROUP = 16  # Parquet decodes a row group from its start for every block in it
ROWS_PER_READ = 1024  # rows of Parquet in memory at a time
BUFFER_BYTES = 2**20


@dataclass(frozen=True)
class ByteRange:
    """Bytes ``start`` to ``stop`` of a CSV, TSV or JSON Lines file, ``stop`` excluded."""

    start: int
    stop: int


@dataclass(frozen=True)
class RowRange:
    """Rows of a Parquet file: from row ``start`` of row group ``row_group``, both counted from 0."""

    row_group: int
    start: int


@dataclass(frozen=True)
class TextBlock:
    """Documents ``first`` to ``first + count - 1`` of a file.

    Attributes:
        file: Path or URL.
        first: Number of the first document in the file, from 0.
        count: Number of documents.
        location: Where in the file they are.
        header: Column names; empty for JSON Lines, where each document names its own.
    """

    file: str
    first: int
    count: int
    location: ByteRange | RowRange
    header: tuple[str, ...] = ()

    @property
    def documents(self) -> str:
        """The numbers of the documents, for messages: ``0 to 99``."""
        return f"{self.first} to {self.first + self.count - 1}"


def plan_blocks(files: Iterable[str], size: int) -> list[TextBlock]:
    """Divide files into blocks, in order. CSV, TSV and JSON Lines files are read once from start to end for it.

    Args:
        files: Paths or URLs.
        size: Documents per block. A block of Parquet is larger where its row group would be cut into more than
            :data:`MAX_BLOCKS_PER_ROW_GROUP`.

    Raises:
        DataError: If a file is malformed, absent, or not of one of ``FORMATS``.
        UnavailableError: If a file can't be read.
    """
    return [block for file in files for block in _plan_file(file, size)]


def _plan_file(file: str, size: int) -> Iterator[TextBlock]:
    import pyarrow as pa

    if file_format(file) not in FORMATS:
        raise DataError(f"{file}: files end in one of {', '.join(FORMATS)}")
    plan = _plan_parquet if file_format(file) == ".parquet" else _plan_lines
    filesystem, path = locate(file)
    try:
        with filesystem.open_input_file(path) as source:
            yield from plan(file, source, size)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: must be UTF-8; its header is not") from None
    except (pa.ArrowException, OSError) as error:
        raise UnavailableError(f"{file}: can't be read ({one_line(error)})") from None


def _plan_parquet(file: str, source: Any, size: int) -> Iterator[TextBlock]:
    import pyarrow.parquet as pq

    parquet = pq.ParquetFile(source)
    header = tuple(parquet.schema_arrow.names)
    group_start = 0  # number of the row group's first document in the file
    for group in range(parquet.metadata.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        smallest = -(-rows // MAX_BLOCKS_PER_ROW_GROUP)  # rounded up
        step = max(size, smallest)
        for start in range(0, rows, step):
            yield TextBlock(file, group_start + start, min(step, rows - start), RowRange(group, start), header)
        group_start += rows


def _plan_lines(file: str, source: Any, size: int) -> Iterator[TextBlock]:
    delimiter = DELIMITERS.get(file_format(file))
    records = _records(source, delimiter)
    header: tuple[str, ...] = ()
    start = 0  # the block's first byte
    if delimiter is not None:
        line, start = next(records, (b"", 0))
        header = _parse_header(file, line)
    stop = start
    first = count = 0
    for line, stop in records:
        if _is_blank(line, delimiter):
            continue
        count += 1
        if count == size:
            yield TextBlock(file, first, count, ByteRange(start, stop), header)
            start, first, count = stop, first + count, 0
    if count:
        yield TextBlock(file, first, count, ByteRange(start, stop), header)


def _parse_header(file: str, line: bytes) -> tuple[str, ...]:
    """Read the column names from the first record of a CSV or TSV file."""
    rows = list(_delimited_rows(file, line, 0))
    if len(rows) > 1:
        raise DataError(f"{file}: lines must end in LF, or CR and LF; they end in CR only")
    header = tuple(name.strip() for name in rows[0]) if rows else ()
    names = [name for name in header if name]  # spreadsheets add empty columns at the end
    if len(set(names)) != len(names):
        raise DataError(f"{file}: must name each column once; a name is repeated")
    return header


def _is_blank(line: bytes, delimiter: str | None) -> bool:
    """Return whether a line holds no document. In TSV, a line of tabs does: it holds empty fields."""
    return not (line.strip() if delimiter is None else line.strip(b"\r\n"))


def _records(source: Any, delimiter: str | None) -> Iterator[tuple[bytes, int]]:
    """Yield each record of a stream and the position of the byte after it.

    A record is a line, or several where a quoted field of CSV or TSV holds line breaks.
    """
    position = 0
    pending: list[bytes] = []  # lines of a record whose quoted field is still open
    inside_quotes = False
    for line in io.BufferedReader(source, BUFFER_BYTES):
        is_first_line = position == 0
        position += len(line)
        pending.append(line)
        if delimiter is not None:
            content = line.removeprefix(codecs.BOM_UTF8) if is_first_line else line
            inside_quotes = _ends_inside_quotes(content, delimiter.encode(), inside_quotes)
        if not inside_quotes:
            yield b"".join(pending), position
            pending = []
    if pending:
        yield b"".join(pending), position


def _ends_inside_quotes(line: bytes, delimiter: bytes, inside_quotes: bool) -> bool:
    """Return whether a line ends inside a quoted field.

    As in the ``csv`` module, a quote opens a field only at its very start: the quote in ``5" long`` is an ordinary
    character.

    Args:
        line: One line, with its line end.
        delimiter: One byte.
        inside_quotes: Whether the line before ended inside a quoted field.
    """
    position = 0
    if not inside_quotes and line.startswith(b'"'):
        inside_quotes, position = True, 1
    while (quote := line.find(b'"' if inside_quotes else delimiter + b'"', position)) >= 0:
        if not inside_quotes:  # a delimiter and the quote that opens the next field
            inside_quotes, position = True, quote + 2
        elif line.startswith(b'""', quote):  # two quotes inside a field stand for one
            position = quote + 2
        else:
            inside_quotes, position = False, quote + 1
    return inside_quotes


def check_columns(blocks: Iterable[TextBlock], text_column: str, id_column: str | None) -> None:
    """Check that the headers of files have the columns. JSON Lines files have no header; reading checks them.

    Raises:
        DataError: If a file has no such column; names the file.
    """
    for block in blocks:
        if block.header:
            check_columns_exist(block.file, _columns(text_column, id_column), block.header)


def _columns(text_column: str, id_column: str | None) -> list[str]:
    return [text_column] if not id_column else [text_column, id_column]


def read_block(block: TextBlock, text_column: str, id_column: str | None) -> tuple[list[str], list[str]]:
    """Read the ids and texts of a block.

    Args:
        block: Made by :func:`plan_blocks`.
        text_column: Column of the text.
        id_column: Column of ids. If None, an id is the file's name and the document's number: ``notes.csv#0``.

    Returns:
        Ids and texts, each with ``block.count`` items.

    Raises:
        DataError: If a column is missing or a value is not text; names file and document, never what it holds.
        UnavailableError: If the file can't be read.
    """
    check_columns([block], text_column, id_column)
    rows = _read_rows(block, _columns(text_column, id_column))
    texts = [_text_value(row, text_column, block, number) for number, row in enumerate(rows)]
    if id_column:
        return [_id_value(row, id_column, block, number) for number, row in enumerate(rows)], texts
    name = PurePosixPath(block.file).name
    return [f"{name}#{block.first + number}" for number in range(len(rows))], texts


def _read_rows(block: TextBlock, columns: Sequence[str]) -> list[dict[str, Any]]:
    import pyarrow as pa

    filesystem, path = locate(block.file)
    try:
        with filesystem.open_input_file(path) as source:
            if isinstance(block.location, RowRange):
                rows = list(_parquet_rows(block, block.location, source, columns))
            else:
                rows = list(_line_rows(block, block.location, source))
    except UnicodeDecodeError:
        raise DataError(f"{block.file}: must be UTF-8; documents {block.documents} are not") from None
    except (pa.ArrowException, OSError) as error:
        raise UnavailableError(f"{block.file}: can't be read ({one_line(error)})") from None
    if len(rows) != block.count:  # the csv module ends rows at a single CR, files do not
        raise DataError(
            f"{block.file}: documents {block.documents} are malformed: {len(rows)} instead of {block.count}"
        )
    return rows


def _parquet_rows(
    block: TextBlock, location: RowRange, source: Any, columns: Sequence[str]
) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    end = location.start + block.count
    seen = 0  # rows of the row group that came before the batch
    file = pq.ParquetFile(source)
    for batch in file.iter_batches(ROWS_PER_READ, row_groups=[location.row_group], columns=list(columns)):
        first = max(0, location.start - seen)
        last = min(len(batch), end - seen)
        if last > first:
            yield from batch.slice(first, last - first).to_pylist()
        seen += len(batch)
        if seen >= end:
            return


def _line_rows(block: TextBlock, location: ByteRange, source: Any) -> Iterator[dict[str, Any]]:
    source.seek(location.start)
    content = source.read(location.stop - location.start)
    if file_format(block.file) not in DELIMITERS:
        yield from _json_rows(block, content)
        return
    for number, fields in enumerate(_delimited_rows(block.file, content, block.first), start=block.first):
        if len(fields) != len(block.header):
            raise DataError(f"{block.file}: document {number}: {len(block.header)} fields; got {len(fields)}")
        yield dict(zip(block.header, fields, strict=True))


def _json_rows(block: TextBlock, content: bytes) -> Iterator[dict[str, Any]]:
    lines = (line for line in content.split(b"\n") if line.strip())
    for number, line in enumerate(lines, start=block.first):
        try:
            row = json.loads(line)
        except UnicodeDecodeError:  # a ValueError too, but reported for the whole block
            raise
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{block.file}: document {number} must be one JSON object on its line")
        yield row


def _delimited_rows(file: str, content: bytes, first: int) -> Iterator[list[str]]:
    """Yield the fields of each row of CSV or TSV, without blank lines; ``first`` is the number of the first row."""
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))  # a long note exceeds the module's 128 KiB
    lines = io.StringIO(content.decode("utf-8-sig"), newline="")
    reader = csv.reader(lines, delimiter=DELIMITERS[file_format(file)], strict=True)
    try:
        yield from (fields for fields in reader if fields)
    except csv.Error as error:
        raise DataError(f"{file}: at or after document {first}: {error}") from None


def _text_value(row: dict[str, Any], column: str, block: TextBlock, number: int) -> str:
    return _string_value(row, column, block, number, str)


def _id_value(row: dict[str, Any], column: str, block: TextBlock, number: int) -> str:
    return _string_value(row, column, block, number, str | int)


def _string_value(row: dict[str, Any], column: str, block: TextBlock, number: int, types: Any) -> str:
    """Return a document's value as a string; ``number`` counts documents of the block from 0."""
    if column not in row:
        check_columns_exist(block.file, [column], list(row), are_json_keys=True)
    value = row[column]
    document = f"{block.file}: document {block.first + number}"
    if not isinstance(value, types) or isinstance(value, bool):
        raise DataError(f"{document}: column {column!r} must hold text; got {type(value).__name__}")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        reason = "holds half a surrogate pair, which is not Unicode text"
        raise DataError(f"{document}: column {column!r} {reason}") from None
    return str(value)
