"""The ledger of a search on disk, and the recorder that restores searchers and schedulers from it."""

import json
import math
import os
import shutil
import subprocess
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from cheap_search import RandomSearch, search
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from ray.tune import TuneError
from ray.tune.search import ConcurrencyLimiter

from kdh_ray.errors import CheckpointError, UnavailableError, UserError
from kdh_ray.tuning import SearchResult, TuneSettings, make_scheduler, numbers, tune
from kdh_ray.tuning import ledger as ledger_module
from kdh_ray.tuning.adapters import RecordedScheduler, RecordedSearcher
from kdh_ray.tuning.ledger import FILE, Ledger
from kdh_ray.tuning.recorder import Recorder
from kdh_ray.tuning.session import _translate, nothing_reported
from kdh_ray.tuning.trials import Report, Trial, best_of, savings
from searchers import tune_results


def recorder_of(ledger, searcher=None, **settings):
    return Recorder(searcher or RandomSearch(), ledger, TuneSettings(9, "score", **settings))


def trial(number, *scores, status="ok"):
    reports = [Report(time, score, 0.1 * time) for time, score in enumerate(scores, start=1)]
    return Trial(number, f"id{number}", {"x": number / 10}, status, reports)


def test_commit_reads_back(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.trials = [trial(1, 0.5, math.nan), trial(2, status="running")]
    ledger.commit(RandomSearch())
    again = Ledger(tmp_path)
    assert again.trials[1] == ledger.trials[1]
    assert math.isnan(again.trials[0].score)
    assert again.searcher is not None
    assert again.searcher.exists()
    assert again.seconds >= ledger._earlier_seconds


def test_folder_takes_one_search_at_a_time(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(UnavailableError, match="another run is writing here"):
        search(tmp_path.parent, 2, storage=tmp_path)


def test_missing_metric_is_a_one_line_error():
    message = "Traceback\nValueError: Trial returned a result which did not include the specified metric(s) `score`"
    error = _translate(TuneError(message), "score")
    assert isinstance(error, UserError)
    assert str(error) == "the objective must report 'score'; a report came without it"


def test_only_the_last_searcher_state_stays(tmp_path):
    ledger = Ledger(tmp_path)
    for _ in range(3):
        ledger.commit(RandomSearch())
    assert len(list(tmp_path.glob("searcher-*"))) == 1


def test_interrupted_commit_leaves_former_one_intact(tmp_path):
    ledger = Ledger(tmp_path)
    ledger.trials = [trial(1, 0.5)]
    ledger.commit(RandomSearch())

    class Dying(RandomSearch):
        def save(self, checkpoint_path):
            super().save(checkpoint_path)
            raise KeyboardInterrupt

    ledger.trials.append(trial(2, 0.6))
    with pytest.raises(KeyboardInterrupt):
        ledger.commit(Dying())
    again = Ledger(tmp_path)
    assert [entry.number for entry in again.trials] == [1]
    assert again.searcher.exists()


def test_ledger_of_another_version_is_refused(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"version": 99}))
    with pytest.raises(CheckpointError, match="version must be 1; got 99"):
        Ledger(tmp_path)


def test_repeated_report_replaces_later_ones():
    entry = trial(1, 0.1, 0.2, 0.3, status="running")
    entry.add(Report(2, 0.25, 1.0))
    assert [(report.time, report.score) for report in entry.reports] == [(1, 0.1), (2, 0.25)]


def test_best_prefers_full_runs():
    trials = [trial(1, 0.5, 0.6), trial(2, 0.9, status="stopped"), trial(3, 0.7), trial(4, math.nan)]
    assert best_of(trials, "max").number == 3
    assert best_of(trials, "min").number == 1
    assert best_of(trials[1:2], "max").number == 2
    assert SearchResult(trials, "score", "max", 1.0).best.number == 3


