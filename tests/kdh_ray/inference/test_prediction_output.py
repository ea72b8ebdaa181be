"""Predictions that other programs read: names, ids, rows with an error, one file in three formats."""

import io
import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from kdh_ray.cli.main import main
from kdh_ray.data.prediction_files import PLAN
from kdh_ray.errors import DataError
from kdh_ray.inference import predict_files
from kdh_ray.inference.block_worker import BlockWorker
from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer

GOOD = {"id": "good", "text": "the cell"}
FAULTY = [
    ('{"id": "a", "text": null}', "a", "must hold text; got NoneType"),
    ('{"id": "b", "text": 5}', "b", "must hold text; got int"),
    ('{"id": "c", "text": ["secret"]}', "c", "must hold text; got list"),
    ('{"id": "d", "text": "secret \\ud83d"}', "d", "half a surrogate pair"),
    ('{"id": null, "text": "secret"}', "notes.jsonl#6", "column 'id' must hold text; got NoneType"),
    ('{"id": "f"}', "f", "has no column 'text'"),
    ("secret", "notes.jsonl#8", "must be one JSON object"),
    ('{"id": "h", "text": "\udcff secret"}', "notes.jsonl#9", "must be UTF-8"),
]  # line, id, error


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    folder = tmp_path_factory.mktemp("output") / "checkpoint"
    model = build_classifier(str(encoder), 3, segments=False, dropout=0.0)
    card = Card(["alpha", "beta", "gamma"], [0.5, 0.0, 0.0], max_tokens=32, segments=False, corpus={})
    save_checkpoint(folder, model, load_tokenizer(str(encoder)), card)
    return folder


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    lines = [json.dumps(GOOD), *(line for line, _, _ in FAULTY), json.dumps({**GOOD, "id": "last"})]
    (tmp_path / "notes.jsonl").write_text("\n".join(lines), encoding="utf-8", errors="surrogateescape")
    return tmp_path / "notes.jsonl"


def run(checkpoint: Path, notes: Path | str, output: Path, *options: str) -> int:
    return main(["predict", str(checkpoint), "--input", str(notes), "--output", str(output), "--local", *options])


