"""``kdh-ray tune`` without Ray: the input that it refuses, and its display of trials."""

import errno
import io
import re
from dataclasses import replace

import pandas as pd
import pytest
import yaml
from rich.console import Console

from kdh_ray.cli.main import main
from kdh_ray.cli.progress import show_progress
from kdh_ray.cli.search_summary import print_front, print_summary
from kdh_ray.cli.trials import Board, duration, epochs, settings, show_trials
from kdh_ray.config import load_config, parse_config
from kdh_ray.jobs.stage_search.searcher import make_searcher
from kdh_ray.jobs.stage_search.space import domains, own_settings, search_space
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.trials import Report, Trial

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


def test_misspelt_start_suggests_a_stage(config, tmp_path, capsys):
    arguments = ["--set", "stages.student.start=techer", "--out", str(tmp_path / "out")]
    for verb in ("tune", "run"):
        assert main([verb, config, *arguments]) == 2
        error = capsys.readouterr().err
        assert error.startswith("kdh-ray: stages.student.start: encoder 'techer': no such folder")
        assert error.endswith("did you mean the stage 'teacher'?\n")


def test_unknown_searcher_is_refused(config, capsys):
    assert main(["tune", config, "--set", "tune.searcher=grid"]) == 2
    assert "tune.searcher: a searcher must be one of pso" in capsys.readouterr().err


def test_the_stages_own_settings_are_tried_first(config):
    stage = load_config(config)
    own = own_settings(stage)
    assert own["learning_rate"] == 1e-4
    for name in ("pso", "optuna-tpe", "random"):
        searcher = make_searcher(load_config(config, [f"tune.searcher={name}"]))
        searcher.set_search_properties("score", "max", domains(search_space(stage)))
        first, second = searcher.suggest("a"), searcher.suggest("b")
        assert {setting: first[setting] for setting in own} == pytest.approx(own)
        assert second["learning_rate"] != pytest.approx(1e-4)


def test_resume_may_name_the_folder(config, tmp_path, monkeypatch, capsys):
    asked = []

    def search(config, out, **arguments):
        asked.append((out, arguments["resume"]))
        raise KeyboardInterrupt

    monkeypatch.setattr("kdh_ray.jobs.search", search)
    here = str(tmp_path / "here")
    assert main(["tune", config, "--resume", here]) == 2
    assert f"--resume {here}: no such folder" in capsys.readouterr().err
    (tmp_path / "here").mkdir()
    for arguments in (["--resume", here], ["--out", here, "--resume"], ["--out", here]):
        assert main(["tune", config, *arguments]) == 130
    assert asked == [(tmp_path / "here", True), (tmp_path / "here", True), (tmp_path / "here", False)]
    capsys.readouterr()
    assert main(["tune", config, "--resume", here, "--out", str(tmp_path)]) == 2
    assert "name two folders" in capsys.readouterr().err


def test_new_search_refuses_an_earlier_one(config, tmp_path, capsys):
    ledger = Ledger(tmp_path / "out" / "search")
    ledger.trials = [trial(1, "ok", 0.5)]
    ledger.commit()
    assert main(["tune", config, "--out", str(tmp_path / "out")]) == 2
    assert "holds a search: resume it with --resume" in capsys.readouterr().err


def test_ended_trials_are_one_line_each(tmp_path, capsys):
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


def test_scores_of_some_folds_are_no_best(tmp_path):
    board = Board(parse_config({**TREE, "data": {"folds": 3}}), tmp_path)
    first, second = trial(1, "stopped", 0.9), trial(2, "ok", 0.4, 0.7)
    first.reports[-1].values["folds_run"], second.reports[-1].values["folds_run"] = 1.0, 3.0
    board.trials[1] = first
    assert "micro F1 90.0 on 1 of 3 folds, 2 s; 1/5 done" in board.line(first)
    assert "best" not in board.line(first)
    board.trials[2] = second
    assert board.line(second).endswith("micro F1 70.0, 4 s; 2/5 done; best 70.0 (trial 2)")


def test_table_counts_trials_and_shows_the_best(tmp_path):
    board = Board(parse_config(TREE), tmp_path)
    for entry in (trial(1, "ok", 0.4, 0.7), trial(2, "stopped", 0.2), trial(3, "running", particle=1)):
        board.trials[entry.number] = entry
    output = io.StringIO()
    Console(file=output, width=60).print(board.view(30))
    lines = [line.strip() for line in output.getvalue().splitlines()]
    assert any(line.startswith("5 trials: 1 running, 1 ok, 1 stopped, 0 failed; 0 s") for line in lines)
    assert "best 70.0, trial 1: learning_rate 0.000204, epochs 3" in lines
    assert "2              stopped        1       20.0         2" in lines