def test_resumed_search_suggests_interrupted_trials_first(tmp_path):
    ledger = Ledger(tmp_path)
    recorder = recorder_of(ledger)
    first = RecordedSearcher(recorder)
    first.set_search_properties("score", "max", {})
    configs = [first.suggest(name) for name in ("a", "b", "c")]
    first.on_trial_complete("a", {"score": 1.0})
    ledger.trials[0].status = "ok"
    recorder.commit(ledger.trials[0])

    searcher = RandomSearch(seed=99)  # whose state is replaced
    resumed = recorder_of(Ledger(tmp_path), searcher)
    second = RecordedSearcher(resumed)
    second.set_search_properties("score", "max", {})
    assert [second.suggest(name) for name in ("d", "e")] == configs[1:]
    second.on_trial_complete("d", {"score": 2.0})
    assert searcher.scores == {"a": 1.0, "b": 2.0}  # the ids of the first session
    following = first.suggest("f")
    assert second.suggest("f") == following
    assert resumed.trial("f").number == 4


def test_unreadable_searcher_state_is_one_line(tmp_path):
    class Changed(RandomSearch):
        def restore(self, checkpoint_path):
            raise ValueError("a searcher's state is of version 3; got 2")

    first = RecordedSearcher(recorder_of(Ledger(tmp_path)))
    first.set_search_properties("score", "max", {})
    first.suggest("a")
    second = RecordedSearcher(recorder_of(Ledger(tmp_path), Changed()))
    with pytest.raises(UserError, match=r"this version can't resume the search: .* of version 3; got 2"):
        second.set_search_properties("score", "max", {})


def test_short_trial_that_ends_itself_is_a_full_run(tmp_path):
    times = {}

    class Listening(RandomSearch):
        def on_trial_complete(self, trial_id, result=None, error=False):
            times[trial_id] = result["training_iteration"]

    recorder = recorder_of(Ledger(tmp_path), Listening(), max_t=5, trial_time_limit=1e-9)
    search = RecordedSearcher(recorder)

    def end(name, reached, error=False, with_result=True, **values):
        result = {"score": 1.0, "training_iteration": reached}
        earlier = {**result, "training_iteration": 1}
        # Tune passes the report at which it stops a trial to on_trial_complete only.
        search.on_trial_result(name, earlier if name == "stopped" else result)
        recorder.trial(name).add(Report(reached, 1.0, 1.0, values))
        search.on_trial_complete(name, result if with_result and not error else None, error)

    for name in ("full", "short", "stopped", "stopped in a pause", "slow", "over its budget"):
        search.suggest(name)
    recorder.mark_stopped("stopped", {"training_iteration": 2})
    recorder.mark_stopped("stopped in a pause", {"training_iteration": 2})
    recorder.start("slow")
    assert recorder.overdue() == {"slow"}
    recorder.mark_timed_out("slow")
    end("full", 5)
    end("short", 2)  # its configuration has fewer epochs, or its patience ran out
    end("stopped", 2)
    end("stopped in a pause", 2, with_result=False)
    end("slow", 2, error=True)
    end("over its budget", 0, violation=0.1)
    stopped = {"stopped": 2, "stopped in a pause": 2, "slow": 2}
    assert times == {"full": 5, "short": 5, **stopped, "over its budget": 0}


def adapters(folder, searcher=None, scheduler=None, **settings):
    """Return the searcher, the scheduler and the recorder of a session, without Ray."""
    recorder = recorder_of(Ledger(folder), searcher, **settings)
    scheduler = RecordedScheduler(scheduler or make_scheduler("asha", 9), recorder)
    scheduler.set_search_properties("score", "max")
    return RecordedSearcher(recorder), scheduler, recorder


@pytest.mark.parametrize("bad", [None, "a word", [0.5], np.array([0.5])])
def test_report_without_a_number_ends_its_trial(tmp_path, bad):
    searcher = RandomSearch()
    search, scheduler, recorder = adapters(tmp_path, searcher)
    for name in "ab":
        search.suggest(name)
        trial = SimpleNamespace(trial_id=name, status="RUNNING")
        scheduler.on_trial_add(tune_controller(), trial)
        result = {"score": 0.5 if name == "a" else bad, "training_iteration": 1}
        decision = scheduler.on_trial_result(None, trial, result)
        recorder.report(name, result)
        recorder.keep_checkpoint(name, str(tmp_path / name), result)
        assert decision == ("CONTINUE" if name == "a" else "STOP")
        scheduler.on_trial_complete(None, trial, {**result, "done": True})
        search.on_trial_complete(name, {**result, "done": True})
        recorder.complete(name)
    good, faulty = Ledger(tmp_path).trials
    assert (good.status, faulty.status, faulty.score) == ("ok", "failed", None)
    assert faulty.error.startswith("the objective must report a number as 'score'; got ")
    assert "a word" not in faulty.error
    assert searcher.scores == {"a": 0.5, "b": None}


