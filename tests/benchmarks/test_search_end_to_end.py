"""Whole searches of this project and of its peers, timed as programs."""

from __future__ import annotations

import runpy
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.search_end_to_end import Search, cpu_samples, drawing, orphans_adopted, ratios, run_side, table
from benchmarks.search_sides import SIDES

OURS = Search("kdh-ray", 100.0, 80.0, [(40.0, 30.0, 0.5), (60.0, 50.0, 0.7), (90.0, 75.0, 0.6)])
THEIRS = Search("Trainer, Ray", 250.0, 120.0, [(80.0, 60.0, 0.4), (180.0, 100.0, 0.6)])


def test_times_are_compared_at_the_score_both_reached():
    assert ratios(THEIRS, OURS) == (2.5, 1.5, 3.0, 2.0)  # 0.6: at 180 s there, passed at 60 s here
    assert ratios(OURS, OURS) == (1.0, 1.0, 1.0, 1.0)


def test_table_has_medians_over_rounds():
    slower = Search("Trainer, Ray", 350.0, 160.0, THEIRS.reports)
    lines = table([[OURS, THEIRS], [OURS, slower]]).splitlines()
    assert lines[3] == "| Trainer, Ray | 300 | 140 | 3.00 | 1.75 | 3.00 | 2.00 | 60.0 |"


def test_cpu_time_of_orphans_counts(tmp_path):
    done = tmp_path / "done"
    orphan = f"import time, pathlib\nwhile time.process_time() < 1.5: pass\npathlib.Path({str(done)!r}).touch()"
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {orphan!r}])"
    program = f"""
import pathlib, subprocess, sys, time
subprocess.run([sys.executable, "-c", {parent!r}])
while not pathlib.Path({str(done)!r}).exists():
    time.sleep(0.01)
"""
    with orphans_adopted():
        samples = cpu_samples(subprocess.Popen([sys.executable, "-c", program]), time.time())
    assert samples[-1][1] > 0.8


def test_figure_follows_the_readers_theme():
    pytest.importorskip("matplotlib")
    svg = drawing([OURS, THEIRS])
    assert svg.startswith("<svg")
    assert "prefers-color-scheme: dark" in svg
    assert "Trainer, Ray 60.0 after 120 s" in svg


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("side", SIDES)
def test_each_side_searches(side, tmp_path):
    make_encoder = runpy.run_path(str(Path(__file__).parents[1] / "kdh_ray/conftest.py"))["make_encoder"]
    make_encoder(tmp_path, ["has", "denies", "pain", "fever"], layers=1)
    task = {"encoder": tmp_path, "documents": 60, "tokens": 16, "epochs": 1, "trials": 2, "cores": 1, "seed": 0}
    search = run_side(side, task)
    assert len(search.reports) == 2
    assert 0 < search.best <= 1
    assert 0 < search.reports[0][0] < search.wall
    assert search.cpu > 0
