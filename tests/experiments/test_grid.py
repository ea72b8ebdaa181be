"""Grid of the study: its cells, their order, and that each is run once."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from experiments import ablations, baselines, dataset_sizes, efficiency, searchers
from experiments.grid import CONFIGS, PRESETS, Block, Columns, Experiment, Method, Place, main, places, select
from kdh_ray.config import load_config
from kdh_ray.errors import ConfigError, UnavailableError, UserError
from kdh_ray.jobs.ray_train import JobError
from kdh_ray.jobs.stage_search.space import search_space
from kdh_ray.results import load_runs, write_row
from kdh_ray.results.stage_rows import stage_row

EXPERIMENTS = [module.EXPERIMENT for module in (dataset_sizes, ablations, baselines, searchers, efficiency)]
YAMLS = sorted(CONFIGS.glob("*.yaml"))


def test_configurations_are_all_here() -> None:
    assert len(YAMLS) == 10


@pytest.mark.parametrize("file", YAMLS, ids=lambda file: file.stem)
def test_every_configuration_validates(file: Path) -> None:
    config = load_config(file)
    if config.tune.space is not None:
        assert search_space(config)


@pytest.mark.parametrize("experiment", EXPERIMENTS, ids=lambda experiment: experiment.name)
def test_every_preset_makes_cells_in_order_of_need(experiment: Experiment, tmp_path: Path) -> None:
    for preset in PRESETS:
        cells = select(experiment, list(places(experiment.grid[preset], tmp_path, [])), [])
        keys = [cell.key for cell in cells]
        assert len(keys) == len(set(keys)) >= len(experiment.methods)
        for number, cell in enumerate(cells):
            assert all(f"{cell.place.key}/{need}" in keys[:number] for need in cell.method.needs)


def test_smaller_pair_has_ten_seeds(tmp_path: Path) -> None:
    found = list(places(dataset_sizes.GRID["cpu"], tmp_path, []))
    seeds = {name: len({place.config.seed for place in found if place.config.name == name}) for name in
             ("minilm-l3", "mpnet-minilm")}  # fmt: skip
    assert seeds == {"minilm-l3": 10, "mpnet-minilm": 6}
    assert [place.config.seed for place in found] == sorted(place.config.seed for place in found)


def test_study_has_its_methods() -> None:
    names = {each.name: {method.name for method in each.methods} for each in EXPERIMENTS}
    assert names["dataset_sizes"] == {
        "teacher", "plain-student", "distilled", "distilled-finetuned", "swarm-tuned", "swarm-tuned-finetuned"
    }  # fmt: skip
    assert names["ablations"] >= {
        "full", "without-distillation", "without-sequential-stages", "default-settings", "random-search",
        "softmax-loss", "alpha-0.25", "alpha-1", "temperature-1", "temperature-8", "hidden-loss", "other-start",
        "two-teachers",
    }  # fmt: skip
    assert names["baselines"] == {
        "tf-idf-logistic", "tf-idf-svm", "embeddings-logistic", "finetuned-student", "finetuned-teacher"
    }  # fmt: skip
    assert names["searchers"] >= {"pso", "pso-generational", "pyswarms", "nevergrad-pso", "optuna-tpe", "random"}
    formats = {f"{model}-{name}" for model in ("teacher", "distilled") for name in ("float32", "bfloat16", "int8")}
    assert names["efficiency"] >= formats


class Fake:
    """Experiment with two methods that write rows and record their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.failing: set[str] = set()
        methods = (
            Method("teacher", lambda place, columns: self.perform("teacher", place, columns)),
            Method("student", lambda place, columns: self.perform("student", place, columns), needs=("teacher",)),
        )
        grid = dict.fromkeys(PRESETS, (Block("study-smoke.yaml", ("small", "large"), 2),))
        self.experiment = Experiment("fake", methods, grid, lambda frame: frame[["method"]])

    def perform(self, name: str, place: Place, columns: Columns) -> None:
        self.calls.append(f"{place.key}/{name}")
        if name in self.failing:
            raise JobError("all workers were lost")
        row = stage_row(place.config, name, f"run-{place.key}", "synthetic", {"test_f1_micro": 0.5})
        write_row(place.folder / "rows", {**row, **columns})

    def run(self, out: Path, *arguments: str) -> int:
        return main(self.experiment, None, ["--preset", "smoke", "--out", str(out), *arguments])


