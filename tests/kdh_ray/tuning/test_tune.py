"""Searches on a real Ray: early stopping, failures, metrics and trackers."""

import errno
import json
import os
import signal
import time
from collections import Counter
from urllib.request import urlopen

import cheap_search
import numpy as np
import pytest
from cheap_search import RandomSearch, assert_whole, search
from prometheus_client.parser import text_string_to_metric_families
from ray import tune as ray_tune
from ray.tune.schedulers import HyperBandScheduler

from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.tuning import TuneSettings, tune
from kdh_ray.tuning.config_values import ConfigValues
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.prometheus import SERIES
from kdh_ray.tuning.trackers import make_trackers
from searchers.pso_search import ParticleSwarmSearch

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def ray():
    """One Ray for all tests that can share it, since starting it takes longer than they do."""
    from ray import cloudpickle

    from kdh_ray.cluster.session import ray_session

    os.environ.setdefault("RAY_metrics_report_interval_ms", "500")  # 10 s otherwise
    cloudpickle.register_pickle_by_value(cheap_search)  # workers can't import modules of the tests
    with ray_session(JobConfig(), cpus=2):
        yield
    cloudpickle.unregister_pickle_by_value(cheap_search)


def test_trials_end_as_they_should(ray, tmp_path, capfd):
    seen = []

    def listening():
        while True:
            trial = yield
            seen.append((trial.number, trial.status))

    listener = listening()  # which can't be pickled, as live displays can't
    next(listener)
    result = search(tmp_path, 20, listener=lambda trial: listener.send(trial))
    assert_whole(Ledger(tmp_path / "search"), 20)
    states = Counter(trial.status for trial in result.trials)
    assert states["failed"] == sum(trial.config["x"] > 0.95 for trial in result.trials) == 1
    assert states["stopped"] > 5
    assert states["ok"] >= 3
    failed = next(trial for trial in result.trials if trial.status == "failed")
    assert failed.error == "ValueError: x must be at most 0.95"
    assert result.best.score == max(trial.score for trial in result.trials if trial.status == "ok")
    assert sum(status in ("ok", "stopped", "failed") for _, status in seen) == 20
    frame = result.frame()
    assert list(frame["config/x"]) == [trial.config["x"] for trial in result.trials]
    assert frame.worker[frame.status != "failed"].nunique() <= 4  # 20 trials, two workers and one after the failure
    assert not list((tmp_path / "search" / "ray").glob("*/checkpoint_*"))
    output = capfd.readouterr()
    assert output.out == ""
    assert "trial" not in output.err.lower()


def test_folder_may_have_any_name(ray, tmp_path):
    result = search(tmp_path, 1, storage=tmp_path / "essai 1%20, été")
    assert [trial.status for trial in result.trials] == ["ok"]


def test_finished_search_is_not_run_again(ray, tmp_path):
    search(tmp_path, 3)
    before = (tmp_path / "epochs.jsonl").read_text()
    with pytest.raises(UserError, match="holds a search, 3 of 3 trials done"):
        search(tmp_path, 3)
    again = search(tmp_path, 3, resume=True)
    assert len(again.trials) == 3
    assert (tmp_path / "epochs.jsonl").read_text() == before


def test_slowly_starting_worker_gets_trials(ray, tmp_path):
    class OneStartsSlowly(cheap_search.Cheap):
        """The first worker starts at once; any other one only when four trials have ended."""

        def setup(self, config):
            with (tmp_path / "starts").open("a") as stream:
                stream.write(f"{os.getpid()}\n")
            first = (tmp_path / "starts").read_text().splitlines()[0] == str(os.getpid())
            while not first and len(list((tmp_path / "ended").iterdir())) < 4:
                time.sleep(0.05)
            super().setup(config)

        def step(self):
            (tmp_path / "ended" / str(self.config["x"])).touch()
            return {"score": self.config["x"], "done": True}

    (tmp_path / "ended").mkdir()
    result = tune(
        OneStartsSlowly,
        {"x": ray_tune.uniform(0, 1)},
        TuneSettings(trials=12, metric="score", concurrency=2),
        searcher=RandomSearch(),
        storage=tmp_path / "search",
    )
    starts = (tmp_path / "starts").read_text().split()
    assert len(starts) == 2  # no worker was started and killed
    assert {trial.worker.partition(":")[2] for trial in result.trials} == set(starts)


def test_late_ctrl_c_is_an_interrupt(ray, tmp_path):
    def press_ctrl_c(trial):
        if trial.number == 2 and trial.ended:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    search(tmp_path / "whole", 2)
    assert signal.getsignal(signal.SIGINT) is before
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "late", 2, concurrency=1, listener=press_ctrl_c)
    assert_whole(Ledger(tmp_path / "late" / "search"), 2)
    assert signal.getsignal(signal.SIGINT) is before


def test_functions_can_be_objectives(ray, tmp_path):
    def objective(config):
        for epoch in range(1, 4):
            ray_tune.report({"loss": config["x"] / epoch})

    result = tune(
        objective,
        {"x": ray_tune.uniform(0, 1)},
        TuneSettings(trials=3, metric="loss", mode="min"),
        searcher=RandomSearch(),
        storage=tmp_path,
    )
    assert [trial.status for trial in result.trials] == ["ok"] * 3
    assert result.best.config["x"] == min(trial.config["x"] for trial in result.trials)


