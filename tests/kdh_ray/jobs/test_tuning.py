"""Searches on a real Ray: trials, early stopping, failures, and resumption after a kill."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cheap_search
import pytest
from cheap_search import EPOCHS, RandomSearch, search
from ray import tune as ray_tune

from kdh_ray.config import JobConfig, dump_config, parse_config
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.jobs.tuning import tune, tune_stage
from kdh_ray.jobs.tuning.ledger import Ledger
from kdh_ray.results import load_runs

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def ray():
    """One Ray for all tests that can share it: starting it takes longer than they do."""
    from ray import cloudpickle

    from kdh_ray.jobs.cluster import ray_session

    cloudpickle.register_pickle_by_value(cheap_search)  # workers can't import what lies beside a test
    with ray_session(JobConfig(), cpus=2):
        yield
    cloudpickle.unregister_pickle_by_value(cheap_search)


def epochs_run(folder):
    """(x, epoch) of every step that a worker made."""
    lines = (folder / "epochs.jsonl").read_text().splitlines()
    return [(x, epoch) for x, epoch, _ in map(json.loads, lines)]


def assert_whole(ledger, trials):
    """As many trials as were asked, each once, each ended, none with a gap in its curve."""
    assert [trial.number for trial in ledger.trials] == list(range(1, trials + 1))
    assert all(trial.ended for trial in ledger.trials)
    expected = RandomSearch()
    assert [trial.config["x"] for trial in ledger.trials] == [expected.suggest("")["x"] for _ in range(trials)]
    for trial in ledger.trials:
        assert [report.time for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert [report.score for report in trial.reports] == [
            trial.config["x"] * report.time for report in trial.reports
        ]
        assert (trial.status == "ok") == (len(trial.reports) == EPOCHS)


def test_trials_end_as_they_should(ray, tmp_path, capfd):
    seen = []

    def listening():
        while True:
            trial = yield
            seen.append((trial.number, trial.status))

    listener = listening()  # which can't be pickled, as live displays can't
    next(listener)
    found = search(tmp_path, 20, listener=lambda trial: listener.send(trial))
    assert_whole(Ledger(tmp_path / "search"), 20)
    states = Counter(trial.status for trial in found.trials)
    assert states["failed"] == sum(trial.config["x"] > 0.95 for trial in found.trials) == 1
    assert states["stopped"] > 5
    assert states["ok"] >= 3
    failed = next(trial for trial in found.trials if trial.status == "failed")
    assert failed.error == "ValueError: x must be at most 0.95"
    assert found.best.score == max(trial.score for trial in found.trials if trial.status == "ok")
    assert sum(status in ("ok", "stopped", "failed") for _, status in seen) == 20
    frame = found.frame()
    assert list(frame["config/x"]) == [trial.config["x"] for trial in found.trials]
    assert frame.worker[frame.status != "failed"].nunique() <= 4  # 20 trials, two workers and one after the failure
    assert not list((tmp_path / "search" / "ray").glob("*/checkpoint_*"))
    output = capfd.readouterr()
    assert output.out == ""
    assert "trial" not in output.err.lower()


def test_finished_search_is_not_run_again(ray, tmp_path):
    search(tmp_path, 3)
    before = (tmp_path / "epochs.jsonl").read_text()
    with pytest.raises(UserError, match="holds a search, 3 of 3 trials done"):
        search(tmp_path, 3)
    again = search(tmp_path, 3, resume=True)
    assert len(again.trials) == 3
    assert (tmp_path / "epochs.jsonl").read_text() == before


def test_functions_are_objectives_too(ray, tmp_path):
    def objective(config):
        for epoch in range(1, 4):
            ray_tune.report({"loss": config["x"] / epoch})

    found = tune(
        objective, {"x": ray_tune.uniform(0, 1)}, searcher=RandomSearch(), trials=3, metric="loss", mode="min",
        storage=tmp_path,
    )  # fmt: skip
    assert [trial.status for trial in found.trials] == ["ok"] * 3
    assert found.best.config["x"] == min(trial.config["x"] for trial in found.trials)


def test_time_budget_ends_the_search(ray, tmp_path):
    class Endless(cheap_search.Cheap):
        def step(self):
            time.sleep(0.1)
            return {"score": 1.0}

    found = tune(
        Endless, {"x": ray_tune.uniform(0, 1)}, searcher=RandomSearch(), trials=4, metric="score",
        storage=tmp_path / "endless", time_budget=15.0, concurrency=1,
    )  # fmt: skip
    assert [trial.status for trial in found.trials] == ["stopped"]
    assert found.trials[0].error == "the time budget was used up"


def test_trial_too_large_for_the_machine_is_refused(ray, tmp_path):
    with pytest.raises(UnavailableError, match=r"a trial takes {'CPU': 1000}; the largest machine has {'CPU': "):
        search(tmp_path, 2, resources={"CPU": 1000})


def small(encoder, **tune_settings):
    """A configuration that trains in seconds."""
    space = {
        "learning_rate": {"low": 1e-4, "high": 1e-2, "log": True},
        "loss.alpha": {"low": 0.0, "high": 1.0},
        "dropout": {"low": 0.0, "high": 0.3},
        "layers": {"low": 1, "high": 2},
        "epochs": {"low": 2, "high": 3},
    }
    return parse_config(
        {
            "name": "small",
            "data": {"corpus": "synthetic", "documents": 120, "max_tokens": 16, "segments": False},
            "baselines": {"tfidf": False},
            "precision": "float32",
            "stages": {
                "teacher": {"start": str(encoder), "epochs": 1},
                "student": {"start": "teacher", "layers": 1, "teachers": ["teacher"], "epochs": 3},
            },
            "tune": {"space": space, "trials": 4, **tune_settings},
        }
    )


class StageSearch(RandomSearch):
    """Draws from the space of ``small``."""

    def suggest(self, trial_id):
        draw = self.generator.random
        return {
            "learning_rate": 10 ** (2 * draw() - 4),
            "loss.alpha": draw(),
            "dropout": 0.3 * draw(),
            "layers": self.generator.randint(1, 2),
            "epochs": self.generator.randint(2, 3),
        }


def test_best_configuration_is_trained_and_tested_once(ray, encoder, tmp_path):
    frame = tune_stage(small(encoder, scheduler="none"), StageSearch(), tmp_path, local=True)
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


def test_resumed_trial_ends_like_an_uninterrupted_one(encoder, tmp_path):
    from kdh_ray.data import corpus_from_config
    from kdh_ray.jobs.run import run
    from kdh_ray.jobs.tuning.stage import _task
    from kdh_ray.jobs.tuning.trial import METRIC, StageTrial

    config = small(encoder)
    run(config, tmp_path, stages=["teacher"], local=True)
    task = _task(config, corpus_from_config(config.data), "student", tmp_path, on_gpu=False)
    values = StageSearch().suggest("") | {"epochs": 3}

    def started():
        trial = StageTrial.__new__(StageTrial)  # without Tune around it
        trial.setup(values, task)
        return trial

    whole, first, second = started(), started(), started()
    expected = [whole.step() for _ in range(3)]
    assert [result["done"] for result in expected] == [False, False, True]
    assert first.step() == expected[0]
    (tmp_path / "state").mkdir()
    first.save_checkpoint(str(tmp_path / "state"))
    second.load_checkpoint(str(tmp_path / "state"))
    assert [second.step()[METRIC] for _ in range(2)] == [result[METRIC] for result in expected[1:]]
    assert not hasattr(task.material, "test")


CHEAP = [sys.executable, str(Path(__file__).with_name("cheap_search.py"))]


def _reached(folder, ended):
    ledger = Ledger(folder / "search")
    return bool(ledger.trials) and ledger.n_ended() >= ended


def killed(command, folder, after, generator, by=signal.SIGKILL):
    """Run a search until ``after`` more trials have ended, then end it; its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = Ledger(folder / "search").n_ended() + after
    with (folder / "output").open("a") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            while process.poll() is None and not _reached(folder, ended):
                time.sleep(0.01)
            time.sleep(generator.uniform(0.0, 0.3))  # anywhere between two events
            if process.poll() is None:
                os.killpg(process.pid, by) if by == signal.SIGINT else process.send_signal(by)  # as Ctrl-C does
            return process.wait(timeout=120)
        finally:
            if process.poll() is None:
                process.kill()