def test_cells_with_a_row_are_skipped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake()
    assert fake.run(tmp_path) == 0
    assert len(fake.calls) == 8
    assert "[8/8] smoke/synthetic/large/1/student\n    test micro F1 50.0, " in capsys.readouterr().err
    assert fake.run(tmp_path) == 0
    assert len(fake.calls) == 8
    assert "8 cells, 8 have a row" in capsys.readouterr().err


def test_cells_that_are_steps_are_skipped_too(tmp_path: Path) -> None:
    fake = Fake()
    steps = tuple(
        Method(method.name, method.perform, method.needs, {"kind": "step"}) for method in fake.experiment.methods
    )
    fake.experiment = replace(fake.experiment, methods=steps)
    assert fake.run(tmp_path) == fake.run(tmp_path) == 0
    assert len(fake.calls) == 8


def test_rows_say_where_they_belong(tmp_path: Path) -> None:
    Fake().run(tmp_path)
    row = load_runs(tmp_path).iloc[-1]
    found = row[["experiment", "method", "pair", "size", "seed", "cell"]].tolist()
    assert found == ["fake", "student", "smoke", "large", 1, "smoke/synthetic/large/1/student"]


def test_patterns_take_in_what_is_needed(tmp_path: Path) -> None:
    fake = Fake()
    assert fake.run(tmp_path, "--cells", "*/large/1/student") == 0
    assert fake.calls == ["smoke/synthetic/large/1/teacher", "smoke/synthetic/large/1/student"]


def test_a_pattern_that_matches_nothing_is_refused(tmp_path: Path) -> None:
    fake = Fake()
    assert fake.run(tmp_path, "--cells", "*/tiny/*") == 2
    with pytest.raises(UserError, match=r"\*/tiny/\*: matches none of 8 cells"):
        select(fake.experiment, list(places(fake.experiment.grid["smoke"], tmp_path, [])), ["*/tiny/*"])


def test_failed_cell_stops_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake()
    fake.failing = {"teacher"}
    assert fake.run(tmp_path) == 1
    assert "teacher\n    failed: all workers were lost, 0 s\n" in capsys.readouterr().err
    assert len(fake.calls) == 8
    fake.failing = set()
    assert fake.run(tmp_path) == 0
    assert len(fake.calls) == 12


def test_unmeasurable_format_stops_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise UnavailableError("no bfloat16 here")

    monkeypatch.setattr(efficiency, "measure", refused)
    place = next(places(efficiency.GRID["smoke"], tmp_path, []))
    with pytest.raises(JobError, match="no bfloat16 here"):  # which run_cells counts, and goes on
        efficiency.measured("teacher", "bfloat16")(place, {"experiment": "efficiency"})


def test_wrong_settings_are_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert Fake().run(tmp_path, "--set", "stages.teacher.epoch=3") == 2
    assert "did you mean 'epochs'" in capsys.readouterr().err
    with pytest.raises(ConfigError):
        list(places(dataset_sizes.GRID["smoke"], tmp_path, ["data.size=huge", "nonsense=1"]))


def test_a_folder_keeps_to_one_set_of_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake()
    fake.run(tmp_path)
    assert fake.run(tmp_path, "--set", "stages.teacher.epochs=9") == 2
    assert "stages.teacher.epochs: the run in this folder has 1; got 9" in capsys.readouterr().err
    assert fake.run(tmp_path, "--set", "job.workers=2") == 0  # where it runs may differ


def test_corrupt_row_stops_the_grid(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fake = Fake()
    fake.run(tmp_path)
    broken = next(tmp_path.rglob("*.parquet"))
    broken.write_bytes(b"PAR1")
    before = len(fake.calls)
    assert fake.run(tmp_path) == 2
    assert broken.name in capsys.readouterr().err
    assert len(fake.calls) == before


def test_closed_pipe_is_no_failure() -> None:
    command = [sys.executable, "-m", "experiments.dataset_sizes", "--preset", "cpu", "--list"]
    with subprocess.Popen(command, cwd=CONFIGS.parents[1], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        if process.stdout is None or process.stderr is None:
            raise RuntimeError("no pipes")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
