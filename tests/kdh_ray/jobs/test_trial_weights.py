"""The weights of a finished trial, which the best configuration takes over."""

import json
import shutil
import sys

import numpy as np
import pytest
from small_stage import search_plan, small

from kdh_ray import run
from kdh_ray.config import load_run_config, parse_config
from kdh_ray.data import corpus_from_config
from kdh_ray.data.folds import refit_corpus
from kdh_ray.errors import ConfigError
from kdh_ray.jobs.plan import RunOptions, make_plan
from kdh_ray.jobs.stage_search import trial_weights
from kdh_ray.jobs.stage_search.best import BestRun
from kdh_ray.jobs.stage_search.choice import Choice
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.trial import TrialTraining
from kdh_ray.jobs.stage_search.trial_ensemble import TrialEnsemble
from kdh_ray.jobs.stage_search.trial_task import trial_task
from kdh_ray.jobs.stage_search.trial_weights import WinnersWeights, remove_weights
from kdh_ray.training.ensemble import out_of_fold
from kdh_ray.tuning.trials import Report, Trial

NAME, VALUES = "particle-3-trial-0007", {"learning_rate": 3e-3, "layers": 1, "epochs": 2}


@pytest.fixture
def plan(encoder, tmp_path):
    """A search whose teacher is trained."""
    run(small(encoder), tmp_path, stages=["teacher"], local=True)
    return search_plan(small(encoder), tmp_path)


def folded(config):
    """Return the configuration with two folds."""
    tree = config.model_dump(mode="json")
    return parse_config({**tree, "data": {**tree["data"], "folds": 2}})


def started(plan, values=VALUES):
    return TrialTraining(trial_task(plan, corpus_from_config(plan.config.data), on_gpu=False), values, "float32")


def best_row(plan):
    """Train and test the best configuration, which trial 7 found; return its row and the epochs that it trained."""
    best = BestRun(plan, RunOptions(local=True))
    best.train(Choice(Trial(7, "id", VALUES, "ok"), "chosen"))
    events = [json.loads(line) for line in best.folder.events.read_text().splitlines()]
    return best.folder.stage("student").read_result(), [each["epoch"] for each in events if each["kind"] == "epoch"]


def test_best_configuration_takes_the_weights_of_its_trial(plan):
    trained, epochs = best_row(plan)
    assert epochs == [1, 2]
    trial_weights.shutil.rmtree(plan.folder.best)
    trial = started(plan)
    reports = [trial.epoch(NAME) for _ in range(2)]
    taken, epochs = best_row(plan)
    assert epochs == []
    assert reports[-1]["done"]
    assert taken["validation_f1_micro"] == pytest.approx(reports[-1]["validation_f1_micro"], abs=1e-6)
    assert taken["threads"] == taken["workers"] == 1
    times = {"seconds", "documents_per_second", "history", "started", "threads", "device", "precision"}
    for name in taken.keys() - times:  # a trial is the stage itself: the same seed, order, dropout and weights
        assert taken[name] == pytest.approx(trained[name], abs=1e-6, nan_ok=True), name
    assert not plan.folder.search.model_weights(7, 0).exists()


def trained_over_folds(encoder, folder):
    """Return a search with two folds whose teachers are trained, and its trial 7, which has run to its end."""
    config = folded(small(encoder))
    run(config, folder, stages=["teacher-1", "teacher-2", "teacher"], local=True)
    plan = search_plan(config, folder)
    trial = started(plan)
    while not trial.epoch(NAME)["done"]:
        pass
    return plan, trial


def test_fold_models_take_the_weights_of_their_trial(encoder, tmp_path):
    plan, trial = trained_over_folds(encoder, tmp_path)
    best = BestRun(plan, RunOptions(local=True))
    best.train(Choice(Trial(7, "id", VALUES, "ok"), "chosen"))
    trained = {each["stage"] for each in map(json.loads, best.folder.events.open()) if each["kind"] == "epoch"}
    assert trained == {"student"}  # the models of both folds are only scored
    corpus = refit_corpus(corpus_from_config(plan.config.data))
    scored = out_of_fold([best.folder.stage(f"student-{fold}") for fold in (1, 2)], corpus)
    np.testing.assert_allclose(scored, trial.fold_scores.logits, atol=1e-5)


def test_trials_teach_the_final_student(plan):
    """Their weights make an ensemble's members, and the student is trained with the chosen settings."""
    material = trial_task(plan, corpus_from_config(plan.config.data), on_gpu=False)
    taught = [Trial(7, "a", VALUES, "ok"), Trial(9, "b", {**VALUES, "learning_rate": 1e-3}, "ok")]
    for trial in taught:
        training = TrialTraining(material, trial.config, "float32")
        while not training.epoch(f"trial-{trial.number:04d}")["done"]:
            pass
    best = BestRun(plan, RunOptions(local=True))
    best.train(Choice(taught[0], "chosen", ensemble=TrialEnsemble(tuple(taught), 0.5)))
    config = load_run_config(best.folder.config)
    assert config.stages["student"].teachers == (str(plan.folder.stage("teacher").checkpoint), "student-trials")
    assert config.stages["student"].learning_rate == VALUES["learning_rate"]
    assert config.stages["student-trials-2"].learning_rate == 1e-3
    trained = {each["stage"] for each in map(json.loads, best.folder.events.open()) if each["kind"] == "epoch"}
    assert trained == {"student"}
    shutil.rmtree(best.folder)  # the configuration alone says how to train the members
    best.train(Choice(taught[0], "chosen", ensemble=TrialEnsemble(tuple(taught), 0.5)))
    again = np.load(best.folder.stage("student-trials-2").predictions / "validation.npy")
    np.testing.assert_allclose(again, training.training.best_logits, atol=1e-5)


