"""Copies of results in a folder or a bucket that many runs share."""

from pathlib import Path

import pytest

from kdh_ray import run
from kdh_ray.config import parse_config
from kdh_ray.errors import UnavailableError
from kdh_ray.jobs.publish import check_writable, publish
from kdh_ray.models.checkpoint import load_checkpoint
from kdh_ray.results import load_runs, write_row
from kdh_ray.run_folder import RunFolder
from kdh_ray.storage import locate


def finished_stage(folder: Path, score: str = "0.5") -> None:
    stage = folder / "stages" / "student"
    (stage / "checkpoint").mkdir(parents=True, exist_ok=True)
    (stage / "checkpoint" / "model.safetensors").write_bytes(b"weights")
    (stage / "training").mkdir(exist_ok=True)
    (stage / "training" / "optimiser").write_bytes(b"not for others")
    (stage / "result.json").write_text(score)
    (folder / "config.yaml").write_text("name: x")
    write_row(folder / "rows", {"run_id": "x", "stage": "student", "status": "ok", "score": float(score)})


def content(results: str) -> dict[str, bytes]:
    import pyarrow.fs

    filesystem, root = locate(results)
    entries = filesystem.get_file_info(pyarrow.fs.FileSelector(root, recursive=True))
    files = [entry.path for entry in entries if entry.type == pyarrow.fs.FileType.File]
    return {file.removeprefix(f"{root}/"): filesystem.open_input_stream(file).read() for file in files}


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_rows_and_finished_stages_are_copied(tmp_path: Path, bucket: str, where: str) -> None:
    results = bucket if where == "bucket" else str(tmp_path / "shared")
    finished_stage(tmp_path / "run")
    publish(RunFolder(tmp_path / "run"), "x-0", results)
    publish(RunFolder(tmp_path / "run"), "x-0", results)
    copies = {name: held for name, held in content(results).items() if name.startswith("runs/")}
    assert copies == {
        "runs/x-0/config.yaml": b"name: x",
        "runs/x-0/stages/student/checkpoint/model.safetensors": b"weights",
        "runs/x-0/stages/student/result.json": b"0.5",
    }
    assert load_runs(results)["score"].tolist() == [0.5]


def test_retrained_stage_replaces_its_copy(tmp_path: Path) -> None:
    for score in ("0.5", "0.7"):
        finished_stage(tmp_path / "run", score)
        publish(RunFolder(tmp_path / "run"), "x-0", str(tmp_path / "shared"))
    assert (tmp_path / "shared/runs/x-0/stages/student/result.json").read_text() == "0.7"
    assert load_runs(tmp_path / "shared")["score"].tolist() == [0.7]


def test_unwritable_results_are_refused(tmp_path: Path, bucket: str) -> None:
    (tmp_path / "file").write_text("")
    for results in (str(tmp_path / "file" / "x"), "s3://no-bucket/x"):
        with pytest.raises(UnavailableError, match=f"results: {results} can't be written"):
            check_writable(results)
    check_writable(bucket)
    assert content(bucket) == {}


def test_run_copies_its_results_to_the_bucket(tmp_path: Path, encoder: Path, bucket: str) -> None:
    tree = {
        "name": "shared",
        "results": bucket,
        "data": {"documents": 60, "max_tokens": 16},
        "stages": {"student": {"start": str(encoder), "epochs": 1}},
        "baselines": {"tfidf": False},
        "precision": "float32",
    }
    frame = run(parse_config(tree), tmp_path / "run", local=True)
    fetched = load_runs(bucket)
    assert fetched["run_id"].tolist() == frame["run_id"].tolist()
    prefix = f"runs/{frame['run_id'][0]}/stages/student/checkpoint/"
    for name, held in content(bucket).items():
        if name.startswith(prefix):
            file = tmp_path / "copy" / name.removeprefix(prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(held)
    load_checkpoint(tmp_path / "copy")  # checks every digest
