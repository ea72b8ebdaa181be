"""Text of any size in blocks: ranges of documents of one file, each of which is read without reading the others.

Where blocks begin depends on the files only. So the output for a block stays valid when an interrupted prediction is
resumed, and blocks can be read by different processes.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from kdh_ray.data.messages import check_columns_exist, missing_columns
from kdh_ray.data.text_files import DELIMITERS, FORMATS, file_format, relative_names
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, one_line

MAX_BLOCKS_PER_ROW_GROUP = 16  # Parquet decodes a row group from its start for every block in it
ROWS_PER_READ = 1024  # rows of Parquet in memory at a time
BUFFER_BYTES = 2**20
SAMPLE_ROWS = 100  # of a JSON Lines file, in one of which the columns must be
NOT_UTF8 = "must be UTF-8"


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
        name: The file's name in ids.
    """

    file: str
    first: int
    count: int
    location: ByteRange | RowRange
    header: tuple[str, ...] = ()
    name: str = ""

    @property
    def documents(self) -> str:
        """The numbers of the documents, for messages: ``0 to 99``."""
        return f"{self.first} to {self.first + self.count - 1}"


@dataclass(frozen=True)
class Documents:
    """The documents of a block, faulty ones included.

    Attributes:
        ids: In the order of the file.
        texts: Empty where there is an error.
        errors: Why a document can't be read; None for the others. Never shows what it holds.
    """

    ids: list[str]
    texts: list[str]
    errors: list[str | None]


def plan_blocks(files: Sequence[str], size: int, names: Mapping[str, str] | None = None) -> list[TextBlock]:
    """Divide files into blocks, in order. CSV, TSV and JSON Lines files are read once from start to end for it.

    Args:
        files: Paths or URLs.
        size: Documents per block. A block of Parquet is larger where its row group would be cut into more than
            :data:`MAX_BLOCKS_PER_ROW_GROUP`.
        names: Name of each file in ids; by default its path below the folder that all files share.

    Raises:
        DataError: If a file is malformed, absent, or not of one of ``FORMATS``.
        UnavailableError: If a file can't be read.
    """
    names = relative_names(files) if names is None else names
    return [replace(block, name=names[file]) for file in files for block in _plan_file(file, size)]


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
        raise DataError(f"{file}: no such file or folder") from None
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
    line.decode()  # only documents may be faulty
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
    """Check that the headers of files have the columns, or one of the first documents of a JSON Lines file.

    Raises:
        DataError: If a file has no such column; names the file.
    """
    wanted = _columns(text_column, id_column)
    for block in blocks:
        if block.header:
            check_columns_exist(block.file, wanted, block.header)
        elif block.first == 0:
            rows = [row for row in islice(_rows(block, wanted), SAMPLE_ROWS) if isinstance(row, dict)]
            if rows and not any(set(wanted) <= row.keys() for row in rows):
                check_columns_exist(block.file, wanted, list(rows[0]), are_json_keys=True)


def _columns(text_column: str, id_column: str | None) -> list[str]:
    return [text_column] if not id_column else [text_column, id_column]


