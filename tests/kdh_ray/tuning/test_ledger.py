"""What a search keeps on disk, and how it hands it back to searchers and schedulers."""

import json
import math
import os
import shutil
import subprocess
from dataclasses import asdict
from types import SimpleNamespace

import pytest
from cheap_search import RandomSearch, search
from filelock import FileLock
from ray.tune import TuneError

from kdh_ray.errors import CheckpointError, UnavailableError, UserError
from kdh_ray.tuning import ledger as ledger_module
from kdh_ray.tuning.ledger import FILE, Ledger
from kdh_ray.tuning.recorder import RecordedScheduler, RecordedSearch
from kdh_ray.tuning.session import Search, _fault, make_scheduler
from kdh_ray.tuning.trials import Report, Trial, best_of, savings


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
    assert again.seconds >= ledger._spent


def test_one_search_at_a_time_in_a_folder(tmp_path):
    with FileLock(tmp_path / ".lock"), pytest.raises(UnavailableError, match="another run is writing here"):
        search(tmp_path.parent, 2, storage=tmp_path)


def test_objective_without_its_metric_is_one_line():
    told = _fault(TuneError("Traceback\nValueError: Trial returned a result which did not include the specified"
                            " metric(s) `score` that `tune.TuneConfig()` expects."), "score")  # fmt: skip
    assert isinstance(told, UserError)
    assert str(told) == "the objective must report 'score'; a report came without it"


def test_one_searcher_state_is_kept(tmp_path):
    ledger = Ledger(tmp_path)
    for _ in range(3):
        ledger.commit(RandomSearch())
    assert len(list(tmp_path.glob("searcher-*"))) == 1


def test_interrupted_commit_leaves_the_one_before(tmp_path):
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


def test_foreign_ledger_is_refused(tmp_path):
    (tmp_path / FILE).write_text(json.dumps({"version": 99}))
    with pytest.raises(CheckpointError, match="version must be 1; got 99"):
        Ledger(tmp_path)


def test_report_after_resumption_replaces_later_ones():
    entry = trial(1, 0.1, 0.2, 0.3, status="running")
    entry.add(Report(2, 0.25, 1.0))
    assert [(report.time, report.score) for report in entry.reports] == [(1, 0.1), (2, 0.25)]


def test_best_prefers_trials_that_ran_to_their_end():
    trials = [trial(1, 0.5, 0.6), trial(2, 0.9, status="stopped"), trial(3, 0.7), trial(4, math.nan)]
    assert best_of(trials, "max").number == 3
    assert best_of(trials, "min").number == 1
    assert best_of(trials[1:2], "max").number == 2
    assert Search(trials, "score", "max", 1.0).best.number == 3


def test_resumed_search_hands_out_running_trials_first(tmp_path):
    ledger = Ledger(tmp_path)
    first = RecordedSearch(RandomSearch(), ledger)
    first.set_search_properties("score", "max", {})
    configs = [first.suggest(name) for name in ("a", "b", "c")]
    first.on_trial_complete("a", {"score": 1.0})
    ledger.trials[0].status = "ok"
    first.commit(ledger.trials[0])

    inner = RandomSearch(seed=99)  # whose state is replaced
    again = RecordedSearch(inner, Ledger(tmp_path))
    again.set_search_properties("score", "max", {})
    assert [again.suggest(name) for name in ("d", "e")] == configs[1:]
    again.on_trial_complete("d", {"score": 2.0})
    assert inner.told == {"a": 1.0, "b": 2.0}
    following = first.suggest("f")
    assert again.suggest("f") == following
    assert again.trial("f").number == 4


def test_search_of_another_version_is_one_line(tmp_path):
    class Changed(RandomSearch):
        def restore(self, checkpoint_path):
            raise ValueError("a searcher's state is of version 3; got 2")

    first = RecordedSearch(RandomSearch(), Ledger(tmp_path))
    first.set_search_properties("score", "max", {})
    first.suggest("a")
    with pytest.raises(UserError, match=r"can't be taken up by this version: .* of version 3; got 2"):
        RecordedSearch(Changed(), Ledger(tmp_path)).set_search_properties("score", "max", {})


