"""A corpus written in every format, delimiter, encoding and compression is the same corpus when it is read again."""

from __future__ import annotations

import zipfile
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from threading import Thread
from typing import Any

import openpyxl
import pandas as pd
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from table_formats import COLUMNS, FORMATS, Cells, compressed, delimited
from user_tables import by_id, fault, load, rows

from kdh_ray.data import load_corpus
from kdh_ray.data.file_rows import Reading
from kdh_ray.data.table_files import read_tables
from kdh_ray.errors import DataError

# Characters that all formats have: Excel's XML lacks control characters, and csv writers disagree on a lone CR.
words = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=20).filter(str.strip)
tables = st.lists(words | words.map(lambda word: f'"{word}";\n,|\t'), min_size=1, max_size=5)


def table_of(texts: list[str]) -> Cells:
    return [[f"d{i}", text, str(i % 2), str(i % 3 % 2)] for i, text in enumerate(texts)]


@pytest.mark.parametrize("name", FORMATS)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=tables)
def test_every_format_reads_the_same(tmp_path: Path, name: str, texts: list[str]) -> None:
    (tmp_path / name).write_bytes(FORMATS[name](table_of(texts)))
    (table,) = read_tables(tmp_path / name)
    assert table.columns == tuple(COLUMNS)
    assert [list(row.values()) for row in table.rows] == table_of(texts)


LEGACY = ["cp1252", "cp1250", "cp1251", "cp850", "mac_roman", "shift_jis", "gbk", "iso8859_7", "iso8859_2"]
WORDS = [
    "pain", "Fieber", "über", "Größe", "Müdigkeit", "Ärzte", "Öl", "süß", "Fuß", "café", "fermé", "très",
    "à", "España", "niño", "corazón", "ból", "głowy", "gorączka", "horečka", "příznaky", "kašel", "szédülés",
    "fő", "durere", "și", "боль", "колено", "πόνος", "γόνατο", "膝", "痛い", "naïve", "38°C", "20µg", "„so“",
    "–", "patient’s",
]  # fmt: skip


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.lists(st.sampled_from(WORDS), min_size=2, max_size=8).map(" ".join), encoding=st.sampled_from(LEGACY))
def test_other_encodings_are_never_misread(tmp_path: Path, text: str, encoding: str) -> None:
    """A file without a byte order mark is read as it was written, or refused."""
    try:
        content = delimited(table_of([text]), encoding=encoding)
    except UnicodeEncodeError:
        assume(False)
    assume(b"\xcf\xa5" not in content)  # a knee in GBK is a letter in UTF-8
    (tmp_path / "notes.csv").write_bytes(content)
    assert texts_or_refusal(tmp_path / "notes.csv") in ([text], "refused")
    (named,) = read_tables(tmp_path / "notes.csv", Reading(encoding=encoding))
    assert [row["text"] for row in named.rows] == [text]


def texts_or_refusal(path: Path) -> list[str] | str:
    try:
        return [row["text"] for row in read_tables(path)[0].rows]
    except DataError as error:
        return "refused" if "must be UTF-8" in str(error) else str(error)


@pytest.mark.parametrize(
    ("text", "encoding", "is_certain"),
    [
        ("Fieber über Nacht, Größe gemessen, Müdigkeit.", "cp1252", True),
        ("The patient’s knee hurts – “badly”.", "cp1252", True),
        ("38,5 °C und 20 µg, süß, Öl", "cp1252", True),
        ("Le café est fermé", "cp1252", True),
        ("one stray für", "cp1252", False),
        ("très fatigué, à la tête", "cp1252", False),  # è and à are other letters in Central Europe
        ("ból głowy i gorączka", "cp1250", False),
        ("Příznaky: horečka, kašel", "cp1250", False),
        ("боль в колене", "cp1251", False),
        ("πόνος στο γόνατο", "iso8859_7", False),
        ("Fieber über Nacht, Größe", "mac_roman", False),
        ("Fieber über Nacht, Größe", "cp850", False),
        ("Fuß Fuß", "cp850", False),
        ("膝が痛い", "shift_jis", False),
        ("膝盖疼痛", "gbk", False),
        ("başım ağrıyor, öksürük", "cp1254", False),
    ],
)
def test_only_certain_encodings_are_recognised(tmp_path: Path, text: str, encoding: str, is_certain: bool) -> None:
    (tmp_path / "notes.csv").write_bytes(delimited([["1", text, "1", "0"]], encoding=encoding))
    if is_certain:
        (table,) = read_tables(tmp_path / "notes.csv")
        assert table.rows[0]["text"] == text
        assert "cp1252" in table.understood
    else:
        with pytest.raises(DataError, match=r"must be UTF-8; byte \d+, in line 2, is not .*data.encoding"):
            read_tables(tmp_path / "notes.csv")


