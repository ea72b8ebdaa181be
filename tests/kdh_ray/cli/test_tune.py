"""``kdh-ray tune`` up to where Ray starts: what it refuses, and what it prints of trials."""

import io

import pytest
import yaml
from rich.console import Console

from kdh_ray.cli.main import main
from kdh_ray.cli.trials import Board, settings, show_trials
from kdh_ray.config import parse_config
from kdh_ray.jobs.tuning.ledger import Ledger, Report, Trial

TREE = {
    "name": "small",
    "data": {"corpus": "synthetic", "documents": 60},
    "stages": {"teacher": {}, "student": {"start": "teacher", "teachers": ["teacher"], "epochs": 4}},
    "tune": {"trials": 5},
}


@pytest.fixture
def config(tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(TREE, sort_keys=False))
    return str(file)


def trial(number, status, *scores, **particle):
    reports = [Report(time, score, 2.0 * time) for time, score in enumerate(scores, start=1)]
    return Trial(number, str(number), {"learning_rate": 2.04e-4, "epochs": 3}, status, reports, particle=particle)


def test_impossible_range_is_refused(config, capsys):
    assert main(["tune", config, "--set", "tune.space={learning_rte: {low: 1, high: 2}}"]) == 2
    assert "did you mean 'learning_rate'?" in capsys.readouterr().err


def test_unknown_searcher_is_refused(config, capsys):
    assert main(["tune", config, "--set", "tune.searcher=grid"]) == 2
    assert "tune.searcher: a searcher is one of pso" in capsys.readouterr().err


def test_earlier_search_is_not_mixed_with_a_new_one(config, tmp_path, capsys):
    ledger = Ledger(tmp_path / "out" / "search")
    ledger.trials = [trial(1, "ok", 0.5)]
    ledger.commit()
    assert main(["tune", config, "--out", str(tmp_path / "out")]) == 2
    assert "holds a search: go on with it by --resume" in capsys.readouterr().err


def test_a_line_for_each_ended_trial(tmp_path, capsys):
    board = Board(parse_config(TREE), tmp_path)
    with show_trials(board) as on_trial:
        on_trial(trial(1, "running", 0.4))
        on_trial(trial(1, "ok", 0.4, 0.5, 0.7, particle=3))
        on_trial(trial(2, "failed"))
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "trial 1 (particle 3): ok after 3 epochs, validation micro F1 70.0, 6 s; 1/5 done; best 70.0 (trial 1)",
        "trial 2: failed after 0 epochs, validation micro F1 -, 0 s; 2/5 done; best 70.0 (trial 1)",
    ]
    assert board.epochs() == (3, 6)


def test_table_counts_trials_and_shows_the_best(tmp_path):
    board = Board(parse_config(TREE), tmp_path)
    for entry in (trial(1, "ok", 0.4, 0.7), trial(2, "stopped", 0.2), trial(3, "running", particle=1)):
        board.trials[entry.number] = entry
    output = io.StringIO()
    Console(file=output, width=100).print(board.table())
    text = output.getvalue()
    assert "5 trials: 1 running, 1 ok, 1 stopped, 0 failed" in text
    assert "best 70.0, trial 1: learning_rate 0.000204, epochs 3" in text


def test_settings_are_short():
    assert settings(trial(1, "ok")) == "learning_rate 0.000204, epochs 3"
