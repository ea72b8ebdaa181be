"""Whole runs in this process, on the tiny encoder."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from kdh_ray import run
from kdh_ray.cli.main import main
from kdh_ray.config import dump_config, parse_config
from kdh_ray.errors import CheckpointError, ConfigError, UnavailableError, UserError
from kdh_ray.events import Event
from kdh_ray.jobs.claim import write_or_check_config
from kdh_ray.jobs.ray_train import failure
from kdh_ray.models.checkpoint import load_card
from kdh_ray.results import load_runs
from kdh_ray.run_folder import RunFolder

FAST = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}


def tree(encoder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "tiny",
        "data": {"corpus": "synthetic", "documents": 120, "max_tokens": 24},
        "stages": {
            "teacher": {"start": str(encoder), **FAST},
            "student": {"start": "teacher", "layers": 2, "teachers": ["teacher"], **FAST},
            "finetuned": {"start": "student", **FAST},
        },
        **changes,
    }


@pytest.fixture(scope="module")
def finished(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Event]]:
    """A finished run's folder, and the events of the run."""
    out, events = tmp_path_factory.mktemp("runs") / "tiny", []
    run(tree(encoder), out, local=True, listener=events.append)
    return out, events


def test_stages_and_baseline_have_rows(finished: tuple[Path, list[Event]]) -> None:
    frame = load_runs(finished[0]).set_index("stage")
    assert dict(frame["kind"]) == {
        "teacher": "teacher", "student": "student", "finetuned": "student", "tf-idf": "baseline",
    }  # fmt: skip
    assert (frame["status"] == "ok").all()
    assert frame.loc["student", "config_loss.alpha"] == 0.5
    assert frame["test_f1_micro"].between(0, 1).all()
    assert frame["run_id"].nunique() == 1


def test_student_is_smaller_than_teacher(finished: tuple[Path, list[Event]]) -> None:
    frame = load_runs(finished[0]).set_index("stage")
    assert frame.loc["student", "parameters"] < frame.loc["teacher", "parameters"]
    config = json.loads((finished[0] / "stages/student/checkpoint/encoder/config.json").read_text())
    assert config["num_hidden_layers"] == 2


def test_checkpoint_card_describes_the_run(finished: tuple[Path, list[Event]]) -> None:
    card = load_card(finished[0] / "stages" / "student" / "checkpoint")
    assert len(card.labels) == 10
    assert card.segments
    assert card.corpus["name"] == "synthetic"


def test_events_cover_epochs_without_text(finished: tuple[Path, list[Event]]) -> None:
    out, events = finished
    assert [event["stage"] for event in events if event["kind"] == "epoch"] == ["teacher", "student", "finetuned"]
    from kdh_ray import load_corpus

    text = load_corpus("synthetic", documents=120).splits["train"].texts[0]
    for file in out.rglob("*.json*"):
        if "checkpoint" not in file.parts:
            assert text[:40] not in file.read_text()


def test_finished_run_is_not_repeated(finished: tuple[Path, list[Event]], encoder: Path) -> None:
    before = (finished[0] / "stages" / "teacher" / "result.json").stat().st_mtime_ns
    events: list[Event] = []
    frame = run(tree(encoder), finished[0], local=True, listener=events.append)
    assert (finished[0] / "stages" / "teacher" / "result.json").stat().st_mtime_ns == before
    assert len(frame) == 4
    assert not events


