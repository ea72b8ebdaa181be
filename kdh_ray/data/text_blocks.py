"""Text of any size, in blocks that are read one by one: CSV, TSV, JSON Lines and Parquet files, local or in buckets.

A block is a range of one file's documents that can be read alone. Where blocks begin depends on the files alone, so
what was done with a block stands when the work is taken up again.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import PurePosixPath
from typing import Any

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import locate, one_line

FORMATS = (".parquet", ".jsonl", ".ndjson", ".csv", ".tsv")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
MOST_BLOCKS = 16  # of a Parquet row group, each of which is decoded from the group's start


@dataclass(frozen=True)
class TextBlock:
    """Documents ``begin`` to ``begin + count`` of a file.

    Attributes:
        file: Path or URL.
        begin: Number of the first document in the file, from 0.
        count: How many documents.
        start: Byte at which it starts; of Parquet, the number of the first document in its row group.
        stop: Byte after its last; of Parquet, the row group.
        header: Column names; none of JSON Lines, of which each has its own.
    """

    file: str
    begin: int
    count: int
    start: int
    stop: int
    header: tuple[str, ...] = ()


def list_files(patterns: Iterable[str]) -> list[tuple[str, int]]:
    """Files and their sizes in bytes, sorted: each pattern is a file, a folder of files, or has ``*`` or ``?`` in it.

    Raises:
        DataError: If a pattern matches no file of one of :data:`FORMATS`.
        UnavailableError: If a bucket or folder can't be listed.
    """
    found: dict[str, int] = {}
    for pattern in patterns:
        try:
            matches = dict(_matches(pattern))
        except OSError as error:
            raise UnavailableError(f"{pattern}: can't be listed ({one_line(error)})") from None
        if not matches:
            raise DataError(f"{pattern}: no file ({', '.join(FORMATS)}) here")
        found |= matches
    return sorted(found.items())


def _matches(pattern: str) -> Iterator[tuple[str, int]]:
    import pyarrow.fs

    scheme, separator, rest = pattern.rpartition("://")
    parts = PurePosixPath(rest).parts
    fixed = next((i for i, part in enumerate(parts) if "*" in part or "?" in part), len(parts))
    base = str(PurePosixPath(*parts[:fixed]))
    filesystem, root = locate(scheme + separator + base)
    info = filesystem.get_file_info(root)
    if info.type == pyarrow.fs.FileType.NotFound:
        return
    is_file = info.type == pyarrow.fs.FileType.File
    selector = pyarrow.fs.FileSelector(root, recursive=len(parts) - fixed > 1)
    entries = [info] if is_file else filesystem.get_file_info(selector)
    wanted = parts[fixed:] or ("*",)
    for entry in entries:
        inner = () if is_file else PurePosixPath(entry.path).relative_to(root).parts
        matching = is_file or (len(inner) == len(wanted) and all(map(fnmatch, inner, wanted)))
        if entry.type == pyarrow.fs.FileType.File and matching and _format(entry.path) in FORMATS:
            yield scheme + separator + str(PurePosixPath(base, *inner)), entry.size


def plan_blocks(files: Iterable[str], size: int) -> list[TextBlock]:
    """Blocks of about ``size`` documents each, in order. CSV and JSON Lines are read through for it, once.

    Raises:
        DataError: If a file is malformed or not of one of :data:`FORMATS`.
        UnavailableError: If one can't be read.
    """
    return [block for file in files for block in _plan(file, size)]


def _plan(file: str, size: int) -> Iterator[TextBlock]:
    import pyarrow as pa

    if _format(file) not in FORMATS:
        raise DataError(f"{file}: files end in one of {', '.join(FORMATS)}")
    filesystem, path = locate(file)
    try:
        with filesystem.open_input_file(path) as source:
            yield from (_plan_parquet if _format(file) == ".parquet" else _plan_lines)(file, source, size)
    except FileNotFoundError:
        raise DataError(f"{file}: no such file") from None
    except UnicodeDecodeError:
        raise DataError(f"{file}: must be UTF-8; its header is not") from None
    except (pa.ArrowException, OSError) as error:
        raise UnavailableError(f"{file}: can't be read ({one_line(error)})") from None


def _plan_parquet(file: str, source: Any, size: int) -> Iterator[TextBlock]:
    import pyarrow.parquet as pq

    parquet, begin = pq.ParquetFile(source), 0
    metadata, header = parquet.metadata, tuple(parquet.schema_arrow.names)
    for group in range(metadata.num_row_groups):
        rows = metadata.row_group(group).num_rows
        step = max(size, -(-rows // MOST_BLOCKS))
        for start in range(0, rows, step):
            yield TextBlock(file, begin + start, min(step, rows - start), start, group, header)
        begin += rows


def _plan_lines(file: str, source: Any, size: int) -> Iterator[TextBlock]:
    delimiter = DELIMITERS.get(_format(file))
    records = _records(source, delimiter)
    header: tuple[str, ...] = ()
    start = stop = begin = count = 0
    if delimiter is not None:
        line, start = next(records, (b"", 0))
        names = list(_fields(file, line, 0))
        if len(names) > 1:
            raise DataError(f"{file}: lines must end in LF, or CR and LF; they end in CR alone")
        header = tuple(name.strip() for name in (names or [[]])[0])
        if len(set(header)) != len(header):
            raise DataError(f"{file}: must name each column once; a name is repeated")
    for line, stop in records:
        if not line.strip(None if delimiter is None else b"\r\n"):  # a tab may part two empty fields
            continue
        count += 1
        if count == size:
            yield TextBlock(file, begin, count, start, stop, header)
            start, begin, count = stop, begin + count, 0
    if count:
        yield TextBlock(file, begin, count, start, stop, header)


def _records(source: Any, delimiter: str | None) -> Iterator[tuple[bytes, int]]:
    """Each record of a stream and the byte after it: a line, or, where quotes may hold line breaks, several."""
    stream, stop, pending, quoted = io.BufferedReader(source, 2**20), 0, [], False
    for line in stream:
        first, stop = stop == 0, stop + len(line)
        pending.append(line)
        if delimiter is not None:
            quoted = _ends_quoted(line.removeprefix(codecs.BOM_UTF8) if first else line, delimiter.encode(), quoted)
        if not quoted:
            yield b"".join(pending), stop
            pending = []
    if pending:
        yield b"".join(pending), stop


def _ends_quoted(line: bytes, delimiter: bytes, quoted: bool) -> bool:
    """Whether a line ends within a quoted field, if it began in one or not.

    As ``csv`` reads, a quote opens a field at its very start only: those of ``5" long`` are characters like others.
    """
    place = 0
    if not quoted and line.startswith(b'"'):
        quoted, place = True, 1
    while (found := line.find(b'"' if quoted else delimiter + b'"', place)) >= 0:
        if not quoted:
            quoted, place = True, found + 2
        elif line.startswith(b'""', found):  # one that is meant
            place = found + 2
        else:
            quoted, place = False, found + 1
    return quoted


def check_columns(blocks: Iterable[TextBlock], text_column: str, id_column: str | None) -> None:
    """See that files have the columns, as far as their headers tell.

    Raises:
        DataError: If one lacks a column; names the file.
    """
    for block in blocks:
        if block.header:
            _check_columns(block, [text_column, *([id_column] if id_column else [])], block.header)


def read_block(block: TextBlock, text_column: str, id_column: str | None) -> tuple[list[str], list[str]]:
    """Ids and texts of a block. Without an id column, ids are the file's name and the document's number.

    Raises:
        DataError: If a column is missing, or a value is no text; names file and document, never what it holds.
        UnavailableError: If the file can't be read.
    """
    import pyarrow as pa

    columns = [text_column, *([id_column] if id_column else [])]
    check_columns([block], text_column, id_column)
    filesystem, path = locate(block.file)
    try:
        with filesystem.open_input_file(path) as source:
            rows = list(_read_parquet(block, source, columns) if _is_parquet(block) else _read_lines(block, source))
        if len(rows) != block.count:  # line ends that CSV knows, and files don't
            raise DataError(
                f"{block.file}: documents {_range(block)} are malformed: {len(rows)} instead of {block.count}"
            )
    except UnicodeDecodeError:
        raise DataError(f"{block.file}: must be UTF-8; documents {_range(block)} are not") from None
    except (pa.ArrowException, OSError) as error:
        raise UnavailableError(f"{block.file}: can't be read ({one_line(error)})") from None
    texts = [_value(row, text_column, block, number) for number, row in enumerate(rows)]
    if not id_column:
        name = PurePosixPath(block.file).name
        return [f"{name}#{block.begin + number}" for number in range(len(rows))], texts
    return [_value(row, id_column, block, number, (str, int)) for number, row in enumerate(rows)], texts


def _read_parquet(block: TextBlock, source: Any, columns: list[str]) -> Iterator[dict[str, Any]]:
    import pyarrow.parquet as pq

    file, done = pq.ParquetFile(source), 0
    for batch in file.iter_batches(1024, row_groups=[block.stop], columns=columns):
        first, last = max(0, block.start - done), min(len(batch), block.start + block.count - done)
        if last > first:
            yield from batch.slice(first, last - first).to_pylist()
        done += len(batch)
        if done >= block.start + block.count:
            return


def _read_lines(block: TextBlock, source: Any) -> Iterator[dict[str, Any]]:
    source.seek(block.start)
    content = source.read(block.stop - block.start)
    if _format(block.file) in DELIMITERS:
        for number, fields in enumerate(_fields(block.file, content, block.begin)):
            if len(fields) != len(block.header):
                raise DataError(
                    f"{block.file}: document {block.begin + number}: {len(block.header)} fields; got {len(fields)}"
                )
            yield dict(zip(block.header, fields, strict=True))
        return
    for number, line in enumerate(line for line in content.split(b"\n") if line.strip()):
        try:
            row = json.loads(line)
        except UnicodeDecodeError:
            raise
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise DataError(f"{block.file}: document {block.begin + number} must be one JSON object on its line")
        yield row


def _fields(file: str, content: bytes, begin: int) -> Iterator[list[str]]:
    csv.field_size_limit(max(csv.field_size_limit(), 2**31 - 1))
    reader = csv.reader(
        io.StringIO(content.decode("utf-8-sig"), newline=""), delimiter=DELIMITERS[_format(file)], strict=True
    )
    try:
        yield from (fields for fields in reader if fields)
    except csv.Error as error:
        raise DataError(f"{file}: at or after document {begin}: {error}") from None


def _value(row: dict[str, Any], column: str, block: TextBlock, number: int, kinds: Any = str) -> str:
    if column not in row:
        _check_columns(block, [column], list(row))
    value, place = row[column], f"{block.file}: document {block.begin + number}"
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise DataError(f"{place}: column {column!r} must hold text; got {type(value).__name__}")
    try:
        str(value).encode()
    except UnicodeEncodeError:
        raise DataError(f"{place}: column {column!r} holds half a surrogate pair, which is not Unicode text") from None
    return str(value)


def _check_columns(block: TextBlock, wanted: Sequence[str], there: Sequence[str]) -> None:
    missing = [column for column in wanted if column not in there]
    if missing:
        raise DataError(f"{block.file}: no column {missing[0]!r} (columns: {', '.join(map(str, there))[:200]})")


def _is_parquet(block: TextBlock) -> bool:
    return _format(block.file) == ".parquet"


def _range(block: TextBlock) -> str:
    return f"{block.begin} to {block.begin + block.count - 1}"


def _format(file: str) -> str:
    return PurePosixPath(file).suffix.lower()