def test_hyperband_stops_and_resumes_trials(ray, tmp_path):
    def hyperband():
        return HyperBandScheduler("training_iteration", max_t=cheap_search.EPOCHS, reduction_factor=2)

    def interrupt(trial):
        if trial.number == 5 and trial.ended:
            os.kill(os.getpid(), signal.SIGINT)

    (tmp_path / "whole").mkdir()
    result = search(tmp_path / "whole", 12, scheduler=hyperband(), concurrency=6)
    assert {trial.status for trial in result.trials} == {"ok", "stopped"}
    assert_whole(Ledger(tmp_path / "whole" / "search"), 12)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, 8, scheduler=hyperband(), concurrency=4, listener=interrupt)
    search(tmp_path, 8, scheduler=hyperband(), concurrency=4, resume=True)
    assert_whole(Ledger(tmp_path / "search"), 8)


def test_configurations_have_the_objects_of_the_space(ray, tmp_path):
    """Ray Tune hides them from searchers; trials of a resumed search get them too. Metrics may be nested, or bad."""

    def doubled(x):
        return 2 * x

    def negated(x):
        return -x

    space = {
        "x": ray_tune.uniform(0, 1),
        "map": ray_tune.choice([doubled, negated]),
        "width": ray_tune.choice(list(np.arange(8, 64, 8))),
        "betas": (0.9, 0.99),
        "names": ray_tune.choice([{1: "a"}, {2: "b"}]),
    }

    def objective(config):
        value = config["map"](config["x"]) + float(config["width"]) + len({config["betas"]}) + min(config["names"])
        ray_tune.report({"eval": {"loss": value if config["x"] < 0.7 else None}})

    def run(trials, **more):
        return tune(
            objective,
            space,
            TuneSettings(trials=trials, metric="eval/loss", mode="min"),
            searcher=ParticleSwarmSearch(seed=1),
            storage=tmp_path,
            **more,
        )

    first = run(3)
    ledger = Ledger(tmp_path, ConfigValues(space))
    ledger.trials[1].status, ledger.trials[1].reports = "running", []  # as a killed search leaves it
    ledger.commit()
    trials = run(4, resume=True).trials
    assert [trial.config for trial in trials[:3]] == [trial.config for trial in first.trials]
    for trial in trials:
        assert trial.config["map"] in (doubled, negated)
        assert type(trial.config["width"]) is np.int64
        assert trial.config["betas"] == (0.9, 0.99)
        assert trial.config["names"] in ({1: "a"}, {2: "b"})
        good = trial.config["x"] < 0.7
        assert trial.status == ("ok" if good else "failed"), trial.error
        assert good or trial.error == "the objective must report a number as 'eval/loss'; got None"
    assert {trial.status for trial in trials} == {"ok", "failed"}
    assert first.frame()["config/map"].isin([doubled, negated]).all()


def test_misspelt_metric_is_a_clear_error(ray, tmp_path):
    with pytest.raises(UserError, match="the objective must report 'scores'; a report came without it"):
        tune(
            cheap_search.Cheap,
            {"x": ray_tune.uniform(0, 1)},
            TuneSettings(trials=1, metric="scores"),
            searcher=RandomSearch(),
            storage=tmp_path,
        )


def test_time_budget_stops_running_trials(ray, tmp_path):
    class Endless(cheap_search.Cheap):
        def step(self):
            time.sleep(0.1)
            return {"score": 1.0}

    result = tune(
        Endless,
        {"x": ray_tune.uniform(0, 1)},
        TuneSettings(trials=4, metric="score", time_budget=15.0, concurrency=1),
        searcher=RandomSearch(),
        storage=tmp_path / "endless",
    )
    assert [trial.status for trial in result.trials] == ["stopped"]
    assert result.trials[0].error == "the time budget was used up"


def test_trial_too_large_for_the_machine_is_refused(ray, tmp_path):
    with pytest.raises(UnavailableError, match=r"a trial takes 1000 CPU; the largest machine has 2 CPU"):
        search(tmp_path, 2, resources={"CPU": 1000})


def test_failed_trials_leave_the_search_running(ray, tmp_path):
    expected, searcher = RandomSearch(), RandomSearch()
    drawn = [expected.suggest("")["x"] for _ in range(6)]
    troubles = {round(x, 9): name for x, name in zip(drawn[1:5], ("hangs", "killed", "memory", "nan"), strict=True)}
    space = {"x": ray_tune.uniform(0, 1), "trouble": troubles}
    result = tune(
        cheap_search.Troubled,
        space,
        TuneSettings(trials=6, metric="score", concurrency=2, trial_time_limit=20.0, full_length=lambda config: 4),
        searcher=searcher,
        storage=tmp_path,
    )
    first, hung, killed, memory, nan, last = result.trials
    assert [trial.status for trial in (first, nan, last)] == ["ok"] * 3
    assert (hung.status, hung.error) == ("stopped", "timed out after 20 s")
    assert [report.time for report in hung.reports] == [1]
    assert killed.status == "failed"
    assert "died" in killed.error
    assert (memory.status, memory.error) == ("failed", "MemoryError: lower batch_size")
    assert result.best in (first, last)
    assert searcher.scores[hung.id] == hung.score  # its last result counts
    assert searcher.scores[killed.id] is None


