"""Searches for a stage's settings: their checks, their resumption, and the run of the best configuration."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from cheap_search import RandomSearch
from filelock import FileLock
from small_stage import small

from kdh_ray.cluster.nodes import Room
from kdh_ray.config import dump_config, parse_config
from kdh_ray.errors import ConfigError, UnavailableError
from kdh_ray.jobs import search
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.run_search import hear_notes_once
from kdh_ray.jobs.stage_search.trial_task import trial_resources
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning import SearchResult
from kdh_ray.tuning.ledger import FILE, Ledger
from kdh_ray.tuning.trials import OUT_OF_TIME, Report, Trial

RUN_TRIALS = "kdh_ray.jobs.stage_search.run_trials.TrialRuns.run"


@pytest.fixture
def config():
    stages = {
        "large": {},
        "assistant": {"start": "embedded", "teachers": ["large"]},
        "other": {},
        "student": {"start": "other", "teachers": ["large", "assistant"]},
        "label-tuned": {"start": "student"},
        "aside": {"start": "large"},
    }
    return parse_config({"name": "chain", "stages": stages, "tune": {"stage": "student", "trials": 3}})


def needed_stages(config, tuned):
    return SearchPlan(config, RunFolder("run"), tuned).needed_stages


def test_best_configuration_needs_earlier_stages(config):
    assert needed_stages(config, "student") == ["large", "assistant", "other"]
    assert needed_stages(config, "assistant") == ["large", "other"]  # what the student needs, which builds on it
    assert needed_stages(config, "large") == ["other"]
    assert needed_stages(config, "aside") == ["large"]


def test_best_configuration_is_its_own_run(config, tmp_path):
    checkpoints = {name: tmp_path / "stages" / name / "checkpoint" for name in ("large", "assistant", "other")}
    for folder in checkpoints.values():
        folder.mkdir(parents=True)
    best = SearchPlan(config, RunFolder(tmp_path), "student").best_config({"loss.alpha": 0.25, "epochs": 2})
    assert list(best.stages) == ["student", "label-tuned"]
    student = best.stages["student"]
    assert (student.loss.alpha, student.epochs) == (0.25, 2)
    assert student.start == str(checkpoints["other"])
    assert student.teachers == (str(checkpoints["large"]), str(checkpoints["assistant"]))
    assert best.stages["label-tuned"].start == "student"
    assert best.cache == tmp_path / "cache"
    assert best.seed == config.seed


def test_other_configuration_is_refused_before_ray_starts(encoder, tmp_path, monkeypatch):
    def session(*arguments, **settings):
        raise AssertionError("Ray must not be started")

    monkeypatch.setattr("kdh_ray.cluster.session.ray_session", session)
    (tmp_path / "config.yaml").write_text(dump_config(small(encoder, trials=4, grace=1)))
    with pytest.raises(ConfigError) as refused:
        search(small(encoder, trials=9, grace=2, concurrency=1), tmp_path, resume=True)
    assert "tune.trials: the run in this folder has 4; got 9" in str(refused.value)
    assert "tune.grace: the run in this folder has 1; got 2" in str(refused.value)
    assert "concurrency" not in str(refused.value)  # of the machine
    with FileLock(tmp_path / ".lock"), pytest.raises(UnavailableError, match="another run is writing here"):
        search(small(encoder, trials=4, grace=1), tmp_path, resume=True)


def search_that_found(values):
    trial = Trial(1, "first", values, "ok", [Report(1.0, 0.5, 1.0)])
    return SearchResult([trial], "validation_f1_micro", "max", 1.0)


@pytest.fixture
def searched(encoder, tmp_path, monkeypatch):
    """Call ``search`` in this process, with trials that have already found the best settings."""

    @contextmanager
    def session(*arguments, **settings):
        yield ""

    found = search_that_found({"learning_rate": 2e-3})
    monkeypatch.setattr("kdh_ray.cluster.session.ray_session", session)
    monkeypatch.setattr("kdh_ray.jobs.stage_search.run_search.trial_resources", lambda config: {})
    monkeypatch.setattr(RUN_TRIALS, lambda self: found)
    tree = small(encoder).model_dump()
    tree["baselines"], tree["tune"]["space"], tree["data"]["documents"] = {}, None, 60
    one_epoch = {"epochs": 1}
    tree["stages"] = {
        "teacher": {"start": str(encoder), **one_epoch},
        "assistant": {"start": str(encoder), **one_epoch},
        "student": {"start": str(encoder), "teachers": ["teacher", "assistant"], **one_epoch},
        "finetuned": {"start": "student", **one_epoch},
    }

    def tune(interrupted="", **settings):
        def listen(event):
            if event["kind"] == "epoch" and event["stage"] == interrupted:
                raise KeyboardInterrupt

        stages = {name: tree["stages"][name] for name in settings.pop("only", tree["stages"])}
        config = parse_config({**tree, "stages": stages, "tune": {**tree["tune"], **settings.pop("changes", {})}})
        return search(config, tmp_path, searcher=RandomSearch(), resume=True, local=True, listener=listen, **settings)

    return tune


def test_resumed_search_writes_missing_rows(searched):
    with pytest.raises(KeyboardInterrupt):
        searched(interrupted="assistant")
    rows = searched().set_index("stage")
    assert rows.loc[["teacher", "assistant", "tf-idf"]].status.tolist() == ["ok"] * 3


def test_notes_are_heard_once():
    heard = []
    listen = hear_notes_once(heard.append)
    note, epoch = {"kind": "note", "text": "warning: cells"}, {"kind": "epoch", "epoch": 1}
    for event in (note, epoch, note, epoch, {**note, "text": "other"}):
        listen(event)
    assert heard == [note, epoch, epoch, {**note, "text": "other"}]


def test_resumed_search_says_what_is_done(searched, tmp_path, monkeypatch):
    ledger = SimpleNamespace(trials=[SimpleNamespace(ended=ended, error="") for ended in (True, True, False)])
    monkeypatch.setattr("kdh_ray.jobs.stage_search.run_search.Ledger", lambda folder: ledger)
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / FILE).touch()
    searched(only=["teacher"], changes={"stage": "teacher", "trials": 9})
    events = [json.loads(line) for line in RunFolder(tmp_path).events.read_text().splitlines()]
    assert "resuming the search: 2 of 9 trials are done" in [event.get("text") for event in events]


def test_resumed_search_trains_dependent_stages(searched):
    with pytest.raises(KeyboardInterrupt):
        searched(interrupted="finetuned")
    rows = searched()
    assert rows[rows.variant == "swarm-tuned"].stage.tolist() == ["student", "finetuned"]


def test_second_experiment_gets_rows_of_finished_search(searched, monkeypatch):
    searched()
    monkeypatch.setattr(RUN_TRIALS, None)  # nothing is left to search
    rows = searched(columns={"experiment": "another"})
    assert sorted(rows[rows.experiment == "another"].stage) == ["finetuned", "student"]
    assert len(searched(columns={"experiment": "another"})) == len(rows)


def test_raised_time_budget_continues_the_search(searched, tmp_path, monkeypatch):
    ledger = Ledger(tmp_path / "search")
    ledger.trials.append(Trial(1, "a", {"learning_rate": 2e-3}, status="stopped", error=OUT_OF_TIME))
    searched(changes={"time_budget": 1e-9})
    ledger.commit()
    found = search_that_found({"learning_rate": 3e-3})
    monkeypatch.setattr(RUN_TRIALS, lambda self: found)
    rates = []
    for budget in (1e-9, "1h"):
        rows = searched(changes={"time_budget": budget}).set_index("stage")
        rates += rows[rows.variant == "swarm-tuned"].loc[["student"], "config_learning_rate"].tolist()
    assert rates == [2e-3, 3e-3]


def test_search_of_single_stage_has_baseline(searched):
    assert "baseline" in searched(changes={"stage": "assistant"}, only=["assistant"]).kind.tolist()


def test_needs_of_dependent_stages_are_trained_first(searched):
    rows = searched(changes={"stage": "teacher"})
    assert rows[rows.variant == "swarm-tuned"].stage.tolist() == ["teacher", "student", "finetuned"]
    assert rows[rows.variant == "fine-tuned"].stage.tolist() == ["assistant"]


@pytest.fixture
def machine(monkeypatch):
    """The resources that Ray reports for a cluster of one machine."""
    resources = {"CPU": 8.0, "GPU": 1.0, "memory": 64.0 * 2**30}
    for module in ("nodes", "session"):
        monkeypatch.setattr(f"kdh_ray.cluster.{module}.alive_nodes", lambda: [{"Resources": resources}])
    return resources


@pytest.mark.parametrize(("share", "at_once"), [(None, 1), (0.25, 4), (0.0, 8)])
def test_trials_share_a_gpu(encoder, machine, share, at_once):
    resources = trial_resources(small(encoder, gpus_per_trial=share))
    assert resources["GPU"] == (1.0 if share is None else share)
    assert Room(resources).count() == at_once


def test_lack_of_memory_names_settings_to_lower(encoder, machine):
    machine["memory"] = 0.5 * 2**30
    with pytest.raises(UnavailableError, match=r"GiB of memory: lower .* \(the largest batch_size, data.max_tokens"):
        trial_resources(small(encoder))
