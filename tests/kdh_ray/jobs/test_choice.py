"""The choice at the end of a search: the best trial, or the stage's own settings unless they are clearly beaten."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from small_stage import search_plan, small

from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.inference.logits import logistic
from kdh_ray.jobs.stage_search.choice import Choice, choose, saved_columns
from kdh_ray.jobs.stage_search.fold_scores import objective_scores
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.predictions import save_predictions
from kdh_ray.jobs.stage_search.space import own_settings
from kdh_ray.results.columns import normalise_rows
from kdh_ray.tuning import SearchResult
from kdh_ray.tuning.adapters import RecordedScheduler
from kdh_ray.tuning.trials import Report, Trial


@pytest.fixture
def plan(encoder: Path, tmp_path: Path) -> SearchPlan:
    return search_plan(small(encoder), tmp_path)


@pytest.fixture
def corpus(plan: SearchPlan) -> Corpus:
    return corpus_from_config(plan.config.data)


def kept_default(plan: SearchPlan) -> SearchPlan:
    tune = plan.config.tune.model_copy(update={"keep_default": True})
    return SearchPlan(plan.config.model_copy(update={"tune": tune}), plan.folder, plan.tuned)


def trials(plan: SearchPlan, *scores: float, **own: Any) -> list[Trial]:
    """Return finished trials, the first with the stage's own settings."""
    values = own_settings(plan.config)
    made = [
        Trial(number, str(number), {**values, "dropout": 0.01 * (number - 1) + values["dropout"]}, "ok",
              [Report(3.0, score, 1.0)], full=3.0)
        for number, score in enumerate(scores, start=1)
    ]  # fmt: skip
    for name, value in own.items():
        setattr(made[0], name, value)
    return made


def found(plan: SearchPlan, made: list[Trial]) -> SearchResult:
    return SearchResult(made, plan.objective.column, plan.objective.mode, 1.0)


def save_logits(plan: SearchPlan, corpus: Corpus, *strengths: float) -> None:
    """Save predictions of trials, the stronger the better."""
    truth = corpus.splits["validation"].targets
    noise = np.random.default_rng(0).normal(0, 1.5, (len(strengths), *truth.shape))
    for number, strength in enumerate(strengths, start=1):
        logits = strength * (2.0 * truth - 1) + noise[number - 1]
        save_predictions(plan.folder.search.predictions(number), logits.astype(np.float32))


def test_clearly_better_trial_is_chosen(plan: SearchPlan, corpus: Corpus) -> None:
    save_logits(plan, corpus, 0.5, 0.6, 4.0)
    for each in (plan, kept_default(plan)):
        choice = choose(each, corpus, found(plan, trials(plan, 0.5, 0.6, 0.9)))
        assert choice.trial.number == 3
        assert choice.sentence.startswith(
            "Chosen: trial 3, validation micro F1 90.0, the best of 3 trials; not the stage's own settings, validation"
            " micro F1 50.0. Corrected for choosing the best of 3 finished trials, the gain is +"
        )
        assert choice.sentence.endswith("of the resamples): clearly better.")
        assert choice.columns["search_gain"] == pytest.approx(0.4)
        assert 0 < choice.columns["search_gain_low"] < choice.columns["search_gain_corrected"]


def test_default_is_kept_unless_clearly_beaten(plan: SearchPlan, corpus: Corpus) -> None:
    save_logits(plan, corpus, 1.0, 1.0, 1.0)
    result = found(plan, trials(plan, 0.5, 0.51, 0.52))
    assert choose(plan, corpus, result).trial.number == 3  # unless the configuration asks for it
    choice = choose(kept_default(plan), corpus, result)
    assert choice.trial.number == 1
    assert choice.sentence.startswith("Kept: the stage's own settings, validation micro F1 50.0; not trial 3,")
    assert choice.sentence.endswith("it may be no better.")
    assert choice.columns["search_kept_default"] is True


def test_own_settings_may_be_the_best(plan: SearchPlan, corpus: Corpus) -> None:
    choice = choose(plan, corpus, found(plan, trials(plan, 0.7, 0.6)))
    assert choice.sentence == "Chosen: the stage's own settings, validation micro F1 70.0, the best of 2 trials."


@pytest.mark.parametrize(
    ("own", "reason", "number"),
    [
        ({}, "the validation predictions of some trials are missing", 1),
        (
            {"status": "stopped"},
            "the trial of the stage's own settings was not finished (stopped after 3 epochs)",
            1,
        ),
        ({"status": "failed"}, "the trial of the stage's own settings was not finished (failed after 3 epochs)", 2),
        ({"config": {}}, "the stage's own settings are not among the trials", 2),
        (
            {"reports": [Report(0.0, -0.2, 0.0, {"violation": 0.2})]},
            "the stage's own settings exceed the search's budget",
            2,
        ),
    ],
)
def test_unknown_gain_says_why(plan: SearchPlan, corpus: Corpus, own: dict[str, Any], reason: str, number: int) -> None:
    result = found(plan, trials(plan, 0.5, 0.6, **own))
    choice = choose(plan, corpus, result)
    assert choice.trial.number == 2
    assert choice.sentence.endswith(f"The gain over the stage's own settings is unknown: {reason}.")
    assert choose(kept_default(plan), corpus, result).trial.number == number