def test_pandas_and_datasets_read_the_folder(checkpoint: Path, notes: Path, tmp_path: Path) -> None:
    from datasets import load_dataset

    predict_files(checkpoint, str(notes), tmp_path / "out", block=4, local=True, id_column="id")
    frame = pd.read_parquet(tmp_path / "out")
    assert frame["id"].tolist() == ["good", *(id_ for _, id_, _ in FAULTY), "last"]
    loaded = load_dataset("parquet", data_dir=str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert loaded["train"]["id"] == frame["id"].tolist()
    assert all(path.name[0] == "." or path.suffix == ".parquet" for path in (tmp_path / "out").iterdir())


def test_faulty_documents_are_rows_with_an_error(
    checkpoint: Path, notes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, notes, tmp_path / "out", "--id-column", "id") == 3
    assert f"{len(FAULTY)} documents have an error instead of labels" in capfd.readouterr().err
    frame = pd.read_parquet(tmp_path / "out")
    wrong = frame[frame["error"].notna()]
    assert wrong["id"].tolist() == [id_ for _, id_, _ in FAULTY]
    assert all(part in error for (_, _, part), error in zip(FAULTY, wrong["error"], strict=True))
    assert not wrong["error"].str.contains("secret").any()
    assert wrong.drop(columns=["id", "error"]).isna().all(axis=None)
    right = frame[frame["error"].isna()]
    assert right["id"].tolist() == ["good", "last"]
    assert right.drop(columns=["error"]).notna().all(axis=None)
    assert run(checkpoint, notes, tmp_path / "out", "--id-column", "id") == 3  # nothing is left, and all are counted


def test_damaged_rows_of_csv_and_parquet_are_rows_with_an_error(checkpoint: Path, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "a.csv").write_bytes(b"id,text\n1,ok\n2,\xff bad\n3,ok,more\n")
    texts = pa.array([b"ok", b"\xff bad", None], pa.binary())
    texts = pa.StringArray.from_buffers(3, texts.buffers()[1], texts.buffers()[2], texts.buffers()[0])
    pq.write_table(pa.table({"text": texts}), tmp_path / "b.parquet")
    done = predict_files(checkpoint, [f"{tmp_path}/a.csv", f"{tmp_path}/b.parquet"], tmp_path / "out", local=True)
    frame = pd.read_parquet(tmp_path / "out")
    assert frame["error"].fillna("").tolist() == [
        "", "must be UTF-8", "2 fields; got 3", "", "must be UTF-8", "column 'text' must hold text; got NoneType"
    ]  # fmt: skip
    assert (done.documents, done.faulty) == (6, 4)


def test_strict_ends_at_the_first_faulty_document(
    checkpoint: Path, notes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, notes, tmp_path / "out", "--strict") == 2
    message = f"kdh-ray: {notes}: row 2: column 'text' must hold text; got NoneType\n"
    assert capfd.readouterr().err == message


def test_output_that_is_no_number_is_an_error(
    checkpoint: Path, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def diverged(worker: BlockWorker, task: Any) -> None:
        make(worker, task)
        with torch.no_grad():
            worker.classifier.model.document_head.bias[1] = float("nan")

    make = BlockWorker.__init__
    monkeypatch.setattr(BlockWorker, "__init__", diverged)
    done = predict_files(checkpoint, str(notes), tmp_path / "out.jsonl", local=True, id_column="id")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert done.faulty == len(rows)
    assert rows[0] == {
        "id": "good", "labels": None, "probabilities": None, "error": "the classifier's output is not a number"
    }  # fmt: skip
    (tmp_path / "good.jsonl").write_text(json.dumps(GOOD))
    with pytest.raises(DataError, match="output is not a number"):
        predict_files(checkpoint, str(tmp_path / "good.jsonl"), tmp_path / "strict", local=True, strict=True)


def test_ids_tell_files_of_one_name_apart(checkpoint: Path, tmp_path: Path) -> None:
    for year in (2023, 2024):
        (tmp_path / f"in/year={year}").mkdir(parents=True)
        (tmp_path / f"in/year={year}/part-0.csv").write_text("text\nthe cell\n")
    expected = ["year=2023/part-0.csv#1", "year=2024/part-0.csv#1"]
    for name, inputs in (
        ("pattern", [f"{tmp_path}/in/*/*.csv"]),
        ("folders", [f"{tmp_path}/in/year=2023", f"{tmp_path}/in/year=2024"]),
        ("files", [f"{tmp_path}/in/year=2023/part-0.csv", f"{tmp_path}/in/year=2024/part-0.csv"]),
    ):
        predict_files(checkpoint, inputs, tmp_path / name, local=True)
        assert pd.read_parquet(tmp_path / name)["id"].tolist() == expected


@pytest.mark.parametrize(("version", "expected"), [(1, "a.csv#0"), (2, "2024/a.csv#0"), (3, "2024/a.csv#1")])
def test_predictions_of_earlier_versions_resume_with_their_ids(
    checkpoint: Path, tmp_path: Path, version: int, expected: str
) -> None:
    for year in (2023, 2024):
        (tmp_path / f"in/{year}").mkdir(parents=True)
        (tmp_path / f"in/{year}/a.csv").write_text("text\nthe cell\n")
    output = tmp_path / "out"
    predict_files(checkpoint, f"{tmp_path}/in/*/*.csv", output, local=True)
    plan = {**json.loads((output / PLAN).read_text()), "format": version}
    del plan["form"]
    (output / PLAN).unlink()
    (output / "plan.json").write_text(json.dumps(plan))
    (output / "block-000001.parquet").unlink()
    done = predict_files(checkpoint, f"{tmp_path}/in/*/*.csv", output, local=True)
    assert (done.found, done.documents) == (1, 1)
    assert pd.read_parquet(output / "block-000001.parquet")["id"].tolist() == [expected]
    assert len(pd.read_parquet(output)) == 2  # the plan has its new name


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_one_file_has_the_rows_of_the_folder(checkpoint: Path, notes: Path, tmp_path: Path, form: str) -> None:
    options = ["--id-column", "id", "--logits", "--block", "3", "--precision", "float32"]
    assert run(checkpoint, notes, tmp_path / "out", *options) == 3
    expected = pd.read_parquet(tmp_path / "out")
    file = tmp_path / f"labels.{form}"
    assert run(checkpoint, notes, file, *options) == 3
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, "notes.jsonl", "out"]
    if form == "parquet":
        pd.testing.assert_frame_equal(pd.read_parquet(file), expected)
        return
    read = pd.read_csv(file) if form == "csv" else pd.read_json(file, lines=True)
    assert read["id"].tolist() == expected["id"].tolist()
    assert read["error"].isna().tolist() == expected["error"].isna().tolist()
    if form == "csv":
        assert read["labels"][0] == ";".join(expected["labels"][0])
        numbers = read["probability.beta"], read["logit.beta"]
    else:
        assert read["labels"][0] == list(expected["labels"][0])
        numbers = tuple(read[name].map(lambda each: (each or {}).get("beta")) for name in ("probabilities", "logits"))
    for name, column in zip(("probability.beta", "logit.beta"), numbers, strict=True):
        pd.testing.assert_series_equal(column.astype(float), expected[name].astype(float), atol=1e-6, check_names=False)


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_folder_of_text_files_resumes(checkpoint: Path, notes: Path, tmp_path: Path, form: str) -> None:
    options = {"block": 4, "local": True, "id_column": "id", "form": form}
    predict_files(checkpoint, str(notes), tmp_path / "out", **options)
    assert {path.name for path in (tmp_path / "out").glob("*")} == {PLAN, *(f"block-{i:06d}.{form}" for i in range(3))}
    (tmp_path / f"out/block-000002.{form}").unlink()
    done = predict_files(checkpoint, str(notes), tmp_path / "out", **options)
    assert (done.found, done.documents, done.faulty) == (2, 2, len(FAULTY))
    with pytest.raises(DataError, match=r"holds another prediction \(form differ\)"):
        predict_files(checkpoint, str(notes), tmp_path / "out", **{**options, "form": None})


def test_one_file_resumes_after_a_kill(checkpoint: Path, notes: Path, tmp_path: Path) -> None:
    def killed(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    options: dict[str, Any] = {"block": 3, "local": True, "id_column": "id"}
    with pytest.raises(KeyboardInterrupt):
        predict_files(checkpoint, str(notes), tmp_path / "out.csv", progress=killed, **options)
    assert not (tmp_path / "out.csv").exists()
    shutil.copytree(tmp_path / ".out.csv.blocks", tmp_path / "kept")
    assert predict_files(checkpoint, str(notes), tmp_path / "out.csv", **options).found == 2
    assert len(pd.read_csv(tmp_path / "out.csv")) == len(FAULTY) + 2
    with pytest.raises(DataError, match="exists; give another output"):
        predict_files(checkpoint, str(notes), tmp_path / "out.csv", **options)
    shutil.copytree(tmp_path / "kept", tmp_path / ".out.csv.blocks")  # as if killed before the folder was removed
    assert predict_files(checkpoint, str(notes), tmp_path / "out.csv", **options).found == 2


def test_one_file_goes_to_a_bucket(checkpoint: Path, notes: Path, bucket: str) -> None:
    import pyarrow.fs

    from kdh_ray.storage import locate

    predict_files(checkpoint, str(notes), f"{bucket}/out.csv", block=3, local=True, id_column="id")
    filesystem, root = locate(bucket)
    files = filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
    assert [file.base_name for file in files if file.is_file] == ["out.csv"]
    assert filesystem.open_input_stream(f"{root}/out.csv").read().count(b"\n") == len(FAULTY) + 3


def test_name_and_format_must_agree(
    checkpoint: Path, notes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, notes, tmp_path / "out.csv", "--format", "jsonl") == 2
    assert "an output is a folder or a file named .jsonl" in capfd.readouterr().err
    (tmp_path / "dir.csv").mkdir()
    assert run(checkpoint, notes, tmp_path / "dir.csv") == 2
    assert "is a folder; an output named like a file can't be one" in capfd.readouterr().err


def test_missing_checkpoint_is_named_as_it_was_given(
    notes: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(notes.parent)
    for words in (["--input", "notes.jsonl", "--output", "out", "--local"], []):
        assert main(["predict", "nowhere/checkpoint", *words]) == 2
        assert capfd.readouterr().err.startswith("kdh-ray: nowhere/checkpoint is not a checkpoint")


def test_audit_has_a_line_per_block_and_no_text(checkpoint: Path, notes: Path, tmp_path: Path) -> None:
    from kdh_ray.models.checkpoint import load_card

    def killed(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    audit = tmp_path / "audit.jsonl"
    options: dict[str, Any] = {"block": 4, "local": True, "id_column": "id", "precision": "float32"}
    with pytest.raises(KeyboardInterrupt):
        predict_files(checkpoint, str(notes), tmp_path / "out", **options, audit=audit, progress=killed)
    lines = audit.read_text().splitlines(keepends=True)
    other = json.dumps({**json.loads(lines[1]), "model": "another"}) + "\n"
    audit.write_text("another program\n" + other + lines[0])  # as if killed between the second block and its line
    for _ in range(2):
        predict_files(checkpoint, str(notes), tmp_path / "out", **options, audit=audit)
    entries = [json.loads(line) for line in audit.read_text().splitlines()[2:]]
    assert [entry["ids"] for entry in entries] == [["good"], [], ["last"]]  # those with an error were not labelled
    assert entries[1]["texts"] == 0
    assert {entry["model"] for entry in entries} == {load_card(checkpoint).fingerprint}
    assert {entry["precision"] for entry in entries} == {"float32"}
    assert all({"time", "user"} <= entry.keys() for entry in entries)
    frame = pd.read_parquet(tmp_path / "out")
    assert entries[0]["labels"] == dict.fromkeys(frame["labels"][0], 1)
    assert "secret" not in audit.read_text()
    assert "the cell" not in audit.read_text()


def test_audit_that_cannot_be_written_is_found_first(
    checkpoint: Path, notes: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, notes, tmp_path / "out", "--audit", str(tmp_path)) == 2
    assert main(["predict", str(checkpoint), "--audit", str(tmp_path)]) == 2
    assert capfd.readouterr().err == f"kdh-ray: {tmp_path}: can't be written (Is a directory)\n" * 2
    assert not list((tmp_path / "out").glob("block-*"))


def test_audit_of_stdin_counts_lines(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("the cell\ngrowth\n\n"))
    assert main(["predict", str(checkpoint), "--batch-size", "2", "--audit", str(tmp_path / "audit")]) == 0
    entries = [json.loads(line) for line in (tmp_path / "audit").read_text().splitlines()]
    assert [entry["ids"] for entry in entries] == [[1, 2], [3]]
    assert entries[1]["labels"] == {}
