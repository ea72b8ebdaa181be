"""Searches for a stage's settings on a real Ray."""

import json

import pytest
from small_stage import StageSearch, small

from kdh_ray.cluster.session import ray_session
from kdh_ray.config import JobConfig, parse_config
from kdh_ray.jobs import search
from kdh_ray.jobs.stage_search import trial_ensemble

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def ray():
    """One Ray for all tests, since starting it takes longer than they do."""
    with ray_session(JobConfig(), cpus=2):
        yield


def test_best_configuration_is_trained_and_tested_once(ray, encoder, tmp_path):
    config = small(encoder, scheduler="none", particles=2)
    frame = search(config, tmp_path, local=True)
    trials, best = frame[frame.kind == "trial"], frame[frame.variant == "swarm-tuned"]
    assert len(trials) == 4
    assert set(trials.status) == {"ok"}
    assert trials.test_f1_micro.isna().all()
    assert len(best) == 1
    assert best.test_f1_micro.notna().all()
    winner = trials.loc[trials.validation_f1_micro.astype(float).idxmax()]
    for column in ("config_learning_rate", "config_loss.alpha", "config_dropout", "config_layers", "config_epochs"):
        assert best.iloc[0][column] == winner[column]
    # A trial is the stage itself: the same seed, order, dropout and weights.
    assert best.iloc[0].validation_f1_micro == pytest.approx(winner.validation_f1_micro, abs=1e-6)
    for trial in trials.to_dict("records"):
        assert len(json.loads(trial["curve"])) == trial["epochs_run"] == trial["epochs_full"]
        assert trial["particle"] in (0, 1)
        assert len(json.loads(trial["position"])) == 5
        assert trial["velocity_norm"] >= 0
        assert trial["personal_best"] >= trial["score"]


def test_stage_is_trained_once_with_own_settings(ray, encoder, tmp_path):
    config = small(encoder, particles=2, scheduler="none", trials=3, concurrency=1)
    seen = []
    frame = search(
        config, tmp_path, whole=True, local=True,
        on_trial=lambda trial: seen.append((trial.number, trial.status)),
    )  # fmt: skip
    trials, own = frame[frame.kind == "trial"].sort_values("trial"), frame[frame.variant == "distilled"]
    assert trials.status.tolist() == ["ok"] * 3
    assert seen[0] == (1, "ok")  # no worker began it
    assert seen.count((2, "ok")) == seen.count((3, "ok")) == 1
    first = trials.iloc[0]
    assert len(own) == 1
    assert own.iloc[0].test_f1_micro >= 0
    for column in ("validation_f1_micro", "config_learning_rate", "config_layers", "config_epochs"):
        assert first[column] == own.iloc[0][column]
    assert json.loads(first.curve)[-1] == first.validation_f1_micro
    assert trials.particle.notna().all()
    assert (frame.variant == "swarm-tuned").sum() == 1


def test_best_stage_is_not_trained_again(ray, encoder, tmp_path):
    config = small(encoder, particles=2, scheduler="none", trials=1)
    frame = search(config, tmp_path, whole=True, local=True).set_index("variant")
    events = [json.loads(line) for file in tmp_path.rglob("events.jsonl") for line in file.read_text().splitlines()]
    assert [event["stage"] for event in events if event["kind"] == "done"] == ["teacher", "student"]
    assert frame.loc["swarm-tuned"].test_f1_micro == frame.loc["distilled"].test_f1_micro
    assert (tmp_path / "best" / "stages" / "student" / "checkpoint" / "classifier.json").exists()


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_several_workers_train_a_trial_together(ray, encoder, tmp_path):
    config = small(encoder, trials=1, scheduler="none", workers_per_trial=2)
    frame = search(config, tmp_path, searcher=StageSearch(), local=True)
    trials = frame[frame.kind == "trial"]
    assert trials.status.tolist() == ["ok"]
    assert [len(json.loads(curve)) for curve in trials.curve] == trials.config_epochs.tolist()
    assert (trials.epochs_run == trials.config_epochs).all()
    assert trials.validation_f1_micro.between(0, 1).all()


@pytest.mark.slow
def test_trials_of_a_search_teach_its_student(ray, encoder, tmp_path, monkeypatch):
    # On 12 documents the mean of such small models rarely beats the best of them.
    monkeypatch.setattr(trial_ensemble, "forward_selection", lambda logits, score, most: [2, 0])
    config = small(encoder, particles=2, trials=3, scheduler="none", final="distilled", objective="log_loss")
    frame = search(config, tmp_path, local=True)
    rows = frame[frame.search_ensemble.notna()].set_index("stage")
    numbers = json.loads(rows.loc["student", "search_ensemble"])
    assert set(rows.index) == {
        "student",
        "student-trials",
        *(f"student-trials-{each + 1}" for each in range(len(numbers))),
    }
    assert rows.kind.to_dict().items() >= {"student": "student", "student-trials": "teacher"}.items()
    expected = rows.loc["student", "search_ensemble_score"]
    expected = pytest.approx(expected, abs=1e-3)  # trials' logits are kept in half precision
    assert rows.loc["student-trials", "validation_log_loss"] == expected
    scores = frame[frame.kind == "trial"].set_index("trial").validation_log_loss
    for place, number in enumerate(numbers, start=1):
        assert rows.loc[f"student-trials-{place}", "validation_log_loss"] == pytest.approx(scores[number], abs=1e-6)
    again = search(config, tmp_path, resume=True, local=True)
    assert len(again) == len(frame)


@pytest.mark.slow
def test_search_is_judged_by_every_fold(ray, encoder, tmp_path):
    tree = small(encoder, particles=2, trials=4).model_dump(mode="json")
    config = parse_config({**tree, "data": {**tree["data"], "folds": 2}, "tune": {**tree["tune"], "stage": None}})
    frame = search(config, tmp_path, local=True)
    trials = frame[frame.kind == "trial"]
    finished = trials[trials.status == "ok"]
    assert set(finished.folds_run) == {2}
    assert (finished.epochs_run == 2 * finished.config_epochs).all()
    assert set(trials[trials.status == "stopped"].folds_run) <= {0, 1}
    (best,) = frame[(frame.variant == "swarm-tuned") & (frame.stage == "student")].to_dict("records")
    # The fold models of the best are those of its trial: the same seeds, order, dropout and weights.
    assert best["validation_f1_micro"] == pytest.approx(finished.validation_f1_micro.astype(float).max(), abs=1e-6)
    assert best["test_f1_micro"] > 0