def test_late_bytes_decide_the_encoding(tmp_path: Path) -> None:
    cells = table_of(["plain"] * 60_000)
    (tmp_path / "notes.csv").write_bytes(delimited([*cells, ["x", "Müdigkeit, Größe", "1", "0"]], encoding="cp1252"))
    (table,) = read_tables(tmp_path / "notes.csv")
    assert table.rows[-1]["text"] == "Müdigkeit, Größe"
    (tmp_path / "notes.csv").write_bytes(delimited([*cells, ["x", "ból głowy", "1", "0"]], encoding="cp1250"))
    with pytest.raises(DataError, match="in line 60002, is not"):
        read_tables(tmp_path / "notes.csv")


@pytest.mark.parametrize(
    ("content", "delimiter"),
    [
        ("text;pain\nhot, dry;1\n", ";"),
        ("text,pain\nhot; dry,1\nwet; cold,0\n", ","),
        ("text|pain\nhot|1\n", "|"),
        ("sep=;\ntext;pain\nhot;1\n", ";"),
        ("text\nhot; dry\n", ","),  # one column
        ("text;a,pain\nhot;b,1\n", ","),  # both fit: the usual one
        ('"text";"pain"\n"a;b\nc";1\n', ";"),
    ],
)
def test_delimiter_is_recognised_where_certain(tmp_path: Path, content: str, delimiter: str) -> None:
    (tmp_path / "notes.csv").write_text(content)
    (table,) = read_tables(tmp_path / "notes.csv")
    assert f"'{delimiter}' between fields" in table.understood
    assert "text" in table.columns[0]


def test_usual_delimiter_of_a_format_comes_first(tmp_path: Path) -> None:
    (tmp_path / "notes.tsv").write_text("text\ta,b\nhot\tc,d\n")
    (table,) = read_tables(tmp_path / "notes.tsv")
    assert table.columns == ("text", "a,b")


def test_settings_come_before_recognition(tmp_path: Path) -> None:
    (tmp_path / "notes.csv").write_bytes("id#text\n1#très\n".encode("cp1252"))
    (table,) = read_tables(tmp_path / "notes.csv", Reading(delimiter="#", encoding="cp1252"))
    assert table.rows == [{"id": "1", "text": "très"}]
    assert table.understood == "CSV with '#' between fields, cp1252"


def test_columns_without_a_name_are_left_out(tmp_path: Path) -> None:
    content = [{**row, "": ""} for row in rows()]
    pd.DataFrame(content).assign(x="").rename(columns={"x": ""}).to_csv(tmp_path / "notes.csv", index=False)
    assert len(by_id(load(tmp_path / "notes.csv"))) == 20


def test_sheet_with_content_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    book.create_sheet("Notes").append(["id", "text"])
    book["Notes"].append([1, "It hurts."])
    book.save(tmp_path / "notes.xlsx")
    assert read_tables(tmp_path / "notes.xlsx")[0].rows == [{"id": 1, "text": "It hurts."}]
    hidden = book.create_sheet("legend")
    hidden.append(["other"])
    hidden.sheet_state = "hidden"
    book.save(tmp_path / "notes.xlsx")
    assert read_tables(tmp_path / "notes.xlsx")[0].columns == ("id", "text")
    book.worksheets[0].append(["other"])
    book.save(tmp_path / "notes.xlsx")
    with pytest.raises(DataError, match="has 2 sheets with content"):
        read_tables(tmp_path / "notes.xlsx")
    (table,) = read_tables(tmp_path / "notes.xlsx", Reading(sheet="Notes"))
    assert table.columns == ("id", "text")
    with pytest.raises(DataError, match="has no sheet 'Nots'"):
        read_tables(tmp_path / "notes.xlsx", Reading(sheet="Nots"))