def read_block(block: TextBlock, text_column: str, id_column: str | None) -> tuple[list[str], list[str]]:
    """Read the ids and texts of a block in which no document may be faulty.

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
    documents = read_documents(block, text_column, id_column)
    for number, error in enumerate(documents.errors, start=block.first):
        if error == NOT_UTF8:
            raise DataError(f"{block.file}: must be UTF-8; documents {block.documents} are not")
        if error is not None:
            raise DataError(f"{block.file}: document {number}{'' if error.startswith('must') else ':'} {error}")
    return documents.ids, documents.texts


def read_documents(block: TextBlock, text_column: str, id_column: str | None) -> Documents:
    """Read a block, with an error for each document that can't be read; arguments as for :func:`read_block`.

    A document whose id can't be read is faulty too. It gets the id that it would have without an id column.

    Raises:
        DataError: If a header lacks a column, or a quoted field never ends, so that rows can't be told apart.
        UnavailableError: If the file can't be read.
    """
    columns = _columns(text_column, id_column)
    if block.header:
        check_columns_exist(block.file, columns, block.header)
    rows = list(_rows(block, columns))
    if len(rows) != block.count:  # the csv module ends rows at a single CR, files do not
        raise DataError(
            f"{block.file}: documents {block.documents} are malformed: {len(rows)} instead of {block.count}"
        )
    documents = Documents([], [], [])
    for number, row in enumerate(rows, start=block.first):
        fault, id_, values = (row, None, {}) if isinstance(row, str) else (_fault(row, text_column, str), None, row)
        if id_column and values:
            id_fault = _fault(values, id_column, str | int)
            fault, id_ = fault or id_fault, None if id_fault else values[id_column]
        documents.ids.append(f"{block.name}#{number}" if id_ is None else str(id_))
        documents.texts.append("" if fault else values[text_column])
        documents.errors.append(fault)
    return documents


def _fault(row: dict[str, Any], column: str, kind: Any) -> str | None:
    """Return why a document's value can't be read as a text, of type ``kind``; None if it can."""
    if column not in row:
        return missing_columns([column], list(row), are_json_keys=True)
    value = row[column]
    if not isinstance(value, kind) or isinstance(value, bool):
        return f"column {column!r} must hold text; got {type(value).__name__}"
    if not _is_unicode(str(value)):
        return f"column {column!r} holds half a surrogate pair, which is not Unicode text"
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _rows(block: TextBlock, columns: Sequence[str]) -> Iterator[dict[str, Any] | str]:
    """Yield a dictionary per document, or the reason why the document has none."""
    import pyarrow as pa

    filesystem, path = locate(block.file)
    try:
        with filesystem.open_input_file(path) as source:
            if isinstance(block.location, RowRange):
                yield from _parquet_rows(block, block.location, source, columns)
            else:
                yield from _line_rows(block, block.location, source, columns)
    except (pa.ArrowException, OSError) as error:
        raise UnavailableError(f"{block.file}: can't be read ({one_line(error)})") from None


def _parquet_rows(
    block: TextBlock, location: RowRange, source: Any, columns: Sequence[str]
) -> Iterator[dict[str, Any] | str]:
    import pyarrow.parquet as pq

    end = location.start + block.count
    seen = 0  # rows of the row group that came before the batch
    file = pq.ParquetFile(source)
    for batch in file.iter_batches(ROWS_PER_READ, row_groups=[location.row_group], columns=list(columns)):
        first = max(0, location.start - seen)
        last = min(len(batch), end - seen)
        if last > first:
            yield from _batch_rows(batch.slice(first, last - first))
        seen += len(batch)
        if seen >= end:
            return


def _batch_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    try:
        yield from batch.to_pylist()
    except UnicodeDecodeError:  # in one of the rows, before any was yielded
        for number in range(len(batch)):
            try:
                yield batch.slice(number, 1).to_pylist()[0]
            except UnicodeDecodeError:
                yield NOT_UTF8


def _line_rows(
    block: TextBlock, location: ByteRange, source: Any, columns: Sequence[str]
) -> Iterator[dict[str, Any] | str]:
    source.seek(location.start)
    content = source.read(location.stop - location.start)
    if file_format(block.file) not in DELIMITERS:
        yield from map(_json_row, (line for line in content.split(b"\n") if line.strip()))
        return
    for fields in _delimited_rows(block.file, content, block.first):
        if len(fields) != len(block.header):
            yield f"{len(block.header)} fields; got {len(fields)}"
        else:
            row = dict(zip(block.header, fields, strict=True))
            yield row if all(_is_unicode(row[column]) for column in columns) else NOT_UTF8


def _json_row(line: bytes) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
    except UnicodeDecodeError:
        return NOT_UTF8
    except (ValueError, RecursionError):
        row = None
    return row if isinstance(row, dict) else "must be one JSON object on its line"


def _delimited_rows(file: str, content: bytes, first: int) -> Iterator[list[str]]:
    """Yield the fields of each row of CSV or TSV, without blank lines; ``first`` is the number of the first row.

    Bytes that are not UTF-8 become half surrogate pairs, which UTF-8 can't hold.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))  # a long note exceeds the module's 128 KiB
    lines = io.StringIO(content.decode("utf-8-sig", errors="surrogateescape"), newline="")
    reader = csv.reader(lines, delimiter=DELIMITERS[file_format(file)], strict=True)
    try:
        yield from (fields for fields in reader if fields)
    except csv.Error as error:
        raise DataError(f"{file}: at or after document {first}: {error}") from None