def test_further_results_have_to_be_numbers(tmp_path):
    search, _, recorder = adapters(tmp_path, extra_results=("loss", "size"))
    search.suggest("a")
    recorder.report("a", {"score": np.float32(0.5), "loss": np.int64(3), "training_iteration": 1})
    assert recorder.trial("a").values == {"loss": 3.0}
    assert recorder.is_faulty("a", {"score": 0.5, "loss": "three", "training_iteration": 2})


def test_nested_metric_is_recorded(tmp_path):
    recorder = Recorder(RandomSearch(), Ledger(tmp_path), TuneSettings(9, "eval/loss", extra_results=("eval/f1",)))
    RecordedSearcher(recorder).suggest("a")
    recorder.report("a", {"eval": {"loss": 0.5, "f1": 0.7}, "training_iteration": 1})
    recorder.keep_checkpoint("a", str(tmp_path / "a"), {"eval": {"loss": 0.5}, "training_iteration": 1})
    assert (recorder.trial("a").score, recorder.trial("a").values) == (0.5, {"eval/f1": 0.7})
    assert recorder.trial("a").checkpoint_result == {"eval/loss": 0.5, "training_iteration": 1}


@pytest.mark.parametrize("mode", ["min", "max"])
def test_infinite_scores_are_never_best(mode):
    trials = [trial(1, math.inf), trial(2, 0.5), trial(3, -math.inf), trial(4, math.nan)]
    assert best_of(trials, mode).number == 2
    assert best_of(trials[2:], mode) is None


@given(
    st.one_of(
        st.floats(),
        st.integers(),
        st.text(),
        st.none(),
        st.lists(st.floats()),
        st.booleans(),
        st.decimals(allow_nan=False),
    )
)
def test_searchers_and_recorder_judge_numbers_alike(value):
    for scalar in (value, np.array(value, dtype=object), [value]):
        assert repr(numbers.number(scalar)) == repr(tune_results.number(scalar))
        assert repr(numbers.finite(scalar)) == repr(tune_results.finite(scalar))


def test_own_end_is_done_and_a_stop_is_not(tmp_path):
    """To Ray Tune, trials that a scheduler stopped at their own reports are done, too."""
    seen = {}

    class Listening(RandomSearch):
        def on_trial_complete(self, trial_id, result=None, error=False):
            seen[trial_id] = result["done"], result["training_iteration"]

    search, _, recorder = adapters(tmp_path, Listening())
    search.suggest("own"), search.suggest("stopped")
    recorder.mark_stopped("stopped", {"training_iteration": 2})
    for name in ("own", "stopped"):
        search.on_trial_complete(name, {"score": 0.5, "training_iteration": 2, "done": True})
    assert seen == {"own": (True, 2), "stopped": (False, 2)}


def test_search_of_an_earlier_version_is_resumed(tmp_path):
    """Its ledger has no purpose, and configurations without marks."""
    entry = asdict(Trial(1, "a", {"x": 0.5, "shape": [2, 3]}, "ok", [Report(1, 0.5, 0.1)]))
    content = {"version": 1, "seconds": 3.0, "searcher": None, "trials": [entry]}
    (tmp_path / FILE).write_text(json.dumps(content))
    settings = TuneSettings(1, "loss", "min")
    result = tune(None, {}, settings, searcher=RandomSearch(), storage=tmp_path, resume=True)
    assert result.best.config == {"x": 0.5, "shape": [2, 3]}


