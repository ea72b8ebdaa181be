"""Runs on Ray Train workers, in one local Ray for all tests."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kdh_ray import run
from kdh_ray.cluster.session import ray_session
from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.events import Event, EventReader
from kdh_ray.jobs.ray_train import ctrl_c_as_interrupt
from kdh_ray.results import load_runs
from kdh_ray.run_folder import RunFolder

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def dashboard() -> Iterator[str]:
    """The dashboard of a local Ray with two CPUs, on any machine."""
    import ray

    with ray_session(JobConfig(), cpus=2) as url:
        assert ray.is_initialized()
        yield url
    assert not ray.is_initialized()


def tree(encoder: Path, workers: int = 1, **stage: Any) -> dict[str, Any]:
    stage = {"epochs": 2, "batch_size": 16, "learning_rate": 1e-3, "dropout": 0.0, **stage}
    return {
        "name": "tiny",
        "data": {"corpus": "synthetic", "documents": 160, "max_tokens": 24, "segments": False},
        "stages": {
            "teacher": {"start": str(encoder), **stage},
            "student": {"start": "teacher", "layers": 2, "teachers": ["teacher"], **stage},
        },
        "job": {"workers": workers, "cpus_per_worker": 1},
        "baselines": {"tfidf": False},
    }


def test_two_workers_learn_what_one_does(dashboard: str, encoder: Path, tmp_path: Path) -> None:
    one = run(tree(encoder), tmp_path / "one", local=True).set_index("stage")
    two = run(tree(encoder, workers=2), tmp_path / "two").set_index("stage")
    assert list(two["workers"]) == [2, 2]
    for stage in ("teacher", "student"):
        for metric in ("test_average_precision_macro", "validation_f1_micro"):
            assert two.loc[stage, metric] == pytest.approx(one.loc[stage, metric], abs=0.02)


def test_killed_worker_is_replaced(dashboard: str, encoder: Path, tmp_path: Path) -> None:
    killed: list[int] = []

    def kill(event: Event) -> None:
        if event["kind"] == "start":
            workers.append(event["pid"])
        if event["kind"] == "epoch" and event["stage"] == "student" and not killed:
            killed.append(workers[-1])
            os.kill(workers[-1], signal.SIGKILL)

    workers: list[int] = []
    frame = run(tree(encoder, epochs=30), tmp_path, listener=kill)
    assert len(killed) == 1
    assert list(frame["status"]) == ["ok", "ok"]
    epochs = [e["epoch"] for e in EventReader(RunFolder(tmp_path).events, from_end=False).new() if e["kind"] == "epoch"]
    assert epochs[:30] == list(range(1, 31))  # the teacher, once
    assert sorted(set(epochs[30:])) == list(range(1, 31))
    assert len(epochs) <= 62  # only epochs that were running or not yet saved are repeated


def test_ctrl_c_interrupts_and_keeps_its_handler(dashboard: str, encoder: Path, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if event["kind"] == "epoch" and event["stage"] == "student" and event["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(tree(encoder, epochs=15), tmp_path, listener=interrupt)
    assert signal.getsignal(signal.SIGINT) is before
    assert not (tmp_path / "stages" / "student" / "result.json").exists()
    frame = run(tree(encoder, epochs=15), tmp_path)
    assert frame["status"].tolist() == ["ok", "ok"]
    assert signal.getsignal(signal.SIGINT) is before  # Ray Train leaves its own handler behind


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_swallowed_ctrl_c_still_interrupts(number: signal.Signals) -> None:
    """Ray Train's handler does nothing if the workers are done."""

    def train() -> None:
        with ctrl_c_as_interrupt():
            signal.signal(number, lambda *_: None)
            signal.raise_signal(number)

    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        with pytest.raises(KeyboardInterrupt):
            train()
        assert signal.getsignal(signal.SIGINT) is before[signal.SIGINT]
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def test_user_error_of_worker_is_raised_here(dashboard: str, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="diverged"):
        run(tree(encoder, head_multiplier=1e38), tmp_path / "run")
    assert load_runs(tmp_path / "run")["status"].tolist() == ["failed"]


def test_relative_paths_start_at_the_driver(
    dashboard: str, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(encoder, tmp_path / "encoders" / "tiny")
    monkeypatch.chdir(tmp_path)
    assert run({**tree(Path("encoders/tiny")), "cache": "cache"}, "run")["status"].tolist() == ["ok", "ok"]
    assert any((tmp_path / "cache").iterdir())


def test_too_many_workers_are_refused(dashboard: str, encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="room for 2 with 1 CPU each; got 3"):
        run(tree(encoder, workers=3), tmp_path)


def test_dashboard_listens_on_this_machine_only(dashboard: str) -> None:
    assert dashboard.startswith("http://127.0.0.1:")