def test_full_disk_is_a_clear_error(ray, tmp_path, monkeypatch):
    commits, write = [], Ledger._commit

    def commit_on_full_disk(self, searcher):
        commits.append(1)
        if len(commits) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, searcher)

    monkeypatch.setattr(Ledger, "_commit", commit_on_full_disk)
    with pytest.raises(UnavailableError, match="no disk space left; free some and resume the search"):
        search(tmp_path, 6)


def scraped(name):
    """Return the series of the search ``name`` from Ray's Prometheus endpoint: name -> labels -> value."""
    import ray

    (node,) = ray.nodes()
    with urlopen(f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics") as answer:
        families = text_string_to_metric_families(answer.read().decode())
    samples = [sample for family in families for sample in family.samples if sample.labels.get("search") == name]
    return {
        series: {
            tuple(sample.labels.get(label, "") for label in SERIES[series].labels[1:]): sample.value
            for sample in samples
            if sample.name == f"ray_{series}"
        }
        for series in SERIES
    }


def test_search_is_on_rays_prometheus_endpoint(ray, tmp_path):
    seen = {}

    def watch(trial):
        deadline = time.monotonic() + 120
        while trial.number == 3 and trial.ended and not seen and time.monotonic() < deadline:
            now = scraped("watched")
            if now["kdh_trials"].get(("ok",), 0) + now["kdh_trials"].get(("stopped",), 0) == 3:
                seen.update(now)
            else:
                time.sleep(0.2)

    result = search(tmp_path, 4, listener=watch, name="watched", concurrency=1, full_length=lambda config: 4)
    first = result.trials[0]
    assert all(seen[series] for series in SERIES)
    assert seen["kdh_trial_score"][("1", "")] == pytest.approx(first.score)
    assert seen["kdh_trial_fidelity"][("1", "")] == first.time
    assert seen["kdh_best_score"][()] == pytest.approx(max(t.score for t in result.trials[:3] if t.status == "ok"))
    assert seen["kdh_busy_particles"][()] == 0
    spared = sum(4 - trial.time for trial in result.trials[:3] if trial.status == "stopped")
    assert seen["kdh_spared_epochs"][()] == spared > 0


def test_trackers_record_every_trial(ray, tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    trackers = make_trackers(["mlflow", "tensorboard"], "tracked", tmp_path)
    result = search(tmp_path, 3, callbacks=trackers, scheduler="none")
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("tracked").experiment_id])
    logged = {run.info.run_name: run for run in runs}
    assert set(logged) == {trial.name for trial in result.trials}
    for trial in result.trials:
        assert float(logged[trial.name].data.params["x"]) == pytest.approx(trial.config["x"])
        assert logged[trial.name].data.metrics["score"] == pytest.approx(trial.score)
        history = client.get_metric_history(logged[trial.name].info.run_id, "score")
        assert [metric.step for metric in history] == [1, 2, 3, 4]
    assert len(list(tmp_path.rglob("events.out.tfevents.*"))) == 3


def wandb_records(file):
    """Read the records of an offline run: seven bytes, then LevelDB's log format. wandb has no reader any more."""
    from wandb.proto.wandb_internal_pb2 import Record

    content = file.read_bytes()
    offset, record = 7, b""
    while offset + 7 <= len(content):
        left = 32768 - offset % 32768  # bytes left of the block
        if left < 7:
            offset += left
            continue
        length, kind = int.from_bytes(content[offset + 4 : offset + 6], "little"), content[offset + 6]
        record += content[offset + 7 : offset + 7 + length]
        offset += 7 + length
        if kind in (1, 4):  # a full record, or its last fragment
            yield Record.FromString(record)
            record = b""


def test_wandb_records_every_trial_offline(ray, tmp_path, monkeypatch):
    pytest.importorskip("wandb", reason="extra 'trackers' is not installed")
    monkeypatch.setenv("WANDB_MODE", "offline")  # so that monkeypatch restores it after make_trackers
    for name in ("WANDB_MODE", "WANDB_DIR", "WANDB_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    result = search(tmp_path, 3, callbacks=make_trackers(["wandb"], "tracked", tmp_path), scheduler="none")
    logged = {}
    for file in tmp_path.glob("wandb/offline-run-*/run-*.wandb"):
        records = list(wandb_records(file))
        (run,) = [record.run for record in records if record.HasField("run")]
        assert run.project == "tracked"
        items = [{item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
                 for record in records if record.HasField("history")]  # fmt: skip
        configured = {entry.key: json.loads(entry.value_json) for entry in run.config.update}
        logged[run.display_name] = (configured["x"], [step["score"] for step in items])
    assert logged == {
        trial.name: (trial.config["x"], [report.score for report in trial.reports]) for trial in result.trials
    }