def test_table_of_many_trials_fits_the_terminal(tmp_path):
    board = Board(parse_config(TREE), tmp_path)
    board.trials = {number: trial(number, "ok" if number < 20 else "running", 0.5) for number in range(1, 100)}
    output = io.StringIO()
    Console(file=output, width=60).print(board.view(24))
    lines = output.getvalue().splitlines()
    assert len(lines) <= 24
    assert " 67 more " in output.getvalue()
    board.trials = {number: trial(number, "ok", 0.5) for number in range(1, 100)}
    assert list(board.table(24).columns[0].cells) == [str(number) for number in range(92, 100)]


def test_terminal_shows_trials_live(tmp_path, capsys, monkeypatch):
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "60", "LINES": "24"}.items():
        monkeypatch.setenv(name, value)
    with show_trials(Board(parse_config(TREE), tmp_path)) as on_trial:
        on_trial(trial(1, "ok", 0.4, 0.7, particle=3))
    shown = capsys.readouterr()
    assert "best 70.0, trial 1" in shown.err
    assert shown.out == ""


@pytest.mark.parametrize("columns", [60, 120])
def test_bars_fit_the_terminal(capsys, monkeypatch, columns):
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": str(columns)}.items():
        monkeypatch.setenv(name, value)
    events = [
        {"kind": "note", "stage": "", "text": "Ray dashboard: [not markup]"},
        {"kind": "step", "stage": "student: logits of teacher", "done": 360, "total": 360},
        {"kind": "step", "stage": "student", "done": 100, "total": 12000},
        {"kind": "epoch", "stage": "student", "epoch": 1, "score": 0.5},
        {"kind": "done", "stage": "student", "score": 0.654},
    ]
    with show_progress() as listener:
        for event in events:
            listener(event)
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", capsys.readouterr().err).replace("\r", "\n")
    lines = [line.rstrip() for line in text.splitlines()]
    assert "Ray dashboard: [not markup]" in lines
    assert max(map(len, lines)) <= columns
    assert "…" not in text
    assert lines[-1].startswith("student ")
    assert lines[-1].endswith("F1 65.4")
    assert ("micro F1" in lines[-1]) == (columns == 120)


def test_durations_are_short():
    assert [duration(seconds) for seconds in (0.4, 99, 100, 5990, 7500)] == [
        "0 s", "99 s", "2 min", "1 h 40 min", "2 h 5 min"
    ]  # fmt: skip


def test_table_names_the_objective(tmp_path, capsys):
    board = Board(parse_config({**TREE, "tune": {"trials": 5, "objective": "f1_macro"}}), tmp_path)
    with show_trials(board) as on_trial:
        on_trial(trial(1, "ok", 0.7))
    assert "validation macro F1 70.0" in capsys.readouterr().err
    assert "macro F1" in [column.header for column in board.table(30).columns]


def test_the_least_log_loss_is_the_best(tmp_path, capsys):
    board = Board(parse_config({**TREE, "tune": {"trials": 5, "objective": "log_loss"}}), tmp_path)
    with show_trials(board) as on_trial:
        on_trial(trial(1, "ok", 0.3, 0.251))
        on_trial(trial(2, "ok", 0.3, 0.4))
    assert "validation log loss 0.400, 4 s; 2/5 done; best 0.251 (trial 1)" in capsys.readouterr().err


def test_savings_are_one_line(tmp_path):
    board = Board(parse_config(TREE), tmp_path)
    board.trials = {1: replace(trial(1, "ok", 0.4, 0.5, 0.7), full=3)}
    assert board.savings() == "Early stopping saved nothing: trials ran 3 epochs"
    board.trials[2] = replace(trial(2, "stopped", 0.2), full=4)
    assert "saved 3 of the 7 epochs that the same trials would have run (43 %, about 6 s" in board.savings()


