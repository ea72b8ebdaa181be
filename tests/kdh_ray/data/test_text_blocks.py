"""Blocks hold every document of a file once, in any format; faults name file and document."""

import csv
import json
from pathlib import Path

import pandas as pd
import pytest
from table_formats import FORMATS

from kdh_ray.data.file_rows import Reading
from kdh_ray.data.text_blocks import check_columns, plan_blocks, read_block
from kdh_ray.data.text_files import list_files, relative_names
from kdh_ray.errors import DataError

TEXTS = [f'note {i}: "quoted",\nwith a line break, ö and ; {"x" * (i % 7)}' for i in range(23)]
IDS = [f"id-{i}" for i in range(23)]


def write(folder: Path, form: str) -> str:
    file, frame = folder / f"notes.{form}", pd.DataFrame({"id": IDS, "text": TEXTS})
    if form == "parquet":
        frame.to_parquet(file, row_group_size=10)
    elif form == "jsonl":
        lines = [json.dumps(row, ensure_ascii=False) for row in frame.to_dict("records")]
        file.write_text("\n".join([*lines[:5], "", *lines[5:]]), encoding="utf-8")
    else:
        separator = "\t" if form == "tsv" else ","
        frame.to_csv(file, index=False, sep=separator, quoting=csv.QUOTE_MINIMAL, encoding="utf-8-sig")
    return str(file)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv", "tsv"])
@pytest.mark.parametrize("size", [4, 100])
def test_blocks_hold_every_document_once(tmp_path: Path, form: str, size: int) -> None:
    file = write(tmp_path, form)
    blocks = plan_blocks([file], size)
    assert [block.first for block in blocks] == [sum(b.count for b in blocks[:i]) for i in range(len(blocks))]
    read = [read_block(block, "text", "id") for block in blocks]
    assert [len(ids) for ids, _ in read] == [block.count for block in blocks]
    assert max(block.count for block in blocks) <= size
    assert [id_ for ids, _ in read for id_ in ids] == IDS
    assert [text for _, texts in read for text in texts] == TEXTS
    assert read_block(blocks[-1], "text", None)[0][-1] == f"notes.{form}#23"


@pytest.mark.parametrize("form", ["csv", "tsv"])
@pytest.mark.parametrize("size", [1, 2, 100])
def test_quotes_within_a_field_are_characters(tmp_path: Path, form: str, size: int) -> None:
    texts = ['a scar of 5" length', "plain", 'of 6", no pain', '"', 'says ""nothing""', "", 'two\nlines, 7"']
    separator = "," if form == "csv" else "\t"
    fields = ['"' + text.replace('"', '""') + '"' if {*text} & {*"\n,"} or text == '"' else text for text in texts]
    lines = "".join(f"{field}{separator}{separator}\n" for field in fields)
    (tmp_path / f"a.{form}").write_text(f'"text"{separator}x{separator}"y"\n{lines}', encoding="utf-8-sig")
    blocks = plan_blocks([str(tmp_path / f"a.{form}")], size)
    assert [text for block in blocks for text in read_block(block, "text", None)[1]] == texts
    assert max(block.count for block in blocks) <= size


