"""``kdh-ray report``, and the predictions that it reads from a run's folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from kdh_ray.cli.main import main
from kdh_ray.config import dump_config, parse_config
from kdh_ray.data import corpus_from_config
from kdh_ray.results import load_runs, write_row
from kdh_ray.results.saved_predictions import keep_predictions, load_predictions


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Return a run's folder as jobs write it, whose predictions are all right."""
    folder = tmp_path / "runs" / "small"
    config = parse_config({"data": {"corpus": "synthetic", "documents": 60}, "stages": {"student": {}}})
    split = corpus_from_config(config.data).splits["test"]
    predictions = folder / "stages" / "student" / "predictions"
    predictions.mkdir(parents=True)
    (folder / "config.yaml").write_text(dump_config(config), encoding="utf-8")
    np.save(predictions / "test.npy", (8.0 * split.targets - 4.0).astype(np.float32))
    (predictions / "test-ids.json").write_text(json.dumps(list(split.ids)), encoding="utf-8")
    row = {
        "run_id": "small-0",
        "stage": "student",
        "kind": "student",
        "status": "ok",
        "protocol": "synthetic",
        "seed": 0,
    }
    write_row(folder / "rows", {**row, "size": "large", "test_f1_micro": 1.0, "threshold": 0.5, "metric": "f1_micro"})
    return folder


def ran_again(run: Path) -> Path:
    """Return a second run of the same configuration, whose student predicts no label."""
    again = run.parent / "small-again"
    shutil.copytree(run, again)
    test = again / "stages" / "student" / "predictions" / "test.npy"
    np.save(test, np.full_like(np.load(test), -4.0))
    (row,) = load_runs(run).drop(columns="written").to_dict("records")
    shutil.rmtree(again / "rows")
    write_row(again / "rows", {**{str(key): value for key, value in row.items()}, "test_f1_micro": 0.0})
    return again


def test_predictions_come_with_their_targets(run: Path) -> None:
    found, reasons = load_predictions(load_runs(run), run)
    assert reasons == []
    predicted = found["small-0", "student"]
    assert (predicted.labels == predicted.targets).all()
    assert predicted.targets.any()


def test_predictions_of_other_documents_are_refused(run: Path) -> None:
    (run / "stages/student/predictions/test-ids.json").write_text('["somebody"]', encoding="utf-8")
    found, reasons = load_predictions(load_runs(run), run)
    assert found == {}
    assert "small" in reasons[0]
    assert "other documents or labels" in reasons[0]


def test_predictions_belong_to_the_data_as_they_are(run: Path) -> None:
    """Of two states of a corpus, whose scores happen to be the same."""
    config = parse_config({"data": {"corpus": "synthetic", "documents": 60}, "stages": {"student": {}}})
    (row,) = load_runs(run).drop(columns="written").to_dict("records")
    shutil.rmtree(run / "rows")
    now = corpus_from_config(config.data).identity.columns()
    for data in (now, {"data_fingerprint": "f" * 64, "data_documents": 61}):
        write_row(run / "rows", {**{str(key): value for key, value in row.items()}, **data})
    frame = load_runs(run)
    found, reasons = load_predictions(frame, run)
    own = frame.loc[frame["data_fingerprint"] == now["data_fingerprint"], "run_id"].iloc[0]
    assert (list(found), reasons) == ([(own, "student")], [])
    assert found[own, "student"].run_id == own
    assert keep_predictions(frame, run / "kept", run) == 1


def test_predictions_load_after_teachers_are_gone(run: Path) -> None:
    tree = yaml.safe_load((run / "config.yaml").read_text(encoding="utf-8"))
    tree["stages"]["student"]["teachers"] = ["gone/stages/teacher/checkpoint"]
    (run / "config.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert load_predictions(load_runs(run), run)[0].keys() == {("small-0", "student")}


def test_kept_results_load_without_their_runs(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before, _ = load_predictions(load_runs(run), run)
    assert main(["results", str(run), "--keep", str(tmp_path / "kept")]) == 0
    assert "kept 1 rows and the predictions of 1 stages" in capfd.readouterr().err
    shutil.rmtree(run)
    assert len(list((tmp_path / "kept").iterdir())) == 2
    found, reasons = load_predictions(load_runs(tmp_path / "kept"), tmp_path / "kept")
    assert reasons == []
    assert found.keys() == before.keys()
    assert (found["small-0", "student"].probabilities == before["small-0", "student"].probabilities).all()


def test_predictions_come_from_the_later_run(run: Path, tmp_path: Path) -> None:
    again, kept = ran_again(run), tmp_path / "kept"
    assert main(["results", str(run.parent), "--keep", str(kept)]) == 0
    for folders in ([run, again], [kept]):
        found, reasons = load_predictions(load_runs(*folders), *folders)
        assert reasons == []
        assert not found["small-0", "student"].labels.any()
    found, reasons = load_predictions(load_runs(again), run)
    assert found == {}
    assert "don't give the score of student's row" in reasons[0]


def test_unfinished_search_keeps_rows_only(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    row = {"run_id": "s-0-trial-0001", "stage": "student", "kind": "trial", "status": "ok", "seed": 0}
    write_row(tmp_path / "rows", row)
    assert main(["results", str(tmp_path / "rows"), "--all", "--keep", str(tmp_path / "kept")]) == 0
    assert "kept 1 rows and the predictions of 0 stages" in capfd.readouterr().err


def test_corrupt_kept_predictions_are_named(run: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    assert main(["results", str(run), "--keep", str(kept)]) == 0
    (file,) = kept.glob("predictions-*")
    file.write_bytes(b"PAR1 and then nothing")
    found, reasons = load_predictions(load_runs(kept), kept)
    assert found == {}
    assert file.name in reasons[0]


def test_page_and_figures_are_written(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    page, figures = tmp_path / "page.html", tmp_path / "figures"
    assert main(["report", str(run), "-o", str(page), "--figures", str(figures), "--title", "Ours"]) == 0
    assert capfd.readouterr().out == f"{page}\n"
    assert "<title>Ours</title>" in page.read_text(encoding="utf-8")
    assert {file.name for file in figures.glob("calibration.*")} == {
        "calibration.svg",
        "calibration.png",
        "calibration.csv",
    }


def test_corrupt_rows_are_named_on_the_page(run: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (run / "rows" / "row-broken.parquet").write_bytes(b"PAR1")
    page = tmp_path / "page.html"
    assert main(["report", str(run), "-o", str(page)]) == 2
    assert "row-broken.parquet" in capfd.readouterr().err
    assert main(["report", str(run), "-o", str(page), "--skip-corrupt"]) == 0
    assert "row-broken.parquet" in page.read_text(encoding="utf-8")


def test_unwritable_page_exits_with_2(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(run), "-o", str(run / "no" / "such.html")]) == 2
    assert "can't be written" in capfd.readouterr().err