def kill_and_resume(folder, trials, kills, seed, by=(signal.SIGKILL,)):
    generator, command = random.Random(seed), [*CHEAP, str(folder), str(trials)]
    for number in range(kills):
        code = killed(command, folder, generator.randint(0, 2), generator, by[number % len(by)])
        assert code in (-signal.SIGKILL, -signal.SIGINT, 130), (folder / "output").read_text()
    assert killed(command, folder, trials, generator) == 0, (folder / "output").read_text()
    ledger = Ledger(folder / "search")
    assert_whole(ledger, trials)
    steps = Counter(epochs_run(folder))
    for trial in ledger.trials:  # nothing is run again but the epoch that a kill fell into
        repeated = sum(steps[trial.config["x"], int(report.time)] - 1 for report in trial.reports)
        assert repeated <= kills
    assert sum(count - 1 for count in steps.values()) <= 2 * kills  # two at a time


def test_interrupted_search_goes_on_where_it_was(tmp_path):
    kill_and_resume(tmp_path, trials=12, kills=2, seed=0, by=(signal.SIGKILL, signal.SIGINT))


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twenty_kills_lose_nothing(tmp_path):
    kill_and_resume(tmp_path, trials=60, kills=20, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_distillation_keeps_every_row(encoder, tmp_path):
    config, out = tmp_path / "config.yaml", tmp_path / "out"
    config.write_text(dump_config(small(encoder, trials=6, particles=3)))
    command = [sys.executable, "-m", "kdh_ray.cli.main", "tune", str(config), "--out", str(out), "--local", "--resume"]
    (out / "search").mkdir(parents=True)
    generator = random.Random(0)
    for after in (0, 2):
        assert killed(command, out, after, generator) == -signal.SIGKILL, (out / "output").read_text()
    assert killed(command, out, 99, generator) == 0, (out / "output").read_text()
    paths = [path.name for path in (out / "search" / "rows").iterdir()]
    assert len(paths) == 6
    frame = load_runs(out)
    trials = frame[frame.kind == "trial"]
    assert sorted(trials.trial) == [1, 2, 3, 4, 5, 6]
    assert trials.particle.notna().all()
    assert (frame.variant == "swarm-tuned").sum() == 1
    output = (out / "output").read_text()
    assert all(output.count(f"\ntrial {number} (particle") == 1 for number in range(1, 7)), output