def test_a_short_trial_that_came_to_its_end_is_a_full_run(tmp_path):
    heard = {}

    class Listening(RandomSearch):
        def on_trial_complete(self, trial_id, result=None, error=False):
            heard[trial_id] = result["training_iteration"]

    search = RecordedSearch(Listening(), Ledger(tmp_path), whole=("training_iteration", 5))
    search.stopped, search.timed_out = {"stopped", "stopped in a pause"}, {"slow"}

    def end(name, reached, error=False, told=True, **values):
        search.suggest(name)
        result = {"score": 1.0, "training_iteration": reached}
        earlier = {**result, "training_iteration": 1}  # Tune tells of the report at which a trial is stopped once only
        search.on_trial_result(name, earlier if name == "stopped" else result)
        search.trial(name).add(Report(reached, 1.0, 1.0, values))
        search.on_trial_complete(name, result if told and not error else None, error)

    end("whole", 5)
    end("short", 2)  # has fewer epochs, or the patience to see that more are of no use
    end("stopped", 2)
    end("stopped in a pause", 2, told=False)
    end("slow", 2, error=True)
    end("over its budget", 0, violation=0.1)
    stopped = {"stopped": 2, "stopped in a pause": 2, "slow": 2}
    assert heard == {"whole": 5, "short": 5, **stopped, "over its budget": 0}


def test_ended_trials_are_put_into_words_once(tmp_path, monkeypatch):
    """A long search would spend its time on writing down what it wrote down before."""
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
    """As much of Tune's as a scheduler that doesn't look at it needs."""
    return SimpleNamespace(_tune_controller=SimpleNamespace(_maybe_reuse_cached_actor=lambda trial: False))


def test_scheduler_hears_of_earlier_trials_again(tmp_path):
    """A rung's cutoff after a resumption is the one before."""
    ledger = Ledger(tmp_path)
    ledger.trials = [trial(number, number / 10, number / 10) for number in range(1, 9)]
    scheduler = RecordedScheduler(make_scheduler("asha", 9, 1, 2.0), ledger, "score", "training_iteration", 9)
    scheduler.set_search_properties("score", "max")
    poor, good = (SimpleNamespace(trial_id=name, status="RUNNING") for name in ("poor", "good"))
    for entry in (poor, good):
        scheduler.on_trial_add(tune_controller(), entry)
    assert scheduler.on_trial_result(None, poor, {"score": 0.3, "training_iteration": 1}) == "STOP"
    assert scheduler.on_trial_result(None, good, {"score": 0.8, "training_iteration": 1}) == "CONTINUE"
    assert scheduler.stopped == {"poor"}


def test_full_length_is_not_a_stop():
    scheduler = RecordedScheduler(
        make_scheduler("asha", 3), SimpleNamespace(trials=[]), "score", "training_iteration", 3
    )
    scheduler.set_search_properties("score", "max")
    entry = SimpleNamespace(trial_id="a", status="RUNNING")
    scheduler.on_trial_add(tune_controller(), entry)
    assert scheduler.on_trial_result(None, entry, {"score": 0.3, "training_iteration": 3}) == "STOP"
    assert not scheduler.stopped


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


def test_search_without_a_trial_at_a_time_is_refused(tmp_path):
    with pytest.raises(ValueError, match="concurrency must be at least 1; got 0"):
        search(tmp_path / "none", trials=1, concurrency=0)
    assert not (tmp_path / "none").exists()


def test_place_that_cant_be_written_is_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(UnavailableError, match="can't be written: File exists"):
        Ledger(tmp_path / "taken").commit()
    with pytest.raises(UnavailableError, match="can't be written: Not a directory"):
        Ledger(tmp_path / "taken" / "search").commit()


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 64 KiB."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    made = subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], capture_output=True)
    if made.returncode:
        pytest.skip("file systems can't be mounted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_full_disk_keeps_the_last_commit(tiny_disk):
    ledger = Ledger(tiny_disk / "search")
    ledger.trials = [Trial(1, "a", {"x": 0.5})]
    ledger.commit()
    ledger.trials.append(Trial(2, "b", {"x": "y" * 100_000}))
    with pytest.raises(UnavailableError, match="no disk space left"):
        ledger.commit()
    assert [trial.number for trial in Ledger(tiny_disk / "search").trials] == [1]


def test_savings_count_what_the_scheduler_stopped():
    def ended(number, status, epochs, error=""):
        reports = [Report(epoch, 0.5, 2.0 * epoch) for epoch in range(1, epochs + 1)]
        return Trial(number, str(number), {}, status, reports, error=error, full=9)

    trials = [ended(1, "ok", 9), ended(2, "stopped", 1), ended(3, "stopped", 3), ended(4, "failed", 2)]
    saved = savings([*trials, ended(5, "stopped", 2, "timed out after 60 s"), ended(6, "running", 1)])
    assert (saved.ran, saved.spared, saved.seconds) == (17, 14, 28.0)
    assert saved.share == pytest.approx(14 / 31)
    assert savings([]).share == 0.0


def test_a_search_without_a_number_has_no_best():
    with pytest.raises(UserError, match="none of 2 trials gave a score to go by: none reported a number"):
        _ = Search([trial(1, math.nan), trial(2, math.nan)], "score", "max", 1.0).best