@pytest.fixture
def web(tmp_path: Path) -> Any:
    """Address of a web server on this machine that serves ``tmp_path``."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["comma.csv", "notes.csv.zip", "notes.jsonl.gz", "notes.parquet", "notes.xlsx"])
def test_web_addresses_are_read(tmp_path: Path, web: str, name: str) -> None:
    cells = [[str(value) for value in row.values()] for row in rows()]
    (tmp_path / name).write_bytes(FORMATS[name](cells))
    corpus = load(f"{web}/{name}?key=secret")  # type: ignore[arg-type]
    assert len(by_id(corpus)) == 20
    assert corpus.name == Path(name).stem
    message = fault(f"{web}/absent.csv?key=secret")  # type: ignore[arg-type]
    assert message.endswith("absent.csv: no such file or folder")


def test_bucket_is_read(bucket: str) -> None:
    from kdh_ray.storage import locate

    filesystem, root = locate(bucket)
    cells = [[str(value) for value in row.values()] for row in rows(60)]
    for name, part in (("train.csv", cells[:30]), ("dev.csv", cells[30:45]), ("test.csv", cells[45:])):
        with filesystem.open_output_stream(f"{root}/notes/{name}") as stream:
            stream.write(delimited(part))
    corpus = load(f"{bucket}/notes")  # type: ignore[arg-type]
    assert [len(split) for split in corpus.splits.values()] == [30, 15, 15]
    assert len(by_id(load(f"{bucket}/notes/train.csv"))) == 30  # type: ignore[arg-type]


def test_snapshot_of_a_hub_dataset_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    monkeypatch.setenv("HF_HOME", str(tmp_path / "cache"))
    (tmp_path / "snapshot/data").mkdir(parents=True)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["cough", "pain"])})
    for split, number in (("train", 30), ("test", 10)):
        content = [{"text": f"{split} {i}", "label": i % 2} for i in range(number)]
        Dataset.from_list(content, features=features).to_parquet(
            str(tmp_path / f"snapshot/data/{split}-00000-of-00001.parquet")
        )
    corpus = load(tmp_path / "snapshot", labels_column="label", id_column=None)
    assert corpus.labels == ("cough", "pain")
    assert len(corpus.splits["test"]) == 10
    assert not (tmp_path / "cache").exists()  # texts are not copied there


def test_hub_dataset_is_read_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub can't be reached by a test; that its client is asked for the right thing can be seen."""
    import datasets

    asked = []

    def load_dataset(name: str, subset: str | None, revision: str | None) -> Any:
        asked.append((name, subset, revision))
        part = datasets.Dataset.from_list([{"text": f"{i}", "labels": ["a", "b"][: i % 3]} for i in range(12)])
        return datasets.DatasetDict({"train": part, "unsupervised": part})

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.HfApi.dataset_info", lambda *_, **__: None)
    for path in ("owner/name@v1", "hf://datasets/owner/name@v1"):
        (table,) = read_tables(Path(path) if "://" not in path else path, Reading(subset="small"))
        assert (table.split, len(table.rows)) == ("train", 12)
    assert asked == [("owner/name", "small", "v1")] * 2
    (tmp_path / "owner").mkdir()  # so that the name is a path with a mistake
    with pytest.raises(DataError, match="owner/name: no such file or folder"):
        read_tables(Path("owner/name"))


def test_hub_that_cannot_be_reached_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdh_ray.errors import UnavailableError

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnavailableError, match="owner/absent: no such file or folder, and neither the hub nor"):
        read_tables(Path("owner/absent"))


def test_folder_of_archives_names_splits(tmp_path: Path) -> None:
    for name, number in (("train", 30), ("valid", 10), ("test", 10)):
        cells = [[f"{name}{i}", f"Note {i}.", str(i % 2), str(int(i % 3 == 0))] for i in range(number)]
        (tmp_path / f"{name}.csv.gz").write_bytes(compressed(delimited(cells), "gzip"))
    corpus = load(tmp_path)
    assert [len(split) for split in corpus.splits.values()] == [30, 10, 10]


def test_files_of_macos_in_an_archive_are_passed_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "notes.zip", "w") as archive:
        archive.writestr("export/notes.csv", delimited(table_of(["It hurts."])))
        archive.writestr("export/.DS_Store", "x")
        archive.writestr("__MACOSX/export/._notes.csv", "x")
    assert read_tables(tmp_path / "notes.zip")[0].columns == tuple(COLUMNS)


def test_two_documents_are_described_and_converted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kdh_ray.cli.main import main

    path = tmp_path / "notes.csv"
    path.write_text("text;pain;fever\nhot, dry;0;1\nknee;1;0\n")
    said = "split 'test' has no document; 2 documents are too few to train, validate and test on"
    options = ["--path", str(path), "--set", "data.label_columns=[pain,fever]"]
    for verb, output in (("describe", []), ("convert", [f"{tmp_path}/notes.parquet"])):
        assert main(["corpus", verb, *options, *output]) == 0
        printed = capsys.readouterr().out
        assert "read as CSV with ';' between fields" in printed
        assert said in printed.replace("\n", " ")
    assert len(pd.read_parquet(tmp_path / "notes.parquet")) == 2
    with pytest.raises(DataError, match=said):
        load_corpus("table", path, label_columns=["pain", "fever"])


def test_description_names_what_was_understood(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kdh_ray.cli.main import main

    cells = [
        [row["id"], f"Müdigkeit {i}, Größe", str(row["pain"]), str(row["fever"])] for i, row in enumerate(rows(60))
    ]
    (tmp_path / "notes.csv").write_bytes(delimited(cells, ";", "cp1252"))
    assert (
        main(["corpus", "describe", "--path", f"{tmp_path}/notes.csv", "--set", "data.label_columns=[pain,fever]"]) == 0
    )
    assert "read as CSV with ';' between fields, cp1252" in capsys.readouterr().out
