"""``kdh-ray evaluate``: its output, and the input that it refuses."""

import json

import numpy as np
import pytest

from kdh_ray.cli import evaluate
from kdh_ray.cli.main import main
from kdh_ray.evaluation.metrics import per_label, score


@pytest.fixture
def scored(monkeypatch):
    """Scores of a label with markup in its name, and of one that no document has."""
    targets, probabilities = np.array([[1, 0], [0, 0]]), np.array([[0.9, 0.1], [0.2, 0.1]])
    result = {
        "checkpoint": "runs/[a]/checkpoint", "protocol": "[notes]", "split": "test", "documents": 2,
        "scores": score(targets, probabilities), "labels": per_label(targets, probabilities, 0.5, ["[/pain]", "fever"]),
        "long_documents": 0,
    }  # fmt: skip
    monkeypatch.setattr("kdh_ray.models.checkpoint.load_card", lambda folder: None)
    monkeypatch.setattr(evaluate, "_config", lambda args: None)
    monkeypatch.setattr(evaluate, "evaluate", lambda *_: result)
    return result


def test_markup_in_names_is_printed_literally(scored, capsys):
    assert main(["evaluate", "checkpoint"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("runs/[a]/checkpoint\n[notes], test: 2 documents\n")
    assert ["[/pain]", "1", "100.0", "100.0", "100.0", "0.50"] in [line.split() for line in out.splitlines()]
    assert out.isascii()


def test_log_loss_is_not_a_percentage(scored, capsys):
    scored["scores"] = {"f1_micro": 0.5, "log_loss": 0.67391}
    assert main(["evaluate", "checkpoint"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["f1_micro", "50.00", "%"] in rows
    assert ["log_loss", "0.6739"] in rows


def test_json_has_null_for_undefined_metrics(scored, capsys):
    def refuse(name):
        raise ValueError(name)

    assert main(["evaluate", "checkpoint", "--json"]) == 0
    labels = json.loads(capsys.readouterr().out, parse_constant=refuse)["labels"]
    assert [line["average_precision"] for line in labels] == [1.0, None]


def test_checkpoint_outside_a_run_needs_a_config(monkeypatch, capsys):
    monkeypatch.setattr("kdh_ray.models.checkpoint.load_card", lambda folder: None)
    assert main(["evaluate", "/checkpoint"]) == 2
    assert "the checkpoint is not in a run's folder: give a CONFIG" in capsys.readouterr().err
