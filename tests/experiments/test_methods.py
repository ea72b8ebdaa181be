"""Methods of the study, trained with a tiny encoder on the synthetic corpus."""

from __future__ import annotations

import io
import resource
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from experiments import ablations, baselines, dataset_sizes
from experiments.grid import Place, main, places
from experiments.methods import STUDENT, changed, derived
from kdh_ray.cli.main import main as cli
from kdh_ray.config import dump_config, load_config
from kdh_ray.results import load_runs, tables
from kdh_ray.run_folder import RunFolder


def settings(encoder: Path) -> list[str]:
    starts = [f"stages.{name}.start={encoder}" for name in ("teacher", "teacher-2", "plain-student")]
    epochs = [f"stages.{name}.epochs=1" for name in ("teacher", "plain-student", "student")]
    return [*starts, *epochs, "data.documents=120", "data.max_tokens=24"]


@pytest.fixture(scope="module")
def study(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of ``dataset_sizes`` at the small size, with the methods that need no search."""
    out = tmp_path_factory.mktemp("study")
    patterns = [f"--cells=*/small/*/{name}" for name in ("plain-student", "distilled-finetuned")]
    assert main(dataset_sizes.EXPERIMENT, None, arguments(encoder, out, *patterns)) == 0
    return out


def arguments(encoder: Path, out: Path, *more: str) -> list[str]:
    overrides = [f"--set={setting}" for setting in settings(encoder)]
    return ["--preset", "smoke", "--out", str(out), *overrides, *more]


def place(encoder: Path, out: Path) -> Place:
    return next(places(dataset_sizes.GRID["smoke"], out, settings(encoder), local=True))


def test_each_cell_has_one_row(study: Path) -> None:
    frame = load_runs(study).set_index("method")
    assert sorted(frame.index) == ["distilled", "distilled-finetuned", "plain-student", "teacher"]
    assert (frame["experiment"] == "dataset_sizes").all()
    assert frame["kind"].to_dict()["teacher"] == "teacher"
    assert (frame["size"] == "small").all()


def test_another_experiment_finds_what_is_trained(
    study: Path, encoder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {file: file.stat().st_mtime_ns for file in study.rglob("result.json")}
    assert main(baselines.EXPERIMENT, None, arguments(encoder, study, "--cells=*/small/*")) == 0
    assert {file: file.stat().st_mtime_ns for file in study.rglob("result.json")} == before
    assert "finetuned-teacher" in capsys.readouterr().out
    frame = load_runs(study)
    teachers = frame[frame["stage"] == "teacher"].set_index("experiment")["test_f1_micro"]
    assert teachers["baselines"] == teachers["dataset_sizes"]
    ours = frame[frame["experiment"] == "baselines"]
    assert set(ours["method"]) == {method.name for method in baselines.METHODS}
    assert ours["test_f1_micro"].between(0, 1).all()
    assert tables.by_size(ours)["method"].tolist() == ours["method"].tolist()


def test_saved_predictions_are_compared_document_by_document(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("statsmodels", reason="extra 'statistics' is not installed")
    wanted = ["results", str(study), "--experiment", "dataset_sizes", "--table", "documents"]
    assert cli([*wanted, "--reference", "plain-student", "--format", "csv"]) == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert sorted(table["method"]) == ["distilled", "distilled-finetuned", "teacher"]
    frame = load_runs(study)
    scores = frame[frame["experiment"] == "dataset_sizes"].set_index("method")["test_f1_micro"]
    for line in table.to_dict("records"):
        assert line["difference"] == pytest.approx(scores[line["method"]] - scores["plain-student"])
        assert line["low"] <= line["difference"] <= line["high"]
    assert cli([*wanted, "--reference", "nobody"]) == 2
    assert "no seed has saved predictions of 'nobody'" in capsys.readouterr().err


def test_ablation_changes_one_found_setting(study: Path, encoder: Path) -> None:
    here = place(encoder, study)
    found = here.config.stages[STUDENT].model_copy(update={"learning_rate": 7e-4})
    best = RunFolder(here.folder / "pso").best.config
    best.parent.mkdir(parents=True, exist_ok=True)
    best.write_text(dump_config(derived(here, "pso", {STUDENT: found})))
    columns = {"experiment": "ablations", "method": "softmax-loss", "cell": "softmax"}
    changed({"loss.soft": "softmax-kl"})(here, columns)
    rows = load_runs(here.folder / "softmax-loss").set_index("stage")
    assert rows["kind"].to_dict() == {"student": "step", "finetuned": "student"}
    assert rows["cell"].dropna().to_dict() == {"finetuned": "softmax"}  # its first stage alone doesn't finish the cell
    assert rows.loc["student", "config_loss.soft"] == "softmax-kl"
    assert rows.loc["student", "config_learning_rate"] == 7e-4
    teacher = here.folder / "base" / "stages" / "teacher" / "checkpoint"
    assert load_config(here.folder / "softmax-loss" / "config.yaml").stages[STUDENT].teachers == (str(teacher),)


def test_every_change_of_the_ablation_makes_a_configuration(study: Path, encoder: Path) -> None:
    start = ablations.other_start(place(encoder, study))
    assert start == {"start": str(encoder), "layers": 1}


def run_smoke(out: Path) -> tuple[subprocess.CompletedProcess[str], float]:
    """Run the command of the documentation and return it with the CPU seconds of the script."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "experiments.dataset_sizes", "--preset", "smoke", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return done, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


@pytest.mark.ray
@pytest.mark.timeout(1200)
@pytest.mark.slow
def test_the_smoke_preset_runs_and_then_skips_everything(tmp_path: Path) -> None:
    first, seconds = run_smoke(tmp_path)
    assert first.returncode == 0, first.stderr
    assert "swarm-tuned-finetuned" in first.stdout
    assert seconds < 120  # a bound that a busy machine keeps: it ends within three minutes on two idle cores
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")}
    second, seconds = run_smoke(tmp_path)
    assert second.returncode == 0, second.stderr
    assert second.stdout == first.stdout
    assert "18 cells, 18 have a row" in second.stderr
    assert seconds < 20
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*.parquet")} == before


@pytest.mark.slow
@pytest.mark.ray
def test_ablations_and_efficiency_train_what_they_need(
    encoder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from experiments import efficiency

    whole = arguments(encoder, tmp_path)
    assert main(efficiency.EXPERIMENT, None, [*whole, "--cells=*distilled-int8"]) == 0
    assert "int8" in capfd.readouterr().out
    chosen = ("full", "random-search", "other-start", "plain-student-start", "two-teachers", "without-distillation")
    assert main(ablations.EXPERIMENT, None, [*whole, *(f"--cells=*/{name}" for name in chosen)]) == 0
    shown = capfd.readouterr().out
    assert all(name in shown for name in (*chosen, "threshold-0.5"))
