"""brat's standoff format: a folder of texts (``a.txt``) and what is marked in them (``a.ann``).

T1<tab>pain 0 4<tab>pain            a marked part
T2<tab>fever 10 14;20 25<tab>...    one in several pieces
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any

from kdh_ray.data.annotations.document import Annotated, Row, Span, marked
from kdh_ray.data.encodings import lines_of, recognise_encoding
from kdh_ray.data.label_cells import CellError
from kdh_ray.data.opening import open_bytes
from kdh_ray.errors import DataError

_ATTRIBUTE = re.compile(r"^[AM]\S*\t(\S+) ", re.MULTILINE)
_MARK = re.compile(r"T\S*\t(\S+) (\d+ \d+(?:;\d+ \d+)*)(?:\t|\r|$)")
MARKS = "marks"  # column of a row with the content of its .ann file


def read_folder(files: list[str]) -> Iterator[dict[str, Any]]:
    """Yield a row for each pair of a ``.txt`` and an ``.ann`` file, with the name as its id.

    Args:
        files: Paths of all files of the folder.

    Raises:
        DataError: If a text has no annotations or the other way round, or a file is not UTF-8.
    """
    texts = {str(PurePosixPath(file).with_suffix("")) for file in files if file.endswith(".txt")}
    marks = {str(PurePosixPath(file).with_suffix("")) for file in files if file.endswith(".ann")}
    if alone := sorted(texts ^ marks):
        raise DataError(f"{alone[0]}: brat needs a .txt and an .ann file; {len(alone)} texts have only one of them")
    for name in sorted(texts):
        yield {"id": PurePosixPath(name).name, "text": _read(f"{name}.txt"), MARKS: _read(f"{name}.ann")}


def _read(file: str) -> str:
    with open_bytes(file) as stream:
        encoding = recognise_encoding(file, stream)
    if encoding.fault:
        raise DataError(f"{file}: must be UTF-8; {encoding.fault}")
    with open_bytes(file) as stream:
        return "".join(lines_of(file, stream, encoding))


def matches(row: Row) -> bool:
    """Return whether a row was read from brat's files."""
    return MARKS in row


def text_of(row: Row, text_column: str) -> Any:
    """Return the text of a row."""
    return row["text"]


def read(row: Row, text_column: str) -> Annotated:
    """Read one document. Relations, events and notes are not used; attributes such as Negation are counted.

    Raises:
        CellError: If a mark is malformed or not in the text.
    """
    spans: set[Span] = set()
    for line in row[MARKS].split("\n"):
        if not line.startswith("T"):
            continue
        found = _MARK.match(line)
        if not found:
            raise CellError("a line that begins with T must hold an id, a label and a range")
        for piece in found[2].split(";"):
            begin, end = map(int, piece.split())
            spans.update(marked(begin, end, [found[1]], row["text"]))
    plain = {name: value for name, value in row.items() if name != MARKS}
    unread = tuple(f"the attribute {name}" for name in _ATTRIBUTE.findall(row[MARKS]))
    return Annotated(plain, row["text"], spans=frozenset(spans), unread=unread)
