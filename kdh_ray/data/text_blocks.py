"""Text of any size in blocks: ranges of documents of one file, each of which is read without reading the others.

Where blocks begin depends on the files only. So the output for a block stays valid when an interrupted prediction is
resumed, and blocks can be read by different processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import islice
from typing import Any

from kdh_ray.data.annotations import text_of
from kdh_ray.data.file_rows import Fault, MalformedError, Reading, Row, Understood, iterate_rows, understand
from kdh_ray.data.messages import check_columns_exist, missing_columns
from kdh_ray.data.opening import open_seekable
from kdh_ray.data.text_files import relative_names, shown_name
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import one_line

MAX_BLOCKS_PER_ROW_GROUP = 16  # Parquet decodes a row group from its start for every block in it
ROWS_PER_READ = 1024  # rows of Parquet in memory at a time
SAMPLE_ROWS = 100  # of a JSON Lines file, in one of which the columns must be
NOT_UTF8 = "must be UTF-8"
NOT_JSON = "must be one JSON object on its line"


@dataclass(frozen=True)
class BytePosition:
    """Documents of a plain CSV, TSV or JSON Lines file, from byte ``start``."""

    start: int


@dataclass(frozen=True)
class RowRange:
    """Rows of a Parquet file: from row ``start`` of row group ``row_group``, both counted from 0."""

    row_group: int
    start: int


@dataclass(frozen=True)
class TextBlock:
    """Documents of a file that follow each other.

    Attributes:
        source: The file.
        first: Number of documents before them in the file.
        count: Number of documents.
        location: Where in the file they are; None in a file that can only be read from its start.
        name: The file's name in ids.
        counted_from: Number of the file's first row, in ids and messages.
    """

    source: Understood
    first: int
    count: int
    location: BytePosition | RowRange | None
    name: str = ""
    counted_from: int = 1

    @property
    def file(self) -> str:
        """The file's path or URL, for messages."""
        return shown_name(self.source.file)

    @property
    def header(self) -> tuple[str, ...]:
        """Column names; empty for JSON, where each document names its own."""
        return self.source.header

    @property
    def rows(self) -> range:
        """The numbers of the documents in the file."""
        first = self.first + self.counted_from
        return range(first, first + self.count)

    @property
    def shown_rows(self) -> str:
        """The numbers of the documents, for messages: ``rows 1 to 100``."""
        rows = self.rows
        return f"row {rows[0]}" if len(rows) == 1 else f"rows {rows[0]} to {rows[-1]}"


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


def plan_blocks(files: Sequence[str], size: int, reading: Reading | None = None) -> list[TextBlock]:
    """Divide files into blocks, in order. Files other than Parquet are read once from start to end for it.

    Args:
        files: Paths or URLs.
        size: Documents per block. A block of Parquet is larger where its row group would be cut into more than
            :data:`MAX_BLOCKS_PER_ROW_GROUP`.
        reading: How files are to be read; recognised if None.

    Raises:
        DataError: If a file is malformed, absent, or not of one of ``FORMATS``.
        UnavailableError: If a file can't be read.
    """
    names = relative_names(files)  # in ids
    _forward_reader.cache_clear()  # files may have changed since
    return [replace(block, name=names[file]) for file in files for block in _plan_file(file, size, reading)]


@contextmanager
def _faults_of(file: str) -> Iterator[None]:
    """Turn faults of a file system into errors for users."""
    import pyarrow as pa

    try:
        yield
    except FileNotFoundError:
        raise DataError(f"{shown_name(file)}: no such file or folder") from None
    except (pa.ArrowException, OSError) as error:
        raise UnavailableError(f"{shown_name(file)}: can't be read ({one_line(error)})") from None


def _plan_file(file: str, size: int, reading: Reading | None) -> Iterator[TextBlock]:
    with _faults_of(file):
        source = understand(file, reading)
        yield from (_plan_parquet if source.format == ".parquet" else _plan_rows)(source, size)


