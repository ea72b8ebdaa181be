"""The same table written in every format, delimiter, encoding and compression that is read."""

from __future__ import annotations

import bz2
import csv
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from functools import partial

import openpyxl
import pandas as pd
import pyarrow as pa
from user_tables import LABELS

COLUMNS = ["id", "text", *LABELS]
Cells = list[list[str]]


def delimited(cells: Cells, delimiter: str = ",", encoding: str = "utf-8", line_end: str = "\n") -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=line_end).writerows([COLUMNS, *cells])
    return buffer.getvalue().encode(encoding)


def as_objects(cells: Cells) -> list[dict[str, str]]:
    return [dict(zip(COLUMNS, row, strict=True)) for row in cells]


def json_lines(cells: Cells) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in as_objects(cells)).encode()


def excel(cells: Cells) -> bytes:
    book = openpyxl.Workbook()
    for row in [COLUMNS, *cells]:
        book.worksheets[0].append(row)
    buffer = io.BytesIO()
    book.save(buffer)
    return buffer.getvalue()


def parquet(cells: Cells) -> bytes:
    buffer = io.BytesIO()
    pd.DataFrame(cells, columns=COLUMNS).to_parquet(buffer)
    return buffer.getvalue()


def zipped(content: bytes, name: str = "notes.csv") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return buffer.getvalue()


def compressed(content: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return bytes(sink.getvalue())


FORMATS: dict[str, Callable[[Cells], bytes]] = {
    "comma.csv": delimited,
    "semicolon.csv": partial(delimited, delimiter=";"),
    "tab.csv": partial(delimited, delimiter="\t"),
    "pipe.csv": partial(delimited, delimiter="|"),
    "crlf.tsv": partial(delimited, delimiter="\t", line_end="\r\n"),
    "old-mac.csv": partial(delimited, line_end="\r"),
    "mark.csv": partial(delimited, encoding="utf-8-sig"),
    "utf-16.csv": partial(delimited, encoding="utf-16"),
    "excel-unicode.csv": partial(delimited, delimiter="\t", encoding="utf-16"),
    "utf-32.csv": partial(delimited, encoding="utf-32"),
    "notes.csv.gz": lambda cells: compressed(delimited(cells), "gzip"),
    "notes.csv.zst": lambda cells: compressed(delimited(cells), "zstd"),
    "notes.csv.bz2": lambda cells: bz2.compress(delimited(cells)),
    "notes.csv.xz": lambda cells: lzma.compress(delimited(cells)),
    "notes.tab": partial(delimited, delimiter="\t"),
    "notes.psv": partial(delimited, delimiter="|"),
    "tabs.txt": partial(delimited, delimiter="\t"),
    "notes.csv.zip": lambda cells: zipped(delimited(cells)),
    "notes.zip": lambda cells: zipped(delimited(cells)),
    "notes.json": lambda cells: json.dumps(as_objects(cells), indent=1).encode(),
    "lines.json": lambda cells: json_lines(cells),
    "notes.jsonl.gz": lambda cells: compressed(
        "".join(json.dumps(r) + "\n" for r in as_objects(cells)).encode(), "gzip"
    ),
    "utf-16.jsonl": lambda cells: "".join(json.dumps(r) + "\n" for r in as_objects(cells)).encode("utf-16"),
    "notes.parquet": parquet,
    "notes.xlsx": excel,
}
