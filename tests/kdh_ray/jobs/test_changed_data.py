"""Data that changed between two calls: what is refused, what is said, and how to go ahead."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdh_ray import run
from kdh_ray.cli.main import main
from kdh_ray.config import dump_config, parse_config
from kdh_ray.data import Corpus, Split
from kdh_ray.errors import DataError
from kdh_ray.jobs.corpus_record import CorpusRecord
from kdh_ray.models.checkpoint import load_card
from kdh_ray.models.training_documents import FILE, TrainingDocuments
from kdh_ray.run_folder import RunFolder

Rows = list[list[str]]
SYMPTOMS = ("headache", "dry cough", "back pain", "fever at night")


def notes(n: int = 60) -> Rows:
    return [[f"Patient {i}: {SYMPTOMS[i % 4]} for {i} days.", str(i % 2), str(int(i % 3 == 0))] for i in range(n)]


def write(file: Path, rows: Rows) -> Path:
    file.write_text("\n".join(map(",".join, [["text", "pain", "fever"], *rows])) + "\n")
    return file


def tree(encoder: Path, table: Path, **changes: Any) -> dict[str, Any]:
    stage = {"start": str(encoder), "epochs": 1, "batch_size": 16, "layers": 1}
    return {
        "data": {"corpus": "table", "path": str(table), "label_columns": ["pain", "fever"], "max_tokens": 16},
        "baselines": {"tfidf": False},
        "stages": {"teacher": stage, "student": {**stage, "teachers": ["teacher"]}},
        **changes,
    }


@pytest.fixture(scope="module")
def finished(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run next to its table; never changed."""
    folder = tmp_path_factory.mktemp("changed")
    run(tree(encoder, write(folder / "notes.csv", notes())), folder / "run", local=True)
    return folder


@pytest.fixture
def folder(finished: Path, encoder: Path, tmp_path: Path) -> Path:
    """A copy of the finished run and its table, with a configuration file."""
    shutil.copytree(finished, tmp_path / "copy")
    config = parse_config(tree(encoder, tmp_path / "copy" / "notes.csv"))
    for file in (tmp_path / "copy" / "my.yaml", tmp_path / "copy" / "run" / "config.yaml"):
        file.write_text(dump_config(config))
    return tmp_path / "copy"


def flip(rows: Rows) -> Rows:
    return [[text, str(1 - int(pain)), fever] for text, pain, fever in rows]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flip, "documents: 60 relabelled"),
        (lambda rows: [*rows, ["A new one.", "1", "0"], ["And another.", "0", "1"]], "documents: 2 added"),
        (lambda rows: rows[3:], "documents: 3 removed"),
        (lambda rows: [["A new one.", "1", "0"], *flip(rows[1:3]), *rows[3:]], "1 added, 1 removed, 2 relabelled"),
    ],
)
def test_changed_rows_are_counted_and_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], change: Callable[[Rows], Rows], said: str
) -> None:
    write(folder / "notes.csv", change(notes()))
    for verb in ("run", "distill", "tune"):
        assert main([verb, str(folder / "my.yaml"), "--out", str(folder / "run"), "--local"]) == 2
        out, err = capsys.readouterr()
        assert said in err
        assert "--allow-changed-data" in err
        assert (out, err.count("\n")) == ("", 1)


def test_rows_in_another_order_are_no_change(folder: Path, encoder: Path) -> None:
    events: list[Any] = []
    write(folder / "notes.csv", notes()[::-1])
    run(tree(encoder, folder / "notes.csv"), folder / "run", local=True, listener=events.append)
    assert not [event for event in events if event["kind"] == "start" or "changed" in event.get("text", "")]


def test_allowed_change_is_a_warning_once(folder: Path, encoder: Path) -> None:
    write(folder / "notes.csv", flip(notes()))
    config, events = tree(encoder, folder / "notes.csv"), []
    run(config, folder / "run", local=True, listener=events.append, allow_changed_data=True)
    texts = [event["text"] for event in events if event["kind"] == "note"]
    assert any("60 relabelled); finished stages and their scores are of the data before" in text for text in texts)
    events.clear()
    run(config, folder / "run", local=True, listener=events.append)
    assert not [event for event in events if "changed" in event.get("text", "")]


def test_moved_split_names_are_counted() -> None:
    targets = np.ones((2, 1), dtype=np.int8)
    first, second = Split(["1", "2"], ["a", "b"], targets), Split(["3", "4"], ["c", "d"], targets)
    before = Corpus("x", ["pain"], {"train": first, "test": second})
    record = CorpusRecord.of(before)
    assert record.changes(Corpus("x", ["pain"], {"train": second, "test": first})) == "documents: 4 in another split"
    assert record.changes(Corpus("x", ["fever"], before.splits)) == "the labels were pain and are fever"
    assert record.changes(before) == ""


