"""The examples run as their users run them, in a folder of their own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"


def run_example(name: str, *arguments: str, folder: Path) -> str:
    """Run a script of ``examples/`` in ``folder``; return what it prints."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_invented_notes_are_the_same_each_time(tmp_path):
    first = run_example("invented_notes.py", "a.csv", folder=tmp_path)
    run_example("invented_notes.py", "b.csv", folder=tmp_path)
    assert first == "a.csv: 600 notes, labels pain, fever, cough, fatigue\n"
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


@pytest.mark.slow
def test_distilling_a_table_ends_in_a_prediction(tmp_path):
    out = run_example("distil_csv.py", folder=tmp_path)
    assert "labels: [" in out
    assert (tmp_path / "runs/distil-csv-tiny/stages/student/checkpoint/classifier.json").exists()


def test_reading_results_shows_what_distillation_gains(tmp_path):
    out = run_example("read_results.py", folder=tmp_path)
    assert "minilm-l3" in out
    assert "Distilled over plain student" in out


@pytest.mark.ray
@pytest.mark.slow
def test_boosting_is_tuned_in_twenty_lines(tmp_path):
    assert len([line for line in (EXAMPLES / "tune_boosting.py").read_text().splitlines() if line.strip()]) <= 20
    out = run_example("tune_boosting.py", folder=tmp_path)
    found = re.search(r"best accuracy (0\.\d+) with \{'learning_rate': .*'max_leaf_nodes': \d+\}", out)
    assert found
    assert float(found[1]) > 0.9


@pytest.mark.ray
@pytest.mark.slow
def test_network_is_tuned_with_early_stopping(tmp_path):
    out = run_example("tune_pytorch.py", "6", folder=tmp_path)
    assert "best accuracy 0." in out
    assert "epochs instead of 54" in out


@pytest.mark.slow
def test_tour_runs_from_top_to_bottom(tmp_path, monkeypatch):
    nbclient = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(EXAMPLES / "tour.ipynb", as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute()
    outputs = [cell.outputs for cell in client.nb.cells if cell.cell_type == "code"]
    assert all(outputs)