def _plan_parquet(source: Understood, size: int) -> Iterator[TextBlock]:
    import pyarrow.parquet as pq

    with open_seekable(source.file) as stream:
        metadata = pq.ParquetFile(stream).metadata
    group_start = 0  # number of the row group's first document in the file
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        smallest = -(-rows // MAX_BLOCKS_PER_ROW_GROUP)  # rounded up
        step = max(size, smallest)
        for start in range(0, rows, step):
            yield TextBlock(source, group_start + start, min(step, rows - start), RowRange(group, start))
        group_start += rows


def _plan_rows(source: Understood, size: int) -> Iterator[TextBlock]:
    start, first, count = source.start, 0, 0
    with _malformed_after(source, lambda: first):
        for _, stop in iterate_rows(source):
            count += 1
            if count == size:
                yield _block(source, first, count, start)
                start, first, count = stop, first + count, 0
    if count:
        yield _block(source, first, count, start)


def _block(source: Understood, first: int, count: int, start: int) -> TextBlock:
    return TextBlock(source, first, count, BytePosition(start) if source.has_positions else None)


@contextmanager
def _malformed_after(source: Understood, documents: Callable[[], int]) -> Iterator[None]:
    """Name the row from which on a file can't be read, given the number of documents before it."""
    try:
        yield
    except MalformedError as error:
        raise DataError(f"{shown_name(source.file)}: at or after row {documents() + 1}: {error.reason}") from None


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
        id_column: Column of ids. If None, an id is the file's name and the row's number: ``notes.csv#1``.

    Returns:
        Ids and texts, each with ``block.count`` items.

    Raises:
        DataError: If a column is missing or a value is not text; names file and row, never what it holds.
        UnavailableError: If the file can't be read.
    """
    documents = read_documents(block, text_column, id_column)
    for number, error in zip(block.rows, documents.errors, strict=True):
        if error == NOT_UTF8:
            raise DataError(
                f"{block.file}: must be UTF-8; {block.shown_rows} {'is' if block.count == 1 else 'are'} not"
            )
        if error is not None:
            raise DataError(f"{block.file}: row {number}{'' if error.startswith('must') else ':'} {error}")
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
            f"{block.file}: {block.shown_rows} can't be told apart: {len(rows)} rows instead of {block.count}"
        )
    documents = Documents([], [], [])
    for number, row in zip(block.rows, rows, strict=True):
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


def _rows(block: TextBlock, columns: Sequence[str]) -> Iterator[Row | str]:
    """Yield a dictionary per document, or the reason why the document has none."""
    with _faults_of(block.source.file), _malformed_after(block.source, lambda: block.first):
        if isinstance(block.location, RowRange):
            yield from _parquet_rows(block, block.location, columns)
            return
        if block.location is None:
            rows = _forward_reader(block.source).read(block.first, block.count)
        else:
            rows = (row for row, _ in islice(iterate_rows(block.source, block.location.start), block.count))
        for row in rows:
            yield _document(row, columns)


def _document(row: Row | Fault, columns: Sequence[str]) -> Row | str:
    """Return a row, in which an annotation tool's text has the name of the text column; or what is wrong with it."""
    if isinstance(row, Fault):
        if row.row is None:
            return {"encoding": NOT_UTF8, "json": NOT_JSON}.get(row.kind, row.message)
        row = row.row
    text_column = columns[0]
    if text_column not in row:
        text = text_of(row, text_column)
        return row if text is None else {**row, text_column: text}
    return row


class _ForwardReader:
    """Reads blocks of a file that can only be read from its start. Blocks in their order take one pass."""

    def __init__(self, source: Understood) -> None:
        self._source = source
        self._rows, self._next = iterate_rows(source), 0

    def read(self, first: int, count: int) -> Iterator[Row | Fault]:
        """Yield the rows ``first`` to ``first + count - 1``."""
        if first < self._next:
            self._rows, self._next = iterate_rows(self._source), 0
        for row, _ in islice(self._rows, first + count - self._next):
            self._next += 1
            if self._next > first:
                yield row


@lru_cache(maxsize=1)
def _forward_reader(source: Understood) -> _ForwardReader:
    """Return the reader of this process, which keeps its place between blocks."""
    return _ForwardReader(source)


def _parquet_rows(block: TextBlock, location: RowRange, columns: Sequence[str]) -> Iterator[Row | str]:
    import pyarrow.parquet as pq

    end = location.start + block.count
    seen = 0  # rows of the row group that came before the batch
    with open_seekable(block.source.file) as source:
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
