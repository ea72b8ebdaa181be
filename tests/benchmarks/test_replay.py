"""Trials of real searches, collected in a table and replayed as a problem for searchers."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.collect_trials import collect
from benchmarks.real_searches import best_after
from benchmarks.searchers import fidelity
from benchmarks.searchers.problems import trials
from benchmarks.searchers.simulate import PEERS, run
from benchmarks.train_grid import every_point
from experiments.searchers import BENCHMARKS, BUDGETS, SEARCHERS
from kdh_ray.config import SearchRange
from kdh_ray.errors import DataError
from searchers import Float, Space

RATES, LOSSES = (1e-4, 3e-4, 1e-3), ("bernoulli-kl", "softmax-kl")


def trial(number: int, rate: float, loss: str, status: str = "ok") -> dict[str, object]:
    return {
        "kind": "trial", "status": status, "experiment": "grid", "protocol": "synthetic", "size": "small",
        "stage": "student", "seed": 0, "commit": "c", "config_learning_rate": rate, "config_loss.soft": loss,
        "config_epochs": 3, "seconds": 2.0, "trial": number,
        "curve": json.dumps([0.4 - number / 100, 0.5 + number / 100]), "validation_f1_micro": 0.5 + number / 100,
    }  # fmt: skip


GRID = [trial(number, *point) for number, point in enumerate(itertools.product(RATES, LOSSES))]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    file = tmp_path / "grid.parquet"
    collect(pd.DataFrame([*GRID, trial(99, 0.5, "softmax-kl", "failed")])).to_parquet(file, index=False)
    return file


def test_differing_settings_become_the_grid(table: Path) -> None:
    frame = pd.read_parquet(table)
    assert [name for name in frame if name.startswith("config_")] == ["config_learning_rate", "config_loss.soft"]
    assert len(frame) == 6  # the failed trial is left out
    problem = trials(str(table))
    assert problem.function({"learning_rate": 1e-3, "loss.soft": "softmax-kl"}) == pytest.approx(1 - 0.55)
    assert problem.best == pytest.approx(1 - 0.55)
    assert problem.regret(problem.typical) == 1.0


def test_record_of_searches_has_stopped_trials() -> None:
    rows = [trial(7, 0.5, "softmax-kl", "stopped"), *({**row, "searcher": "pso", "particle": 1} for row in GRID)]
    kept = collect(pd.DataFrame(rows), searches=True)
    assert kept["status"].tolist() == ["ok"] * 6 + ["stopped"]
    assert kept["particle"].tolist()[:6] == [1] * 6


def test_best_score_after_equal_epochs() -> None:
    ends = [("12:00:00", 60, 3, 0.5), ("12:00:10", 5, 1, 0.4), ("12:00:20", 10, 2, 0.6), ("12:00:30", 90, 3, 0.9)]
    frame = pd.DataFrame(
        {"kind": "trial", "started": f"2026-01-01T{at}+00:00", "seconds": took, "epochs_run": epochs, "score": score}
        for at, took, epochs, score in ends
    )
    assert [best_after(frame, epochs) for epochs in (1, 3, 5, 6, 9)] == [0.4, 0.6, 0.6, 0.6, 0.9]


def test_replay_stops_early_on_curves(table: Path) -> None:
    task = fidelity.table(str(table))
    assert task.steps == (1, 2)
    best = {"learning_rate": 1e-3, "loss.soft": "softmax-kl"}
    assert [task.curve(best, at) for at in task.steps] == pytest.approx([1 - 0.35, 1 - 0.55])
    assert task.regret(task.curve(best, 2)) == pytest.approx(0.0)
    whole, halved = (
        fidelity.simulate(PEERS["random"](task.space, 0, 6), task, 1, 6, 0, until) for until in (None, 1e9)
    )
    assert 1 <= len(halved) < len(whole) == 6
    assert halved[-1][0] < whole[-1][0]


def test_dehb_chooses_its_own_fidelities() -> None:
    pytest.importorskip("dehb")
    asked = []

    def curve(config: dict[str, float], at: int) -> float:
        asked.append(at)
        return config["x"] + 1 / at

    task = fidelity.Task("line", Space({"x": Float(0.0, 1.0)}), curve, (1, 3, 9), float)
    full = fidelity.simulate_dehb(task, 2, 40, 0, 1e9)
    assert len(asked) == 40
    assert set(asked) == {1, 3, 9}
    assert asked.count(9) == len(full)
    assert full == sorted(full)
    assert fidelity.simulate_dehb(task, 2, 40, 0, full[3][0]) == full[:4]


def test_incomplete_table_is_refused(tmp_path: Path) -> None:
    collect(pd.DataFrame(GRID[1:])).to_parquet(tmp_path / "holes.parquet", index=False)
    with pytest.raises(ValueError, match="6 configurations; the table holds 5"):
        trials(str(tmp_path / "holes.parquet"))
    with pytest.raises(DataError, match="two finished trials"):
        collect(pd.DataFrame(GRID[:1]))


def test_grid_has_every_point_in_seeded_order() -> None:
    space = {"a": SearchRange(choices=(1, 2)), "b": SearchRange(choices=("x", "y", "z"))}
    points = every_point(space)
    assert len({tuple(point.values()) for point in points}) == 6
    assert points == every_point(space) != every_point(space, seed=1)
    with pytest.raises(ValueError, match="ranges: c"):
        every_point({"c": SearchRange(low=0, high=1)})


@pytest.mark.parametrize("searcher", SEARCHERS)
def test_every_searcher_replays_real_trials(searcher: str) -> None:
    problem = trials(str(BENCHMARKS / "data" / "trials-synthetic.parquet"))
    done = run(PEERS[searcher](problem.space, 0, BUDGETS[0]), problem.function, BUDGETS[0], 4, 0)
    assert len(done.values) == BUDGETS[0]
    assert problem.regret(done.best_after(BUDGETS[0])) >= 0.0