def test_what_a_search_cannot_do_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"a folder of this machine or of a shared file system; got s3://bucket/search"):
        tune(None, {}, TuneSettings(1, "score"), searcher=RandomSearch(), storage="s3://bucket/search")
    batches = ConcurrencyLimiter(RandomSearch(), max_concurrent=2, batch=True)
    with pytest.raises(UserError, match=r"can't resume with ConcurrencyLimiter\(batch=True\)"):
        tune(None, {}, TuneSettings(1, "score"), searcher=batches, storage=tmp_path / "search")
    assert not list(tmp_path.iterdir())


def test_limit_of_the_users_limiter_is_kept(tmp_path):
    limiter = ConcurrencyLimiter(RandomSearch(), max_concurrent=2)
    search, _, _ = adapters(tmp_path, limiter)
    search.set_max_concurrency(9)
    assert limiter.max_concurrent == 2
    assert [search.suggest(name) is None for name in "abc"] == [False, False, True]


def test_time_budget_may_be_the_only_limit():
    assert TuneSettings(-1, "score", time_budget=5.0).n_trials == math.inf
    with pytest.raises(ValueError, match="trials can be -1 only with a time_budget"):
        TuneSettings(-1, "score")
    with pytest.raises(ValueError, match=r"trials must be a whole number; got 2\.5"):
        TuneSettings(2.5, "score")
    with pytest.raises(ValueError, match="trials must be at least 1; got -2"):
        TuneSettings(-2, "score", time_budget=5.0)


def test_resources_may_be_named_as_ray_tune_names_them():
    assert TuneSettings(1, "score", resources={"cpu": 2, "gpu": 0.5}).resources == {"CPU": 2, "GPU": 0.5}
    with pytest.raises(ValueError, match="resources must name each kind once; got cpu, CPU"):
        TuneSettings(1, "score", resources={"cpu": 2, "CPU": 1})


def test_searcher_of_any_kind_that_cannot_be_restored_is_one_line(tmp_path):
    class Changed(RandomSearch):
        def restore(self, checkpoint_path):
            raise KeyError("seed")

    first, _, _ = adapters(tmp_path)
    first.suggest("a")
    second, _, _ = adapters(tmp_path, Changed())
    with pytest.raises(UserError, match="can't resume the search: KeyError: 'seed'"):
        second.set_search_properties("score", "max", {})


def test_ended_trials_are_serialised_once(tmp_path, monkeypatch):
    """Otherwise the commits of a search of n trials would take time in proportion to n**2."""
    written = []
    monkeypatch.setattr(ledger_module, "asdict", lambda trial: written.append(trial.number) or asdict(trial))
    ledger = Ledger(tmp_path)
    ledger.trials = [trial(number, 0.5) for number in range(1, 4)]
    ledger.trials[2].status = "running"
    for _ in range(3):
        ledger.commit()
    assert sorted(written) == [1, 2, 3, 3, 3]
    assert Ledger(tmp_path).trials == ledger.trials


def tune_controller():
    """Return the part of Tune's controller that the adapter needs; ASHA reads nothing of it."""
    return SimpleNamespace(_tune_controller=SimpleNamespace(_maybe_reuse_cached_actor=lambda trial: False))


def test_scheduler_learns_of_earlier_trials(tmp_path):
    """The cutoff of a rung is the same after a resumption."""
    ledger = Ledger(tmp_path)
    ledger.trials = [trial(number, number / 10, number / 10) for number in range(1, 9)]
    recorder = recorder_of(ledger, max_t=9)
    scheduler = RecordedScheduler(make_scheduler("asha", 9, 1, 2.0), recorder)
    scheduler.set_search_properties("score", "max")
    poor, good = (SimpleNamespace(trial_id=name, status="RUNNING") for name in ("poor", "good"))
    for entry in (poor, good):
        scheduler.on_trial_add(tune_controller(), entry)
    assert scheduler.on_trial_result(None, poor, {"score": 0.3, "training_iteration": 1}) == "STOP"
    assert scheduler.on_trial_result(None, good, {"score": 0.8, "training_iteration": 1}) == "CONTINUE"
    assert recorder._stopped == {"poor"}


