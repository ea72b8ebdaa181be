"""A search mirrored in an Optuna storage."""

import math

import optuna
import pytest
from ray import tune as ray_tune

from kdh_ray.tuning.trackers import make_listeners
from kdh_ray.tuning.trials import Report, Trial

SPACE = {
    "lr": ray_tune.loguniform(1e-5, 1e-1),
    "layers": ray_tune.randint(1, 7),
    "kind": ray_tune.choice(["a", None]),
    "noise": ray_tune.randn(),
}


def trial(number, status, *scores):
    config = {"lr": 10.0**-number, "layers": number, "kind": None if number == 1 else "a", "noise": 0.5, "log": [1]}
    reports = [Report(time, score, 0.1 * time) for time, score in enumerate(scores, start=1)]
    return Trial(number, f"id{number}", config, status, reports, particle={"particle": 3, "position": [0.5]})


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Function that passes trials to a new listener, as a session of a search does, and returns the study's trials."""
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)

    def passed(*trials, mode="max"):
        (listener,) = make_listeners(["optuna"], "notes", tmp_path / "search", SPACE, "f1", mode)
        for entry in trials:
            listener(entry)
        storage = f"sqlite:///{tmp_path / 'search' / 'optuna.db'}"
        found = optuna.load_study(study_name="notes", storage=storage)
        assert found.direction.name == ("MAXIMIZE" if mode == "max" else "MINIMIZE")
        assert found.metric_names == ["f1"]
        return found.trials

    return passed


def test_optuna_has_a_running_search(study):
    first, second = study(trial(1, "running", 0.5), trial(2, "running"), trial(1, "running", 0.5, 0.6))
    assert (first.state.name, second.state.name) == ("RUNNING", "RUNNING")
    assert first.params == {"lr": 0.1, "layers": 1, "kind": None}
    assert first.intermediate_values == {1: 0.5, 2: 0.6}
    assert first.user_attrs == {
        "trial": 1, "name": "particle-3-trial-0001", "particle": 3, "noise": "0.5", "log": "[1]"
    }  # fmt: skip


def test_optuna_has_each_trial_once_after_a_resumption(study):
    study(trial(1, "ok", 0.5), trial(2, "running", 0.2, 0.3))
    trials = study(trial(1, "ok", 0.5), trial(2, "running", 0.2), trial(2, "ok", 0.2, 0.3, 0.4), trial(3, "running"))
    assert [entry.user_attrs["trial"] for entry in trials] == [1, 2, 3]
    assert [entry.state.name for entry in trials] == ["COMPLETE", "COMPLETE", "RUNNING"]
    assert (trials[1].value, trials[1].intermediate_values) == (0.4, {1: 0.2, 2: 0.3, 3: 0.4})


def test_optuna_has_how_trials_ended(study):
    ends = trial(1, "stopped", 0.5), trial(2, "failed", 0.5), trial(3, "ok", math.nan), trial(4, "failed")
    assert [entry.state.name for entry in study(*ends, mode="min")] == ["PRUNED", "FAIL", "FAIL", "FAIL"]


def test_optuna_has_settings_that_choices_bring(tmp_path, monkeypatch):
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    small = {"kind": "small", "depth": ray_tune.randint(1, 4), "rate": ray_tune.uniform(0.0, 0.1)}
    large = {"kind": "large", "depth": ray_tune.randint(4, 9), "rate": ray_tune.loguniform(1e-5, 1e-1)}
    space = {"rate": ray_tune.uniform(0, 1), "model": ray_tune.choice([small, large, None])}
    (listener,) = make_listeners(["optuna"], "notes", tmp_path, space, "f1", "max")
    chosen = [{"kind": "small", "depth": 2, "rate": 0.0}, {"kind": "large", "depth": 8, "rate": 1e-5}, None]
    for number, model in enumerate(chosen, start=1):
        listener(Trial(number, f"id{number}", {"rate": 0.5, "model": model}, "ok", [Report(1, 0.5, 1.0)]))
    first, second, third = optuna.load_study(study_name="notes", storage=f"sqlite:///{tmp_path}/optuna.db").trials
    assert first.params == {"rate": 0.5, "kind": "small", "depth": 2, "model/rate": 0.0}
    assert second.params == {"rate": 0.5, "kind": "large", "depth": 8, "model/rate": 1e-5}
    assert third.params == {"rate": 0.5, "model": None}


def test_optuna_has_several_objectives(tmp_path, monkeypatch):
    monkeypatch.delenv("OPTUNA_STORAGE", raising=False)
    (listener,) = make_listeners(["optuna"], "notes", tmp_path, SPACE, "f1", "max", {"parameters": "min"})
    for number, status in enumerate(("ok", "stopped", "failed"), start=1):
        entry = trial(number, status, 0.5, 0.6)
        entry.reports[-1].values["parameters"] = 1e6
        listener(entry)
    study = optuna.load_study(study_name="notes", storage=f"sqlite:///{tmp_path}/optuna.db")
    assert [each.name for each in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.metric_names == ["f1", "parameters"]
    assert [each.state.name for each in study.trials] == ["COMPLETE", "PRUNED", "FAIL"]
    assert [each.values for each in study.best_trials] == [[0.6, 1e6]]