def test_summary_shows_how_trial_1_ended(tmp_path, capsys):
    config = parse_config(TREE)
    board = Board(config, tmp_path)
    board.trials = {1: trial(1, "ok", 0.4, 0.5), 2: trial(2, "ok", 0.4, 0.6)}
    print_summary(pd.DataFrame(), config, board, tmp_path)
    said = "trial 1 (the stage's own settings, where they are in range): "
    assert f"Validation micro F1 60.0; {said}50.0 after 2 epochs\n" in capsys.readouterr().err
    board.trials[1] = trial(1, "stopped", 0.4)
    print_summary(pd.DataFrame(), config, board, tmp_path)
    assert f"{said}40.0, stopped after 1 epoch\n" in capsys.readouterr().err
    assert "checkpoint" not in capsys.readouterr().err
    RunFolder(tmp_path).best.stage("student").checkpoint.mkdir(parents=True)
    print_summary(pd.DataFrame(), config, board, tmp_path)
    assert "\n  best/stages/student/checkpoint  the classifier that it trained\n" in capsys.readouterr().err
    elsewhere = parse_config({**TREE, "tune": {"space": {"learning_rate": {"low": 0.01, "high": 0.1}}}})
    print_summary(pd.DataFrame(), elsewhere, board, tmp_path)
    assert "; trial 1: 40.0, stopped after 1 epoch\n" in capsys.readouterr().err


def test_one_epoch_is_singular():
    assert [epochs(trial(1, "ok", *scores)) for scores in ((), (0.1,), (0.1, 0.2))] == [
        "0 epochs",
        "1 epoch",
        "2 epochs",
    ]


def test_settings_are_short():
    assert settings(trial(1, "ok")) == "learning_rate 0.000204, epochs 3"


def test_missing_tracker_is_refused_at_once(config, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("kdh_ray.extras.find_spec", lambda name: None)
    arguments = ["tune", config, "--out", str(tmp_path / "out"), "--set", "tune.trackers=[mlflow, wandb]"]
    assert main(arguments) == 2
    assert "tune.trackers: mlflow needs mlflow and sqlalchemy: pip" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert main([*arguments[:-1], "tune.trackers=[comet]"]) == 2


@pytest.mark.parametrize("verb", ["run", "tune"])
def test_bucket_as_folder_is_refused(config, tmp_path, capsys, monkeypatch, verb):
    monkeypatch.chdir(tmp_path)
    assert main([verb, config, "--out", "s3://bucket/run"]) == 2
    assert "needs a folder of this machine or of a shared file system; got s3:/bucket/run" in capsys.readouterr().err
    assert not (tmp_path / "s3:").exists()


def test_run_searches_if_trials_are_set(config, tmp_path, monkeypatch):
    asked = {}

    def search(config, out, **arguments):
        asked.update(arguments, trials=config.tune.trials)
        raise KeyboardInterrupt

    monkeypatch.setattr("kdh_ray.jobs.search", search)
    assert main(["run", config, "--out", str(tmp_path / "out")]) == 130
    assert (asked["whole"], asked["resume"], asked["trials"]) == (True, True, 5)
    monkeypatch.setattr("kdh_ray.cli.run.run_and_print", lambda config, args: 77)
    assert main(["run", config, "--set", "tune.trials=null"]) == 77


def test_full_disk_is_one_line(config, tmp_path, capsys, monkeypatch):
    def search(*arguments, **settings):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("kdh_ray.jobs.search", search)
    assert main(["tune", config, "--out", str(tmp_path / "out")]) == 2
    assert (
        capsys.readouterr().err == f"kdh-ray: {tmp_path / 'out'}: no disk space left; free some, then resume the run\n"
    )


def test_front_needs_students_of_different_cost(capsys):
    rows = [
        {"kind": "trial", "status": "ok", "trial": number, "validation_f1_micro": score, "parameters": 1e6 * number,
         "config_layers": number}
        for number, score in ((1, 0.5), (2, 0.7), (3, 0.6))
    ]  # fmt: skip
    frame = pd.DataFrame(rows)
    print_front(frame, parse_config(TREE))
    assert capsys.readouterr().err == ""
    print_front(frame, parse_config({**TREE, "tune": {"max_parameters": "5M"}}))
    lines = capsys.readouterr().err.splitlines()
    assert "better and cheaper" in lines[1]
    assert len([line for line in lines if "0.7" in line or "0.5" in line]) == 2
    assert not any("0.6" in line for line in lines)
    print_front(frame.assign(status="stopped"), parse_config({**TREE, "tune": {"max_parameters": "5M"}}))
    assert capsys.readouterr().err == ""