def test_gain_in_a_loss_is_its_decrease(plan: SearchPlan, corpus: Corpus) -> None:
    tune = plan.config.tune.model_copy(update={"objective": "log_loss"})
    plan = SearchPlan(plan.config.model_copy(update={"tune": tune}), plan.folder, plan.tuned)
    save_logits(plan, corpus, 0.5, 0.6, 4.0)
    choice = choose(plan, corpus, found(plan, trials(plan, 0.6, 0.5, 0.1)))
    assert choice.trial.number == 3
    assert choice.columns["search_gain"] == pytest.approx(0.5)
    assert choice.columns["search_gain_low"] > 0
    assert "points" not in choice.sentence


def test_choice_is_kept_for_later_rows(plan: SearchPlan, tmp_path: Path) -> None:
    file = tmp_path / "choice.json"
    assert saved_columns(file) == {}
    Choice(trials(plan, 0.5)[0], "Chosen.", {"search_gain": 0.1}).save(file)
    assert saved_columns(file) == {"search_choice": "Chosen.", "search_gain": 0.1}
    import pandas as pd

    assert normalise_rows(pd.DataFrame([saved_columns(file)]))["search_choice"].tolist() == ["Chosen."]


def distilled(plan: SearchPlan) -> SearchPlan:
    tune = plan.config.tune.model_copy(update={"final": "distilled"})
    return SearchPlan(plan.config.model_copy(update={"tune": tune}), plan.folder, plan.tuned)


def test_trials_that_err_elsewhere_teach_together(plan: SearchPlan, corpus: Corpus) -> None:
    save_logits(plan, corpus, 1.0, 1.1, 0.9, -4.0)
    result = found(plan, trials(plan, 0.7, 0.71, 0.72, 0.1))
    assert choose(plan, corpus, result).ensemble is None  # unless the configuration asks for it
    choice = choose(distilled(plan), corpus, result)
    assert choice.ensemble is not None
    assert 4 not in choice.ensemble.numbers
    assert len(choice.ensemble.numbers) > 1
    logits = [np.load(plan.folder.search.predictions(number)) for number in choice.ensemble.numbers]
    mean = objective_scores(corpus.splits["validation"].targets, logistic(np.mean(logits, axis=0, dtype=np.float32)))
    assert choice.columns["search_ensemble_score"] == pytest.approx(mean["validation_f1_micro"])
    assert choice.columns["search_ensemble"] == choice.ensemble.numbers
    assert f"and {choice.ensemble.numbers[-1]}, whose mean reaches validation micro F1" in choice.sentence
    assert choice.sentence.endswith("teach the student along with its teachers.")


def test_nothing_is_learnt_from_a_lone_trial(plan: SearchPlan, corpus: Corpus) -> None:
    save_logits(plan, corpus, 4.0, -4.0)
    choice = choose(distilled(plan), corpus, found(plan, trials(plan, 0.9, 0.1)))
    assert choice.ensemble is None
    assert choice.sentence.endswith("No trials teach the student: no mean beats the best one.")
    plan.folder.search.predictions(1).unlink()
    choice = choose(distilled(plan), corpus, found(plan, trials(plan, 0.9, 0.1)))
    assert "the validation predictions of some trials are missing" in choice.sentence


def test_own_settings_are_not_stopped_early(plan: SearchPlan) -> None:
    from kdh_ray.tuning.ledger import Ledger
    from kdh_ray.tuning.recorder import Recorder

    first, second = trials(plan, 0.5, 0.6)
    stopping = SimpleNamespace(on_trial_result=lambda *_: "STOP")

    def decisions(plan: SearchPlan) -> list[str]:
        recorder = Recorder(SimpleNamespace(save=lambda path: None), Ledger(plan.folder.path), plan.tune_settings)
        scheduler = RecordedScheduler(stopping, recorder)
        for trial in (first, second):
            recorder.add_trial(trial.id, trial.config)
        times = ((first, 1), (second, 1), (first, plan.longest))
        return [
            scheduler.on_trial_result(None, SimpleNamespace(trial_id=trial.id), {"training_iteration": time})
            for trial, time in times
        ]

    assert decisions(plan) == ["STOP", "STOP", "STOP"]
    assert decisions(kept_default(plan)) == ["CONTINUE", "STOP", "STOP"]


def test_rows_say_what_the_choice_owes_to_luck(plan: SearchPlan, corpus: Corpus) -> None:
    save_logits(plan, corpus, 1.0, 1.0, 1.0)
    curve = choose(plan, corpus, found(plan, trials(plan, 0.7, 0.71, 0.72))).columns["search_overtuning"]
    assert len(curve) == 3
    assert [score for score, _ in curve] == sorted(score for score, _ in curve)
    assert curve[-1][0] > curve[-1][1]