def test_card_has_the_language_if_it_was_stated(finished: Path, encoder: Path, tmp_path: Path) -> None:
    assert "language" not in load_card(finished / "run" / "stages" / "teacher" / "checkpoint").notes
    config = tree(encoder, finished / "notes.csv")
    config["data"]["language"] = "de"
    run(config, tmp_path / "run", stages=["teacher"], local=True)
    assert load_card(tmp_path / "run" / "stages" / "teacher" / "checkpoint").notes["language"] == "de"


def test_run_without_a_record_compares_its_stages(folder: Path, encoder: Path) -> None:
    RunFolder(folder / "run").corpus.unlink()
    run(tree(encoder, folder / "notes.csv"), folder / "run", local=True)
    RunFolder(folder / "run").corpus.unlink()
    write(folder / "notes.csv", flip(notes()))
    with pytest.raises(DataError, match=r"stage student was trained on others; this run is too old to say"):
        run(tree(encoder, folder / "notes.csv"), folder / "run", local=True)


def test_teacher_of_held_out_documents_is_refused(folder: Path, encoder: Path) -> None:
    """The split rule of the student's corpus deals the documents anew."""
    teacher = str(folder / "run" / "stages" / "teacher" / "checkpoint")
    stages = {"student": {"start": str(encoder), "epochs": 1, "layers": 1, "teachers": [teacher]}}
    config = tree(encoder, folder / "notes.csv", stages=stages)
    config["data"]["sample_seed"] = 1
    with pytest.raises(DataError, match=r"other data, which has \d+ of the \d+ validation documents in its training"):
        run(config, folder / "other", local=True)
    events: list[Any] = []
    run(config, folder / "other", local=True, listener=events.append, allow_changed_data=True)
    assert any("scores on them are too good" in event.get("text", "") for event in events)
    student = RunFolder(folder / "other").stage("student").checkpoint
    documents = TrainingDocuments.load(student)
    assert documents is not None
    assert len(documents.train) == 2  # its own and its teacher's


def test_evaluate_says_what_was_trained_on(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    student = folder / "run" / "stages" / "student" / "checkpoint"
    assert main(["evaluate", str(student)]) == 0
    assert capsys.readouterr().err == ""
    write(folder / "notes.csv", [["A new one.", "1", "0"], *notes()])
    assert main(["evaluate", str(student)]) == 0
    assert "the data changed since training; none of the test documents was trained on" in capsys.readouterr().err
    anew = ["evaluate", str(student), "--set", "data.sample_seed=1"]
    assert main(anew) == 2
    assert "test documents in its training split" in capsys.readouterr().err
    assert main([*anew, "--allow-changed-data"]) == 0
    assert "scores on them are too good" in capsys.readouterr().err
    (student / FILE).unlink()
    assert main(anew) == 0
    assert "doesn't say which documents" in capsys.readouterr().err


def test_rows_say_which_data_they_are_of(encoder: Path, tmp_path: Path) -> None:
    """The teacher's row stays that of the data before; the student and a second baseline are of the data now."""
    config = tree(encoder, write(tmp_path / "notes.csv", notes()), baselines={"tfidf": True})
    before = run(config, tmp_path / "run", stages=["teacher"], local=True)
    write(tmp_path / "notes.csv", [*notes(), ["A new one.", "1", "0"]])
    events: list[Any] = []
    rows = run(config, tmp_path / "run", local=True, allow_changed_data=True, listener=events.append)
    assert "finished earlier, not trained again: teacher" in [event.get("text") for event in events]
    assert [event["epoch"] for event in events if event["kind"] == "done"] == [1]
    now, earlier = "notes (61 documents)", "notes (60 documents)"
    protocols = rows.groupby("stage")["protocol"].apply(sorted).to_dict()
    assert protocols == {"teacher": [earlier], "student": [now], "tf-idf": [earlier, now]}
    written = [frame.set_index("stage").loc["teacher", "written"] for frame in (before, rows)]
    assert written[0] == written[1]
    card = load_card(RunFolder(tmp_path / "run").stage("student").checkpoint)
    assert rows.set_index("stage").loc["student", "data_fingerprint"] == card.corpus["fingerprint"]
    again = run(config, tmp_path / "run", local=True)
    assert sorted(again["written"]) == sorted(rows["written"])
