"""Paths within a run's folder, and what they say of its stages."""

from pathlib import Path

import pytest

from kdh_ray.errors import CheckpointError
from kdh_ray.run_folder import RunFolder


def finish(folder: RunFolder, name: str, result: str = "{}") -> None:
    stage = folder.stage(name)
    stage.predictions.mkdir(parents=True)
    stage.result.write_text(result)


def test_home_and_relative_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert RunFolder("~/out").path == RunFolder("out").path == tmp_path / "out"
    assert Path(RunFolder("out")) == tmp_path / "out"


def test_stage_is_finished_by_its_result(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.stage("student").read_result() is None
    finish(folder, "student", '{"test_f1_micro": 0.5}')
    folder.stage("teacher").training.mkdir(parents=True)
    assert folder.stage("student").read_result() == {"test_f1_micro": 0.5}
    assert [stage.path.name for stage in folder.finished_stages()] == ["student"]


def test_damaged_result_is_refused(tmp_path: Path) -> None:
    finish(RunFolder(tmp_path), "student", "{")
    with pytest.raises(CheckpointError, match="remove it to run the stage again"):
        RunFolder(tmp_path).stage("student").read_result()


def test_runs_are_found_by_their_predictions(tmp_path: Path) -> None:
    outer, best = RunFolder(tmp_path / "run"), RunFolder(tmp_path / "run").best
    for folder in (outer, best):
        finish(folder, "student")
    found = RunFolder.with_predictions(tmp_path)
    assert [folder.path for folder in found] == [outer.path, best.path]


def test_run_is_found_by_its_checkpoint(tmp_path: Path) -> None:
    checkpoint = RunFolder(tmp_path).stage("student").checkpoint
    assert RunFolder.of_checkpoint(checkpoint).path == tmp_path
    assert RunFolder.of_checkpoint(Path("/")).path == Path("/")
