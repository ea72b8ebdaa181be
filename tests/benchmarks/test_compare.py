"""Comparison of searchers: the cells that it runs, and its tables."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.searchers import compare, problems, tables
from benchmarks.searchers.problems import Problem
from benchmarks.searchers.simulate import Run, peers, run
from searchers import Float, Space

SPACE = Space({"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)})


def bowl(config: dict[str, float]) -> float:
    return (config["x"] - 0.3) ** 2 + (config["y"] - 0.6) ** 2


def cell(regret: float, by_time: float) -> dict[str, list[float]]:
    return {"regret": [regret], "regret_by_time": [by_time]}


def test_tables_average_over_complete_cells() -> None:
    cells = {
        "a|bbob_1|0": cell(0.2, 0.5), "b|bbob_1|0": cell(0.4, 0.4),
        "a|bbob_1|1": cell(0.4, 0.5), "b|bbob_1|1": cell(0.4, 0.4),
        "a|digits|0": cell(0.1, 0.5), "b|digits|0": cell(0.0, 0.2),
        "a|digits|1": cell(9.0, 9.0),
    }  # fmt: skip
    tables, *_ = [part for part in compare.report(cells).split("\n\n") if part.lstrip().startswith("all")]
    assert "2 problems, 3 runs per searcher" in tables
    assert "| a | 0.200 (0.100-0.300) | 1.62 (1.25-2.00) |" in tables  # ranks 1 and 1.5 there, 2 here
    assert "| b | 0.200 (0.000-0.400) | 1.38 (1.00-1.75) |" in tables
    by_time = compare.report(cells).split("\n\n")[-1]
    assert "regret by the time of 25" in by_time
    assert "| a | 0.500 (0.500-0.500) |" in by_time
    assert "| b | 0.300 (0.200-0.400) |" in by_time


def test_comparison_skips_problems_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = [Problem(f"bowl{i}", SPACE, bowl, 0.0, 0.2) for i in range(5)]
    monkeypatch.setattr(compare, "problems", lambda folder, dimensions: found)
    out = tmp_path / "out.json"

    def compared(seeds: int) -> dict[str, dict[str, list[float]]]:
        words = f"compare {out} --seeds {seeds} --budget 50 --workers 3 --every 2 --only random pso-plain"
        monkeypatch.setattr(sys, "argv", words.split())
        compare.main()
        return json.loads(out.read_text())

    first = compared(1)
    assert list(first) == [f"{name}|bowl{i}|0" for i in (0, 2, 4) for name in ("random", "pso-plain")]
    assert all(len(cell["regret"]) == len(cell["regret_by_time"]) == 2 for cell in first.values())
    marked = {**first, "random|bowl0|0": {**first["random|bowl0|0"], "cpu_seconds": -1.0}}
    out.write_text(json.dumps(marked))
    both = compared(2)
    assert len(both) == 12
    assert {key: both[key] for key in marked} == marked
    assert "3 problems, 6 runs per searcher" in capsys.readouterr().out


def test_best_by_time_counts_ended_evaluations() -> None:
    done = Run(np.array([3.0, 1.0, 2.0]), np.array([0.5, 1.0, 1.5]), 1.0)
    assert [done.best_by(time) for time in (0.4, 0.5, 1.2)] == [np.inf, 3.0, 1.0]


@pytest.mark.parametrize("name", ["nevergrad-ngopt", "nevergrad-de"])
def test_nevergrad_knows_the_number_of_workers(name: str) -> None:
    """NGOpt waits for ever if twelve workers ask but it expects one."""
    pytest.importorskip("nevergrad")
    searcher = peers(12)[name](SPACE, 0, 24)
    assert searcher._peer._optimizer.num_workers == 12
    assert len(run(searcher, bowl, 24, 12, 0).values) == 24


@pytest.mark.parametrize("model", tables.GRIDS)
def test_table_has_every_configuration(tmp_path: Path, model: str) -> None:
    shape = tuple(len(values) for values in tables.GRIDS[model].values())
    np.save(tmp_path / f"{model}-digits.npy", np.random.default_rng(0).random(shape))
    problem = problems.table(f"{model}-digits", str(tmp_path))
    assert problem.space.size == np.prod(shape)
    rng = np.random.default_rng(0)
    for _ in range(50):
        config = problem.space.decode(problem.space.from_uniform(rng.random(problem.space.n_parameters)))
        assert 0 <= problem.function(config) < 1
