"""Stages with several members: trained one by one or side by side, scored and taught from as their mean."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdh_ray import run
from kdh_ray.cli.main import main
from kdh_ray.config import parse_config
from kdh_ray.data import corpus_from_config
from kdh_ray.errors import CheckpointError, ConfigError
from kdh_ray.evaluation.score_columns import score_columns
from kdh_ray.events import Event
from kdh_ray.inference.logits import logistic
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.space import tuned_stage
from kdh_ray.results import load_runs
from kdh_ray.results.tables import stage_table
from kdh_ray.run_folder import RunFolder
from kdh_ray.training.ensemble import mean_predictions
from kdh_ray.training.stages import StageRunner

FAST = {"epochs": 1, "batch_size": 16, "learning_rate": 1e-3}


def tree(encoder: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "ensemble",
        "data": {"corpus": "synthetic", "documents": 120, "max_tokens": 24},
        "stages": {
            "teacher": {"start": str(encoder), "members": 2, **FAST},
            "student": {"start": "teacher-1", "layers": 2, "teachers": ["teacher"], **FAST},
        },
        "baselines": {"tfidf": False},
        **changes,
    }


@pytest.fixture(scope="module")
def finished(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """The folder of a finished run."""
    out = tmp_path_factory.mktemp("runs") / "ensemble"
    run(tree(encoder), out, local=True)
    return RunFolder(out)


def logits(folder: RunFolder, stage: str, split: str = "validation") -> np.ndarray[Any, Any]:
    return np.asarray(np.load(folder.stage(stage).predictions / f"{split}.npy"))


def test_an_ensemble_is_scored_as_its_mean(finished: RunFolder, encoder: Path) -> None:
    config = parse_config(tree(encoder))
    corpus = corpus_from_config(config.data)
    members = [logistic_mean(finished, split) for split in ("validation", "test")]
    expected = score_columns(
        *((corpus.splits[split].targets, each) for split, each in zip(("validation", "test"), members, strict=True)),
        list(corpus.labels),
    )
    rows = load_runs(finished.rows).set_index("stage")
    for name in ("threshold", "validation_f1_micro", "test_f1_macro", "test_average_precision_macro"):
        assert rows.loc["teacher", name] == pytest.approx(expected[name])
    assert not np.allclose(logits(finished, "teacher-1"), logits(finished, "teacher-2"))


def logistic_mean(folder: RunFolder, split: str) -> np.ndarray[Any, Any]:
    return logistic(np.mean([logits(folder, f"teacher-{number}", split) for number in (1, 2)], axis=0))


def test_members_have_rows_of_their_own(finished: RunFolder) -> None:
    rows = load_runs(finished.rows).set_index("stage")
    assert dict(rows["kind"]) == {
        "teacher-1": "member", "teacher-2": "member", "teacher": "teacher", "student": "student",
    }  # fmt: skip
    assert rows.loc["teacher", "variant"] == "fine-tuned, mean of 2"
    for cost in ("parameters", "seconds", "documents_trained"):
        assert rows.loc["teacher", cost] == pytest.approx(rows.loc[["teacher-1", "teacher-2"], cost].sum())
    assert rows.loc["student", "documents_trained"] == 72
    table = stage_table(load_runs(finished.rows))
    assert table["stage"].tolist() == ["teacher", "student"]
    scores = sorted(100 * rows.loc[["teacher-1", "teacher-2"], "test_f1_micro"])
    assert f"teacher is the mean of models that reach {scores[0]:.1f} to {scores[1]:.1f} each" in table.attrs["note"]


def test_members_teach_by_their_mean_logits(finished: RunFolder, encoder: Path) -> None:
    config = parse_config(tree(encoder))
    runner = StageRunner(config, corpus_from_config(config.data), finished.path)

    def taught_by(*teachers: str) -> np.ndarray[Any, Any]:
        stage = config.stages["student"].model_copy(update={"teachers": teachers})
        teacher = runner.prepare("student", stage).train.teacher
        assert teacher is not None
        return np.asarray(teacher.documents)

    mean = (taught_by("teacher-1") + taught_by("teacher-2")) / 2
    np.testing.assert_allclose(taught_by("teacher"), mean, rtol=1e-6)


def test_interrupted_ensemble_resumes_by_member(finished: RunFolder, encoder: Path, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if event["kind"] == "epoch" and event["stage"] == "teacher-2":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tree(encoder), tmp_path, local=True, listener=interrupt)
    events: list[Event] = []
    run(tree(encoder), tmp_path, local=True, listener=events.append)
    assert [event["stage"] for event in events if event["kind"] == "start"] == ["teacher-2", "teacher", "student"]
    np.testing.assert_array_equal(logits(RunFolder(tmp_path), "student"), logits(finished, "student"))


def test_an_ensemble_is_no_checkpoint(finished: RunFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(finished.stage("teacher").checkpoint), str(tmp_path / "export")]) == 2
    message = capsys.readouterr().err
    assert "is the mean of 2 members: distil them into a student, or name one of them" in message
    assert str(finished.stage("teacher-1").checkpoint) in message
    assert message.count("\n") == 1
    assert main(["export", str(finished), str(tmp_path / "export")]) == 2
    assert str(finished.stage("teacher").checkpoint) not in capsys.readouterr().err


def test_predictions_of_other_documents_are_refused(finished: RunFolder, encoder: Path) -> None:
    data = {"corpus": "synthetic", "documents": 60, "max_tokens": 24}
    other = corpus_from_config(parse_config(tree(encoder, data=data)).data)
    with pytest.raises(CheckpointError, match=r"is of other documents or labels than the corpus; remove .*teacher-1"):
        mean_predictions([finished.stage("teacher-1"), finished.stage("teacher-2")], other)


def test_a_search_is_taught_by_every_member(encoder: Path, tmp_path: Path) -> None:
    plan = SearchPlan(parse_config(tree(encoder)), RunFolder(tmp_path), "student")
    assert plan.needed_stages == ["teacher-1", "teacher-2", "teacher"]
    best = plan.best_config({"loss.alpha": 0.25})
    assert list(best.stages) == ["student"]
    members = [str(plan.folder.stage(f"teacher-{number}").checkpoint) for number in (1, 2)]
    assert list(best.stages["student"].teachers) == members
    assert best.stages["student"].start == members[0]


def test_members_of_the_tuned_stage_share_its_best_settings(encoder: Path, tmp_path: Path) -> None:
    stages = {
        "teacher": {"start": str(encoder)},
        "student": {"start": str(encoder), "teachers": ["teacher"], "members": 2},
    }
    config = parse_config(tree(encoder, stages=stages))
    assert tuned_stage(config) == "student"
    plan = SearchPlan(config, RunFolder(tmp_path), "student")
    assert plan.needed_stages == ["teacher"]
    best = plan.best_config({"loss.alpha": 0.25})
    assert {name: stage.loss.alpha for name, stage in best.stages.items()} == {
        "student-1": 0.25, "student-2": 0.25, "student": 0.25,
    }  # fmt: skip


def test_members_that_differ_are_not_tuned_as_one(encoder: Path) -> None:
    stages = {"model": {"start": str(encoder), "members": 2}, "model-2": {"start": str(encoder), "epochs": 9}}
    with pytest.raises(ConfigError, match="members of 'model' differ by more than their seeds"):
        parse_config(tree(encoder, stages=stages, tune={"stage": "model"}))
    with pytest.raises(ConfigError, match="'model-2' is a member of 'model'; name that stage"):
        parse_config(tree(encoder, stages=stages, tune={"stage": "model-2"}))


@pytest.mark.ray
def test_members_train_side_by_side_on_ray(finished: RunFolder, encoder: Path, tmp_path: Path) -> None:
    from kdh_ray.cluster.session import ray_session
    from kdh_ray.config import JobConfig

    with ray_session(JobConfig(), cpus=2):
        run(tree(encoder), tmp_path)
    events = [json.loads(line) for line in RunFolder(tmp_path).events.read_text().splitlines()]
    order = [event["stage"] for event in events if event["kind"] in ("start", "done")]
    assert set(order[:2]) == {"teacher-1", "teacher-2"}  # both began before either was done
    np.testing.assert_allclose(logits(RunFolder(tmp_path), "teacher"), logits(finished, "teacher"), atol=1e-4)
