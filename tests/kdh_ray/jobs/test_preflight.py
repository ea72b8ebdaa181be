"""Runs that are refused before their corpus is read, and notes about the encoders of those that are not."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from encoder_folders import rewrite_weights, write_encoder

from kdh_ray import run
from kdh_ray.cli.main import main
from kdh_ray.errors import CheckpointError
from kdh_ray.events import Event
from kdh_ray.hardware import Hardware
from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.results import load_runs
from kdh_ray.run_folder import RunFolder

UNREAD = {"corpus": "table", "path": "/nowhere/at/all.csv", "label_columns": ["pain"], "max_tokens": 24}
FAST = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("plain") / "encoder")


@pytest.fixture
def lacking(plain: Path, tmp_path: Path) -> Path:
    return rewrite_weights(
        plain, tmp_path / "lacking", lambda all_: {k: v for k, v in all_.items() if ".layer.1." not in k}
    )


def write_config(folder: Path, **tree: Any) -> str:
    file = folder / "run.yaml"
    file.write_text(json.dumps({"name": "checked", "data": UNREAD} | tree))  # JSON is YAML
    return str(file)


@pytest.mark.parametrize("verb", ["run", "teach", "tune"])
def test_verbs_refuse_an_encoder_before_the_corpus_is_read(
    verb: str, lacking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stages = {
        "teacher": {"start": str(lacking), **FAST},
        "student": {"start": str(lacking), "layers": 1, "teachers": ["teacher"], **FAST},
    }
    config = write_config(tmp_path, stages=stages)
    assert main([verb, config, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"kdh-ray: stages.teacher.start: {lacking} is not the encoder")
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_describe_refuses_a_named_encoder_before_the_corpus_is_read(
    lacking: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = write_config(tmp_path, stages={"teacher": {"start": "embedded"}})
    assert main(["corpus", "describe", config, "--encoder", str(lacking)]) == 2
    assert f"kdh-ray: {lacking} is not the encoder" in capsys.readouterr().err


def test_describe_warns_of_unknown_words(plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{i},zzz word{i},{i % 2}" for i in range(20)]
    (tmp_path / "notes.csv").write_text("\n".join(["id,text,pain", *rows]))
    data = {**UNREAD, "path": str(tmp_path / "notes.csv")}
    config = write_config(tmp_path, data=data, stages={"teacher": {"start": "embedded"}})
    assert main(["corpus", "describe", config, "--encoder", str(plain)]) == 0
    assert "warning: 50 % of the training split's tokens are unknown to the tokenizer" in capsys.readouterr().out


def test_student_of_a_lacking_encoder_is_refused(plain: Path, lacking: Path, tmp_path: Path) -> None:
    stages = {"teacher": {"start": str(plain), **FAST}, "student": {"start": str(lacking), "teachers": ["teacher"]}}
    with pytest.raises(CheckpointError, match=r"stages.student.start: .* lacks 16 of the 37 weights"):
        run({"data": UNREAD, "stages": stages}, tmp_path / "out", local=True)


def save(encoder: Path, folder: Path) -> Path:
    """Write a checkpoint of one label, and damage it."""
    model = build_classifier(str(encoder), 1, segments=False, dropout=0.0)
    save_checkpoint(folder, model, load_tokenizer(str(encoder)), Card(["pain"], [0.5], 24, False, {}))
    with (folder / "head.safetensors").open("ab") as file:
        file.write(b"x")
    return folder


def test_start_of_another_pooling_is_refused(plain: Path, tmp_path: Path) -> None:
    model = build_classifier(str(plain), 1, segments=False, dropout=0.0)
    card = Card(["pain"], [0.5], 24, False, {})
    save_checkpoint(tmp_path / "checkpoint", model, load_tokenizer(str(plain)), card)
    stages = {"student": {"start": str(tmp_path / "checkpoint"), "pooling": "cls", **FAST}}
    with pytest.raises(CheckpointError, match=r"stages.student: pooling must be that of .*, mean; got cls$"):
        run({"data": UNREAD, "stages": stages}, tmp_path / "out", local=True)


def test_no_first_token_stands_for_a_text_without_special_tokens(plain: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(plain, tmp_path / "encoder")
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps({**tokenizer, "post_processor": None}))
    (folder / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "PreTrainedTokenizerFast"}))
    stages = {"student": {"start": str(folder), "pooling": "cls", **FAST}}
    with pytest.raises(CheckpointError, match=r"stages.student: pooling: cls needs a special token before each text"):
        run({"data": UNREAD, "stages": stages}, tmp_path / "out", local=True)


def test_damaged_checkpoint_is_no_start(plain: Path, tmp_path: Path) -> None:
    stages = {"student": {"start": str(save(plain, tmp_path / "checkpoint")), **FAST}}
    with pytest.raises(CheckpointError, match=r"stages.student.start: .*head.safetensors: SHA-256 must be"):
        run({"data": UNREAD, "stages": stages}, tmp_path / "out", local=True)


def test_damaged_earlier_stage_is_refused(plain: Path, tmp_path: Path) -> None:
    teacher = RunFolder(tmp_path / "out").stage("teacher")
    save(plain, teacher.checkpoint)
    teacher.result.write_text("{}")
    stages = {"teacher": {"start": str(plain)}, "student": {"start": str(plain), "teachers": ["teacher"]}}
    with pytest.raises(CheckpointError, match=r"stages.student: .*head.safetensors: SHA-256 must be"):
        run({"data": UNREAD, "stages": stages}, tmp_path / "out", stages=["student"], local=True)


def test_run_of_a_wrapped_first_deberta_says_what_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hardware, "fast_bfloat16", True)
    encoder = rewrite_weights(
        write_encoder(tmp_path / "deberta", "deberta"),
        tmp_path / "wrapped",
        lambda all_: {f"module.{name}": value for name, value in all_.items()},
    )
    events: list[Event] = []
    data = {"corpus": "synthetic", "documents": 60, "max_tokens": 24}
    tree = {"data": data, "stages": {"teacher": {"start": str(encoder), **FAST}}, "baselines": {"tfidf": False}}
    run(tree, tmp_path / "out", local=True, listener=events.append)
    assert [event["text"] for event in events if event["kind"] == "note"][:2] == [
        f"{encoder}: the weights are those of a wrapped model; 'module.' is taken off their names",
        "teacher: trained in float32, since deberta can't be in bfloat16",
    ]
    assert list(load_runs(tmp_path / "out")["precision"]) == ["float32"]
