"""Each example in the documentation's tables of formats is read as the page says."""

from __future__ import annotations

import csv
import io
import lzma
import re
import zipfile
from pathlib import Path
from typing import Any

import openpyxl
import pandas as pd
import pyarrow as pa
import pytest
import yaml

from kdh_ray.config import DataConfig, parse_data
from kdh_ray.data.annotations import interpret
from kdh_ray.data.table_corpus import reading_of
from kdh_ray.data.table_documents import read_documents
from kdh_ray.data.table_files import read_tables

PAGE = Path(__file__).resolve().parents[2] / "docs/guides/formats.md"
ROW = re.compile(r"^\| (?P<file>[^|]*) \| (?P<settings>[^|]*) \| `(?P<first>.*)`<br>`(?P<second>.*)` \|$", re.MULTILINE)
EXAMPLES = [match.groupdict() for match in ROW.finditer(PAGE.read_text(encoding="utf-8"))]


def write(folder: Path, name: str, lines: list[str]) -> Path:
    """Write an example as a file of this name; Excel and Parquet get its fields as cells."""
    path, content = folder / name, "".join(f"{line}\n" for line in lines)
    if name.startswith("a folder"):
        (folder / "a.txt").write_text(lines[0])
        (folder / "a.ann").write_text(lines[1])
        return folder
    cells = list(csv.reader(lines))
    if name.endswith(".xlsx"):
        book = openpyxl.Workbook()
        for row in cells:
            book.worksheets[0].append(row)
        book.save(path)
    elif name.endswith(".parquet"):
        pd.DataFrame(cells[1:], columns=cells[0]).to_parquet(path)
    else:
        path.write_bytes(compressed(name, content.encode()))
    return path


def compressed(name: str, content: bytes) -> bytes:
    if name.endswith(".zip"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as archive:
            archive.writestr("notes.csv", content)
        return buffer.getvalue()
    if name.endswith(".xz"):
        return lzma.compress(content)
    codec = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2"}.get(Path(name).suffix)
    if codec is None:
        return content
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def labels_of(path: Path, settings: dict[str, Any]) -> dict[str, set[str]]:
    """Return text -> labels, without the splits that a corpus of two documents can't have."""
    data: DataConfig = parse_data({"corpus": "table", "path": str(path), **settings})
    tables, data, _ = interpret(read_tables(str(path), reading_of(data)), data)
    return {document.text: set(document.labels) for document in read_documents(tables, data).documents}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: f"{example['file']}-{example['settings']}")
def test_example_is_read(tmp_path: Path, example: dict[str, str]) -> None:
    names = re.findall(r"`([^`]+)`", example["file"].partition("(")[0]) or [example["file"]]
    if example["file"].startswith("a folder"):
        names = [example["file"]]
    for suffix in names:
        name = suffix if not suffix.startswith(".") else f"notes.csv{suffix}"
        lines = [example["first"], example["second"]]
        settings = {}
        for setting in re.findall(r"`([^`]+)`", example["settings"]):
            settings |= yaml.safe_load(setting if ":" in setting else f"format: {setting}")
        path = write(tmp_path, name, lines)
        read = labels_of(path, settings)
        text = next(text for text in ("It hurts.", "It hurts, a bit.") if text in read)
        assert read[text] in ({"pain"}, {"pain", "fever"})
        assert not read.get("No fever.")
        assert "Unreadable" not in read
        if "format" in settings:
            assert labels_of(path, {}) == read  # recognised as well


def test_page_has_an_example_of_each_format() -> None:
    from kdh_ray.data.annotations import TOOLS

    assert {f"`{name}`" for name in TOOLS} <= {example["settings"] for example in EXAMPLES}
    assert len(EXAMPLES) == 21