def test_headers_match_those_of_training_tables(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id, text \n1,x\n")
    assert read_block(plan_blocks([str(tmp_path / "a.csv")], 4)[0], "text", "id") == (["1"], ["x"])
    for content, message in (
        (b"text,text\nx,y\n", "must name each column once"),
        (b"te\xfft\nx\n", "must be UTF-8; its header is not"),
        (b"\xff\xfet\0x", "must be utf-16-le"),
    ):
        (tmp_path / "a.csv").write_bytes(content)
        with pytest.raises(DataError, match=message):
            plan_blocks([str(tmp_path / "a.csv")], 4)


def test_lines_may_end_in_carriage_returns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\r1,x\r2,y\r")
    blocks = plan_blocks([str(tmp_path / "a.csv")], 1)
    assert [read_block(block, "text", "id") for block in blocks] == [(["1"], ["x"]), (["2"], ["y"])]


def test_row_group_has_few_blocks(tmp_path: Path) -> None:
    pd.DataFrame({"text": ["x"] * 1000}).to_parquet(tmp_path / "a.parquet")
    blocks = plan_blocks([str(tmp_path / "a.parquet")], 10)
    assert len(blocks) == 16
    assert sum(block.count for block in blocks) == 1000


def test_files_are_found_by_name_folder_and_pattern(tmp_path: Path) -> None:
    for name in ("a/1.csv", "a/2.jsonl", "b/3.csv", "b/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    found = {
        pattern: [Path(file).relative_to(tmp_path).as_posix() for file, _ in list_files([f"{tmp_path}/{pattern}"])]
        for pattern in ("a", "*/*.csv", "b/3.csv", "a/?.jsonl")
    }
    assert found == {
        "a": ["a/1.csv", "a/2.jsonl"],
        "*/*.csv": ["a/1.csv", "b/3.csv"],
        "b/3.csv": ["b/3.csv"],
        "a/?.jsonl": ["a/2.jsonl"],
    }
    for pattern in ("b/*.md", "*.csv", "b/readme.md"):
        with pytest.raises(DataError, match="no file"):
            list_files([f"{tmp_path}/{pattern}"])
    with pytest.raises(DataError, match="no such file or folder"):
        list_files([f"{tmp_path}/c"])


def test_names_that_systems_leave_are_no_input(tmp_path: Path) -> None:
    names = ("x=1/a.csv", "x=1/._a.csv", "x=1/.a.csv", "x=1/_a.csv", "_x/a.csv", ".x/a.csv", "_x=1/b.csv", "_SUCCESS")
    for name in (*names, "x=1/_SUCCESS", ".DS_Store"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("text")
    found = {
        pattern: [Path(file).relative_to(tmp_path).as_posix() for file, _ in list_files([f"{tmp_path}/{pattern}"])]
        for pattern in ("x=1", "*/*.csv", "x=1/_*.csv", "_x")
    }
    assert found == {
        "x=1": ["x=1/a.csv"],
        "*/*.csv": ["_x=1/b.csv", "x=1/a.csv"],
        "x=1/_*.csv": ["x=1/_a.csv"],  # as the user wants
        "_x": ["_x/a.csv"],
    }
    given = [f"{tmp_path}/x=1", f"{tmp_path}/_SUCCESS", f"{tmp_path}/.DS_Store"]  # as a shell lists them
    assert [Path(file).name for file, _ in list_files(given)] == ["a.csv"]
    with pytest.raises(DataError, match="_SUCCESS: no file"):
        list_files([f"{tmp_path}/_SUCCESS"])


def test_names_in_ids_are_below_the_shared_folder() -> None:
    assert list(relative_names(["s3://b/x/1.csv", "s3://b/xy/1.csv"]).values()) == ["x/1.csv", "xy/1.csv"]
    assert list(relative_names(["a/1.csv"]).values()) == ["1.csv"]
    mixed = relative_names(["s3://b/1.csv", "s3://c/1.csv", "/1.csv", "x/1.csv"]).values()
    assert len(set(mixed)) == 4


def test_wrong_column_of_json_lines_is_found_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"body": "secret"}\nsecret\n')
    with pytest.raises(DataError, match="has no column 'text'; it has 1 column: body"):
        check_columns(plan_blocks([str(tmp_path / "a.jsonl")], 1), "text", None)
    (tmp_path / "a.jsonl").write_text('{"body": "secret"}\n{"text": "secret"}\n')
    check_columns(plan_blocks([str(tmp_path / "a.jsonl")], 2), "text", None)


def test_files_are_found_in_a_bucket(bucket: str) -> None:
    from kdh_ray.storage import locate

    filesystem, root = locate(bucket)
    for name in ("1.csv", "2.csv", "x/3.csv"):
        with filesystem.open_output_stream(f"{root}/{name}") as stream:
            stream.write(b"text\nsecret\n")
    files = list_files([f"{bucket}/*.csv"])
    assert files == [(f"{bucket}/1.csv", 12), (f"{bucket}/2.csv", 12)]
    assert [read_block(block, "text", None) for block in plan_blocks([files[0][0]], 4)] == [(["1.csv#1"], ["secret"])]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b'{"text": "x"}\nsecret\n', "row 2 must be one JSON object"),
        ("a.jsonl", b'{"text": "x"}\n{"text": ["secret"]}\n', "row 2: column 'text' must hold text; got list"),
        ("a.jsonl", b'{"body": "secret"}\n', "has no column 'text'; it has 1 column: body"),
        ("a.csv", b"id,text\n1,ok\n2,secret,more\n", "row 2: 2 fields; got 3"),
        ("a.csv", b"text\nok\n\xff\xfe secret\n", "must be UTF-8; rows 1 to 2 are not"),
        ("a.csv", b'text\nok\n"secret', "at or after row 1"),
        ("a.jsonl", b'{"text": "\xff secret"}\n', "must be UTF-8"),
        ("a.jsonl", b'{"text": "secret \\ud83d"}\n', "row 1: column 'text' holds half a surrogate pair"),
    ],
)
def test_faults_name_documents_without_their_text(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_block(plan_blocks([str(tmp_path / name)], 4)[0], "text", None)
    assert "secret" not in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("size", [2, 100])
def test_blocks_of_every_format_hold_every_document(tmp_path: Path, name: str, size: int) -> None:
    cells = [[f"d{i}", text, "1", "0"] for i, text in enumerate(TEXTS)]
    (tmp_path / name).write_bytes(FORMATS[name](cells))
    blocks = plan_blocks([str(tmp_path / name)], size)
    assert sum(block.count for block in blocks) == len(TEXTS)
    in_turn = [read_block(block, "text", "id") for block in blocks]
    assert [text for _, texts in in_turn for text in texts] == TEXTS
    assert [id_ for ids, _ in in_turn for id_ in ids] == [row[0] for row in cells]
    backwards = [read_block(block, "text", "id") for block in reversed(blocks)]
    assert backwards[::-1] == in_turn


def test_half_read_block_does_not_move_the_next(tmp_path: Path) -> None:
    from kdh_ray.data.text_blocks import check_columns

    (tmp_path / "a.json").write_text(json.dumps([{"text": text} for text in TEXTS]))
    blocks = plan_blocks([str(tmp_path / "a.json")], 5)
    check_columns(blocks, "text", None)  # reads some rows
    assert read_block(blocks[1], "text", None)[1] == TEXTS[5:10]


def test_texts_of_annotation_tools_are_read(tmp_path: Path) -> None:
    tasks = [{"id": i, "data": {"note": text}, "annotations": []} for i, text in enumerate(TEXTS)]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    (block,) = plan_blocks([str(tmp_path / "a.json")], 100)
    assert read_block(block, "text", "id") == ([str(i) for i in range(len(TEXTS))], TEXTS)


def test_named_delimiter_and_encoding_are_used(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("id#text\n1#très\n2#à la tête\n".encode("cp1252"))
    blocks = plan_blocks([str(tmp_path / "a.csv")], 1, reading=Reading(delimiter="#", encoding="cp1252"))
    assert [read_block(block, "text", "id") for block in blocks] == [(["1"], ["très"]), (["2"], ["à la tête"])]
