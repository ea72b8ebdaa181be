"""Files made to do harm, or given by mistake, are refused in one line, at once, and without their content."""

from __future__ import annotations

import io
import lzma
import pickle
import resource
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest

from kdh_ray.data import load_corpus
from kdh_ray.errors import ConfigError, UserError

HEADER = b"id,text,pain\n"
MEGABYTE = 2**20


def archive(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def compressed(content: bytes, codec: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, codec) as stream:
        stream.write(content)
    return bytes(sink.getvalue())


def workbook_bomb() -> bytes:
    buffer = io.BytesIO()
    openpyxl.Workbook().save(buffer)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as file:
        file.writestr("xl/worksheets/sheet2.xml", b" " * 40 * MEGABYTE)
    return buffer.getvalue()


class Harm:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (print, ("a pickle was opened",))


BOMB = HEADER + b"1,x,1\n" * (8 * MEGABYTE)
HOSTILE = {
    "bomb.csv.zip": (lambda: archive(("notes.csv", BOMB)), "expands to more than 200 times its size"),
    "bomb.csv.gz": (lambda: compressed(BOMB, "gzip"), "expands to more than 200 times its size"),
    "bomb.csv.zst": (lambda: compressed(BOMB, "zstd"), "expands to more than 200 times its size"),
    "bomb.csv.xz": (lambda: lzma.compress(BOMB, preset=0), "expands to more than 200 times its size"),
    "bomb.xlsx": (workbook_bomb, "expands to more than 200 times its size"),
    "several.zip": (lambda: archive(("a.csv", HEADER), ("b.csv", HEADER)), "must hold one file; got 2"),
    "empty.zip": (lambda: archive(), "is not an intact zip file"),
    "traversal.zip": (lambda: archive(("../notes.csv", HEADER)), "must not name a place outside"),
    "absolute.zip": (lambda: archive(("/etc/notes.csv", HEADER)), "must not name a place outside"),
    "drive.zip": (lambda: archive(("C:\\notes.csv", HEADER)), "must not name a place outside"),
    "nested.zip": (lambda: archive(("notes.csv.zip", archive(("notes.csv", HEADER)))), "is a ZIP archive"),
    "damaged.zip": (lambda: archive(("notes.csv", HEADER))[:40], "is not an intact zip file"),
    "damaged.csv.gz": (lambda: compressed(HEADER * 999, "gzip")[:-9], "is not an intact gzip file"),
    "damaged.csv.zst": (lambda: compressed(HEADER * 999, "zstd")[:-9], "is not an intact zstd file"),
    "damaged.csv.xz": (lambda: lzma.compress(HEADER * 999)[:-40], "is not an intact xz file"),
    "damaged.csv.bz2": (lambda: compressed(HEADER * 999, "bz2")[:-9], "is not an intact bz2 file"),
    "notes.txt": (lambda: b"It hurts.\nNo fever.\n", "a .txt file is read if its lines begin with __label__"),
    "damaged.xlsx": (lambda: archive(("xl/workbook.xml", b"<workbook")), "is not a readable Excel workbook"),
    "notes.pkl": (lambda: pickle.dumps(Harm()), "a pickle is never opened"),
    "pickle.csv": (lambda: pickle.dumps(Harm()), "must be UTF-8"),
    "workbook.csv": (lambda: archive(("xl/workbook.xml", b"")), "is a ZIP archive or an Excel workbook, not text"),
    "image.csv": (lambda: b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "is an image, not text"),
    "table.tsv": (lambda: b"PAR1" + bytes(range(256)), "is Parquet, not text"),
    "bytes.csv": (lambda: bytes(range(256)) * 9, "NUL byte"),
    "bytes.jsonl": (lambda: bytes(range(254, -1, -1)) * 9, "must be UTF-8"),
    "line.csv": (lambda: HEADER + b"1," + b"secret " * (3 * MEGABYTE), "line 2 is longer than 16777216 characters"),
    "line.jsonl": (lambda: b'{"text": "' + b"secret " * (3 * MEGABYTE), "line 1 is longer than"),
    "quote.csv": (lambda: HEADER + b'1,"' + (b"secret " * 99 + b"\n") * 30_000, "field larger than field limit"),
    "deep.jsonl": (lambda: b"[" * 200_000, "is not JSON"),
    "deep.json": (lambda: b"[" * 200_000, "is not JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_file_is_refused(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    make, message = HOSTILE[name]
    (tmp_path / name).write_bytes(make())
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(UserError) as caught:
        load_corpus("table", tmp_path / name, label_columns=["pain"])
    said = str(caught.value)
    assert message in said
    assert len(said.splitlines()) == 1
    assert "secret" not in said.replace(str(tmp_path), "")
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024  # KiB
    assert "opened" not in capsys.readouterr().out


def test_folder_named_like_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").mkdir()
    with pytest.raises(UserError, match="a folder holds train, validation and test files"):
        load_corpus("table", tmp_path / "notes.csv", label_columns=["pain"])


@pytest.mark.parametrize(
    "text",
    [
        "data: !!python/object/apply:os.system ['echo opened']",
        "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
            f"{chr(98 + i)}: &{chr(98 + i)} [{', '.join([f'*{chr(97 + i)}'] * 9)}]\n" for i in range(9)
        ),
        "data: {corpus: table, path: " + "[" * 1500,
    ],
)  # fmt: skip
def test_hostile_yaml_is_refused(tmp_path: Path, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    from kdh_ray.config import load_config

    (tmp_path / "my.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(tmp_path / "my.yaml")
    assert len(str(caught.value)) < 2000
    assert "opened" not in capfd.readouterr().out
