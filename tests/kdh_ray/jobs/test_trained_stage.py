"""A stage that is trained already becomes the first trial of its search."""

import pytest
from cheap_search import RandomSearch
from small_stage import StageSearch, search_plan, small

from kdh_ray.jobs.stage_search.searcher import make_searcher
from kdh_ray.jobs.stage_search.space import domains, own_settings, search_space
from kdh_ray.jobs.stage_search.trained_stage import TrainedStage
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning.ledger import Ledger

HISTORY = [
    {"epoch": epoch, "score": score, "f1_macro": score / 2, "seconds": 2.0, "documents_per_second": 10.0}
    for epoch, score in ((1, 0.4), (2, 0.6), (3, 0.5))
]
RESULT = {"history": HISTORY, "started": "2026-11-25T10:00:00+00:00"}


@pytest.fixture
def config(encoder):
    """A search whose ranges include all of the student's own settings."""
    return small(encoder, particles=2, scheduler="none", objective="f1_macro")


def first_trial(config, searcher, folder, violation=0.0):
    stage = TrainedStage(search_plan(config, folder), RESULT)
    return stage.as_first_trial(searcher, lambda values: {"parameters": 9.0, "violation": violation})


def ledger_in(folder):
    return Ledger(RunFolder(folder).search.path)


@pytest.mark.parametrize("name", ["pso", "optuna-tpe", "random", "nevergrad-pso", "pyswarms"])
def test_trained_stage_is_the_first_trial(config, tmp_path, name):
    config = config.model_copy(update={"tune": config.tune.model_copy(update={"searcher": name})})
    searcher = make_searcher(config)
    first = first_trial(config, searcher, tmp_path)
    assert (first.number, first.status, first.full) == (1, "ok", 3)
    assert [report.score for report in first.reports] == [0.2, 0.3, 0.3]  # of the best epoch so far
    assert [report.seconds for report in first.reports] == [2.0, 4.0, 6.0]
    assert first.values == {
        "validation_f1_micro": 0.6, "validation_f1_macro": 0.3, "documents_per_second": 10.0, "parameters": 9.0,
        "violation": 0.0,
    }  # fmt: skip
    ledger = ledger_in(tmp_path)
    assert ledger.trials == [first]
    searcher.set_search_properties("validation_f1_macro", "max", domains(search_space(config)))
    searcher.restore(str(ledger.searcher))
    second = searcher.suggest("second")
    assert {key: second[key] for key in first.config} != first.config
    assert first_trial(config, searcher, tmp_path) is None  # the search has begun


@pytest.mark.parametrize("name", ["pso", "optuna-tpe"])
def test_the_first_trial_has_its_loss(encoder, tmp_path, name):
    config = small(encoder, particles=2, scheduler="none", objective="log_loss", searcher=name)
    history = [{**epoch, "average_precision": 0.5, "log_loss": 1 - epoch["score"]} for epoch in HISTORY]
    searcher = make_searcher(config)
    plan = search_plan(config, tmp_path)
    first = TrainedStage(plan, {**RESULT, "history": history}).as_first_trial(
        searcher, lambda values: {"violation": 0.0}
    )
    assert [report.score for report in first.reports] == [0.6, 0.4, 0.4]
    assert plan.tune_settings.mode == "min"
    searcher.set_search_properties("validation_log_loss", "min", domains(search_space(config)))
    searcher.restore(str(ledger_in(tmp_path).searcher))


def test_stage_of_an_earlier_version_has_no_loss(encoder, tmp_path):
    config = small(encoder, objective="log_loss")
    assert first_trial(config, make_searcher(config), tmp_path) is None
    assert not ledger_in(tmp_path).trials


def test_other_first_suggestion_has_yet_to_run(config, tmp_path):
    assert first_trial(config, StageSearch(), tmp_path) is None
    (trial,) = ledger_in(tmp_path).trials
    assert (trial.status, trial.reports) == ("running", [])
    assert trial.config == StageSearch().suggest("")


def test_unfit_stage_is_no_trial(config, tmp_path):
    assert first_trial(config, make_searcher(config), tmp_path / "over", violation=0.1) is None
    space = {**config.tune.space, "learning_rate": config.tune.space["learning_rate"].model_copy(update={"high": 5e-5})}
    space["learning_rate"] = space["learning_rate"].model_copy(update={"low": 1e-5})
    config = config.model_copy(update={"tune": config.tune.model_copy(update={"space": space})})
    assert "learning_rate" not in own_settings(config)
    assert first_trial(config, RandomSearch(), tmp_path / "out") is None
    assert not (tmp_path / "out").exists()