def test_fold_models_of_trials_teach_those_of_the_student(encoder, tmp_path):
    plan, trial = trained_over_folds(encoder, tmp_path)
    taught = (Trial(7, "a", VALUES, "ok"), Trial(9, "b", {**VALUES, "learning_rate": 1e-3}, "ok"))
    best = BestRun(plan, RunOptions(local=True))
    best.train(Choice(taught[0], "chosen", ensemble=TrialEnsemble(taught, 0.5)))
    config = load_run_config(best.folder.config)
    fold_teacher = str(plan.folder.stage("teacher-2").checkpoint)
    assert config.stages["student-2"].teachers == (fold_teacher, "student-trials-1-2", "student-trials-2-2")
    assert config.stages["student"].teachers[-1] == "student-trials"
    trained = {each["stage"] for each in map(json.loads, best.folder.events.open()) if each["kind"] == "epoch"}
    assert trained == {"student", "student-1", "student-2", "student-trials-2-1", "student-trials-2-2"}
    corpus = refit_corpus(corpus_from_config(config.data))
    scored = out_of_fold([best.folder.stage(f"student-trials-1-{fold}") for fold in (1, 2)], corpus)
    np.testing.assert_allclose(scored, trial.fold_scores.logits, atol=1e-5)


def test_only_a_stage_with_teachers_is_taught_by_trials(encoder, tmp_path):
    tree = small(encoder, final="distilled", space={"learning_rate": {"low": 1e-4, "high": 1e-2}}).model_dump(
        mode="json"
    )
    tree["stages"]["student"]["teachers"] = []
    with pytest.raises(ConfigError, match=r"tune\.final: distilled teaches .* needs a stage with teachers"):
        SearchPlan.of(make_plan({**tree, "tune": {**tree["tune"], "stage": "student"}}, tmp_path))


@pytest.mark.parametrize(
    ("weights", "machines", "gpus", "here"),
    [(True, 1, False, True), (False, 1, False, False), (True, 2, False, False), (True, 1, True, False)],
)
def test_no_job_starts_for_a_test_alone(weights, machines, gpus, here, encoder, tmp_path, monkeypatch):
    runs = []
    running = sys.modules[BestRun.__module__]
    monkeypatch.setattr(running, "hand_over_weights", lambda *_: weights)
    monkeypatch.setattr(running.nodes, "alive_nodes", lambda: [{}] * machines)
    monkeypatch.setattr(running.session, "has_gpus", lambda: gpus)
    monkeypatch.setattr(running, "perform", lambda plan, options: runs.append(options.local))
    BestRun(search_plan(small(encoder), tmp_path), RunOptions()).train(Choice(Trial(7, "id", VALUES, "ok"), "chosen"))
    assert runs == [here]


def test_stopped_trial_leaves_no_weights(plan):
    trial, folder = started(plan), plan.folder.search.model_weights(7, 0)
    trial.epoch(NAME)
    assert not folder.exists()
    assert len(list(folder.parent.iterdir())) == 1
    remove_weights(folder)
    assert not list(folder.parent.iterdir())


@pytest.mark.parametrize("fault", ["slow", "full"])
def test_unsaved_weights_are_trained_again(fault, plan, monkeypatch):
    if fault == "slow":
        monkeypatch.setattr(trial_weights, "SAVING_SHARE", -1.0)
    else:
        plan.folder.search.all_weights.parent.mkdir(parents=True, exist_ok=True)
        plan.folder.search.all_weights.write_text("no folder can be made here")
    trial = started(plan)
    assert [trial.epoch(NAME)["done"] for _ in range(2)] == [False, True]
    assert best_row(plan)[1] == [1, 2]


def test_repeated_trial_replaces_its_weights(plan):
    folder = plan.folder.search.model_weights(7, 0)
    for _ in range(2):  # its first worker is lost before the search hears that it is done
        trial = started(plan)
        for _ in range(2):
            trial.epoch(NAME)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, {2}), ({"keep_default": True}, {2, 3}), ({"final": "distilled"}, {1, 2, 3, 5})],
)
def test_only_possible_winners_keep_weights(settings, expected, encoder, tmp_path):
    config = small(encoder, **settings)
    winners, search = WinnersWeights(search_plan(config, tmp_path)), search_plan(config, tmp_path).folder.search
    own = {"learning_rate": config.stages["student"].learning_rate, "layers": 1, "epochs": 3}
    own |= {"loss.alpha": config.stages["student"].loss.alpha, "dropout": config.stages["student"].dropout}
    for number, score, status, values in [
        (1, 0.5, "ok", {}), (2, 0.7, "ok", {}), (3, 0.6, "ok", own), (4, 0.9, "stopped", {}), (5, 0.6, "ok", {}),
    ]:  # fmt: skip
        search.weights(number).mkdir(parents=True)
        winners.add(Trial(number, str(number), values, status, [Report(1.0, score, 1.0)]))
    assert {int(path.name[-4:]) for path in search.all_weights.iterdir()} == expected