def test_folder_belongs_to_one_configuration(
    finished: tuple[Path, list[Event]], encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ConfigError, match=r"seed: the run in this folder has 0; got 5"):
        run(tree(encoder, seed=5), finished[0], local=True)
    file = finished[0].with_name("other.yaml")
    file.write_text(dump_config(parse_config(tree(encoder, seed=5))), encoding="utf-8")
    assert main(["run", str(file), "--out", str(finished[0]), "--local"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_half_written_configuration_is_removed(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fill(self: Path, *_: object, **__: object) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", fill)
    with pytest.raises(UnavailableError, match="No space left"):
        write_or_check_config(tmp_path / "config.yaml", parse_config(tree(encoder)))
    assert not (tmp_path / "config.yaml").exists()


def test_full_disk_of_worker_is_a_user_error(tmp_path: Path) -> None:
    folder, text = RunFolder(tmp_path), "Traceback\n  OSError: [Errno 28] No space left on device\n"
    assert isinstance(failure(RuntimeError(text), folder, "logs"), UnavailableError)
    assert str(failure(RuntimeError("Traceback\nKeyError: 1\n"), folder, "logs")) == "KeyError: 1 (Ray's logs: logs)"


def test_resumed_run_may_change_workers(finished: tuple[Path, list[Event]], encoder: Path) -> None:
    assert len(run(tree(encoder, job={"workers": 2}), finished[0], local=True)) == 4


def test_folder_has_one_run_at_a_time(finished: tuple[Path, list[Event]], encoder: Path) -> None:
    from filelock import FileLock

    with FileLock(finished[0] / ".lock"), pytest.raises(UnavailableError, match="another run is writing here"):
        run(tree(encoder), finished[0], local=True)


def test_interrupted_run_ends_like_a_whole_one(
    finished: tuple[Path, list[Event]], encoder: Path, tmp_path: Path
) -> None:
    def interrupt(event: Event) -> None:
        if event["kind"] == "epoch" and event["stage"] == "student":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tree(encoder), tmp_path / "run", local=True, listener=interrupt)
    resumed = run(tree(encoder), tmp_path / "run", local=True)
    scores = ["stage", "test_f1_micro", "test_average_precision_macro", "threshold"]
    whole = load_runs(finished[0])
    assert resumed[scores].set_index("stage").to_dict() == whole[scores].set_index("stage").to_dict()


def test_failed_stage_gets_a_row(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kdh_ray.training.loop import Training

    def fail(self: Training) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(Training, "run", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        run(tree(encoder), tmp_path, local=True)
    frame = load_runs(tmp_path).set_index("stage")
    assert frame.loc["teacher", "status"] == "failed"
    assert frame.loc["teacher", "error"] == "RuntimeError: out of memory"


def test_teacher_from_another_run_is_distilled(
    finished: tuple[Path, list[Event]], encoder: Path, tmp_path: Path
) -> None:
    checkpoint = str(finished[0] / "stages" / "teacher" / "checkpoint")
    stages = {"student": {"start": str(encoder), "layers": 1, "teachers": [checkpoint], **FAST}}
    frame = run(tree(encoder, stages=stages), tmp_path, local=True)
    assert frame.set_index("stage").loc["student", "variant"] == "distilled"


def test_tilde_is_the_home_folder(
    finished: tuple[Path, list[Event]], encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "earlier").symlink_to(finished[0])
    teacher = "~/earlier/stages/teacher/checkpoint"
    still = {**FAST, "learning_rate": 1e-12, "head_multiplier": 1.0, "start": teacher}
    stages = {"again": still, "student": {**still, "teachers": [teacher]}}
    run(tree(encoder, stages=stages, cache="~/kept", results="~/all"), "~/out", local=True)
    rows = load_runs("~/out/rows").set_index("stage")
    earlier = load_runs(finished[0]).set_index("stage")
    score = "test_average_precision_macro"  # with its heads, which a fresh start would draw anew
    assert rows.loc["again", score] == pytest.approx(earlier.loc["teacher", score], abs=1e-3)
    assert {file.name for file in tmp_path.iterdir()} == {"home"}
    assert {"kept", "all", "out"} <= {file.name for file in (tmp_path / "home").iterdir()}


def test_teacher_of_other_labels_is_refused(finished: tuple[Path, list[Event]], encoder: Path, tmp_path: Path) -> None:
    import shutil

    checkpoint = tmp_path / "teacher"
    shutil.copytree(finished[0] / "stages" / "teacher" / "checkpoint", checkpoint)
    card = json.loads((checkpoint / "classifier.json").read_text())
    card["labels"][:2] = reversed(card["labels"][:2])
    (checkpoint / "classifier.json").write_text(json.dumps(card))
    stages = {"student": {"start": str(encoder), "teachers": [str(checkpoint)], **FAST}}
    with pytest.raises(CheckpointError, match=r"label 1 must be .* as in the data; the checkpoint has"):
        run(tree(encoder, stages=stages), tmp_path / "run", local=True)
    with (checkpoint / "head.safetensors").open("ab") as file:
        file.write(b"x")
    with pytest.raises(CheckpointError, match="SHA-256"):
        run(tree(encoder, stages=stages), tmp_path / "run", local=True)
    assert not (tmp_path / "run").exists()


def test_softmax_over_single_label_is_refused(encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": f"note {number}", "labels": ["urgent"] * (number % 2)} for number in range(40)]
    (tmp_path / "notes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = {"corpus": "table", "path": str(tmp_path / "notes.jsonl"), "labels_column": "labels", "max_tokens": 24}
    changes = tree(encoder, data=data)
    changes["stages"]["student"]["loss"] = {"soft": "softmax-kl"}
    with pytest.raises(UserError, match=r"stages.student.loss.soft: softmax-kl over a single label is always 0"):
        run(changes, tmp_path / "run", local=True)
    assert not (tmp_path / "run").exists()


def test_faults_are_found_before_anything_is_written(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"stages.student: needs stage 'teacher', which is not finished"):
        run(tree(encoder), tmp_path / "run", stages=["student"], local=True)
    stages = {"teacher": {"start": "./nowhere", **FAST}}
    with pytest.raises(UnavailableError, match="no such folder"):
        run(tree(encoder, stages=stages), tmp_path / "run", local=True)
    stages = {"teacher": {"start": str(encoder), **FAST}, "student": {"start": "teacher", "layers": 5, **FAST}}
    with pytest.raises(UserError, match=r"stages.student.layers: the start has 4 encoder layers; got 5"):
        run(tree(encoder, stages=stages), tmp_path / "run", local=True)
    with pytest.raises(UserError, match=r"stages.teacher: .* reads at most 64 tokens; got 65 \(lower data.max_tokens"):
        run(tree(encoder, data={"documents": 120, "max_tokens": 65}), tmp_path / "run", local=True)
    (tmp_path / "file").touch()
    with pytest.raises(UnavailableError, match=r"cache: .*file/cache can't be written"):
        run(tree(encoder, cache=str(tmp_path / "file" / "cache")), tmp_path / "run", local=True)
    with pytest.raises(UserError, match=r"no such stage: pupil \(stages: teacher, student, finetuned\)"):
        run(tree(encoder), tmp_path / "run", stages=["pupil"], local=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("model", ["AlbertModel", "GPT2Model", "T5Model"])
def test_unsupported_encoder_is_refused_at_once(model: str, tmp_path: Path) -> None:
    kind = getattr(transformers, model)
    kind.config_class().save_pretrained(tmp_path / "encoder")
    with pytest.raises(CheckpointError, match=rf"stages.teacher.start: {model}: an encoder has a stack of layers"):
        run({"stages": {"teacher": {"start": str(tmp_path / "encoder"), **FAST}}}, tmp_path / "run", local=True)
    assert not (tmp_path / "run").exists()


def test_teach_distill_and_evaluate_verbs(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "tiny.yaml", tmp_path / "out"
    file.write_text(dump_config(parse_config(tree(encoder))), encoding="utf-8")
    assert main(["distill", str(file), "--out", str(out), "--local"]) == 2
    assert "needs stage 'teacher'" in capsys.readouterr().err
    assert main(["teach", str(file), "--out", str(out), "--local"]) == 0
    assert sorted(path.name for path in (out / "stages").iterdir()) == ["teacher"]
    assert main(["distill", str(file), "--out", str(out), "--local"]) == 0
    assert "distilled" in capsys.readouterr().out
    assert main(["evaluate", str(out / "stages/student/checkpoint"), "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)["scores"]
    row = load_runs(out).set_index("stage").loc["student"]
    assert scores["f1_micro"] == pytest.approx(row["test_f1_micro"])


def test_moved_run_is_evaluated_without_teachers(
    encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    teacher, run_of_best = tmp_path / "cluster" / "teacher", tmp_path / "cluster" / "best"
    data = {"documents": 120, "max_tokens": 24}
    run({"data": data, "stages": {"t": {"start": str(encoder), **FAST}}}, teacher, local=True)
    checkpoint = str(teacher / "stages" / "t" / "checkpoint")
    stages = {"s": {"start": str(encoder), "teachers": [checkpoint], **FAST}}
    run({"data": data, "stages": stages}, run_of_best, local=True)
    fetched = tmp_path / "fetched"
    (tmp_path / "cluster").rename(fetched)
    assert main(["evaluate", str(fetched / "best" / "stages" / "s" / "checkpoint"), "--json"]) == 0
    capsys.readouterr()
    assert main(["run", str(fetched / "best" / "config.yaml"), "--out", str(tmp_path / "again"), "--local"]) == 2
    assert capsys.readouterr().err.startswith(f"kdh-ray: stages.s.teachers: {checkpoint} is not a checkpoint")
    assert not (tmp_path / "again").exists()


def test_evaluate_refuses_other_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "is not a checkpoint" in error
    assert error.count("\n") == 1


def test_changed_cells_and_leaks_are_warned_of(encoder: Path, tmp_path: Path) -> None:
    texts = [f"note {i} says {'pain' if i % 2 else 'fever'}" for i in range(40)]
    texts[39] = "NOTE 3  says pain"
    names = ["train"] * 24 + ["validation"] * 8 + ["test"] * 8
    lines = [f"{i},{text},{i % 2 or ''},{1 - i % 2},{names[i]}" for i, text in enumerate(texts)]
    (tmp_path / "notes.csv").write_text("\n".join(["id,text,pain,fever,split", *lines]))
    data = {
        "corpus": "table", "path": str(tmp_path / "notes.csv"), "id_column": "id", "label_columns": ["pain", "fever"],
        "split_column": "split", "max_tokens": 16, "missing": "negative",
    }  # fmt: skip
    events: list[Event] = []
    stages = {"teacher": {"start": str(encoder), **FAST}}
    run({"name": "leaky", "data": data, "stages": stages}, tmp_path / "run", local=True, listener=events.append)
    notes = [event["text"] for event in events if event["kind"] == "note"]
    assert notes == [
        "warning: cells of label columns that are blank, read as 0: 20",
        "warning: leak: text of test document '39' is in the train split too",
    ]


def test_run_continues_without_bag_of_words(encoder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = [chr(0x4E00 + i) * 3 for i in range(40)]  # without spaces, each is a word of its own
    lines = "".join(f"{text},{i % 2}\n" for i, text in enumerate(texts))
    (tmp_path / "notes.csv").write_text(f"text,pain\n{lines}", encoding="utf-8")
    file, out = tmp_path / "my.yaml", tmp_path / "run"
    data = {"corpus": "table", "path": str(tmp_path / "notes.csv"), "label_columns": ["pain"], "max_tokens": 16}
    config = {"data": data, "stages": {"teacher": {"start": str(encoder), **FAST}}, "results": str(tmp_path / "shared")}
    file.write_text(dump_config(parse_config(config)), encoding="utf-8")
    for _ in range(2):
        assert main(["run", str(file), "--out", str(out), "--local"]) == 0
        assert "fine-tuned" in capsys.readouterr().out
    rows = load_runs(tmp_path / "shared").set_index("stage")
    assert rows["status"].to_dict() == {"teacher": "ok", "tf-idf": "failed"}
    assert "share no word" in rows.loc["tf-idf", "error"]
    assert "warning: no tf-idf baseline: notes: " in (out / "events.jsonl").read_text(encoding="utf-8")