def test_full_length_is_not_a_stop(tmp_path):
    recorder = recorder_of(Ledger(tmp_path), max_t=3)
    scheduler = RecordedScheduler(make_scheduler("asha", 3), recorder)
    scheduler.set_search_properties("score", "max")
    entry = SimpleNamespace(trial_id="a", status="RUNNING")
    scheduler.on_trial_add(tune_controller(), entry)
    assert scheduler.on_trial_result(None, entry, {"score": 0.3, "training_iteration": 3}) == "STOP"
    assert not recorder._stopped


def test_median_never_pauses():
    live = SimpleNamespace(get_live_trials=lambda: [SimpleNamespace(status="PENDING")])
    scheduler = make_scheduler("median")
    scheduler.set_search_properties("score", "max")
    entry = SimpleNamespace(trial_id="a", status="RUNNING")
    scheduler.on_trial_add(live, entry)

    class Hashable(SimpleNamespace):
        __hash__ = object.__hash__

    entry = Hashable(trial_id="a")
    assert scheduler.on_trial_result(live, entry, {"score": 0.3, "training_iteration": 1}) == "CONTINUE"


def test_unknown_scheduler_is_refused():
    with pytest.raises(ValueError, match="asha, median or none; got 'hyperband'"):
        make_scheduler("hyperband")


def test_search_without_concurrent_trials_is_refused(tmp_path):
    with pytest.raises(ValueError, match="concurrency must be at least 1; got 0"):
        search(tmp_path / "none", trials=1, concurrency=0)
    assert not (tmp_path / "none").exists()


def test_settings_report_every_fault_at_once():
    with pytest.raises(ValueError, match=r"trials must be at least 1; got 0; .*'min'; got 'up'; max_failures"):
        TuneSettings(0, "score", mode="up", max_failures=-1)
    with pytest.raises(ValueError, match=r"max_t must be a number above 0; got 0; time_budget .* got nan"):
        TuneSettings(1, "score", max_t=0, time_budget=math.nan)


def test_unwritable_folder_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UnavailableError, match="can't be written: File exists"):
        Ledger(tmp_path / "taken").commit()
    with pytest.raises(UnavailableError, match="can't be written: Not a directory"):
        Ledger(tmp_path / "taken" / "search").commit()


@pytest.fixture
def tiny_disk(tmp_path):
    """Folder on a file system of 64 KiB."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if made.returncode:
        pytest.skip("file systems can't be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_full_disk_leaves_last_commit_intact(tiny_disk):
    ledger = Ledger(tiny_disk / "search")
    ledger.trials = [Trial(1, "a", {"x": 0.5})]
    ledger.commit()
    ledger.trials.append(Trial(2, "b", {"x": "y" * 100_000}))
    with pytest.raises(UnavailableError, match="no disk space left"):
        ledger.commit()
    assert [trial.number for trial in Ledger(tiny_disk / "search").trials] == [1]


def test_savings_count_early_stops_only():
    def ended(number, status, epochs, error=""):
        reports = [Report(epoch, 0.5, 2.0 * epoch) for epoch in range(1, epochs + 1)]
        return Trial(number, str(number), {}, status, reports, error=error, full=9)

    trials = [ended(1, "ok", 9), ended(2, "stopped", 1), ended(3, "stopped", 3), ended(4, "failed", 2)]
    saved = savings([*trials, ended(5, "stopped", 2, "timed out after 60 s"), ended(6, "running", 1)])
    assert (saved.ran, saved.spared, saved.seconds) == (17, 14, 28.0)
    assert saved.share == pytest.approx(14 / 31)
    assert savings([]).share == 0.0


def test_search_without_a_score_has_no_best():
    with pytest.raises(UserError, match="none of 2 trials has a score to compare: none reported a number"):
        _ = SearchResult([trial(1, math.nan), trial(2, math.nan)], "score", "max", 1.0).best


def test_time_that_ends_before_a_report_is_said():
    waiting, reported = Trial(1, "a", {}), Trial(2, "b", {}, reports=[Report(1.0, 0.5, 1.0, {})])
    assert nothing_reported([waiting], 10.0) == (
        "time_budget: 10 s ended before any of 1 trials reported; starting workers takes seconds, which count"
    )
    assert nothing_reported([waiting, reported], 10.0) == nothing_reported([waiting], None) == ""
    assert "10 s ended before a trial started; starting workers" in nothing_reported([], 10.0)
