"""Checks of a cluster's machines, and the number of trials and workers that they have room for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdh_ray.cluster import nodes, session
from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError


def machine(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": resources}


def test_fit_machine_has_no_faults(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / ".marker").touch()
    assert nodes.machine_faults(str(tmp_path / ".marker"), [str(encoder)]) == ""
    assert [file.name for file in tmp_path.iterdir()] == [".marker"]


def test_every_fault_of_a_machine_is_named(tmp_path: Path) -> None:
    faults = nodes.machine_faults(str(tmp_path / "run" / ".marker"), ["/mnt/encoder"])
    assert f"does not see {tmp_path}/run, which has to be on storage that all machines share" in faults
    assert "encoder '/mnt/encoder': no such folder" in faults


def test_room_follows_the_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = [machine(CPU=4.0), machine(CPU=2.0, GPU=1.0), machine()]
    monkeypatch.setattr(nodes, "alive_nodes", lambda: cluster)
    monkeypatch.setattr(nodes, "ROOM_SECONDS", 0.0)
    room = nodes.Room({"CPU": 2.0, "GPU": 0.0})
    assert room() == 3
    cluster.append(machine(CPU=2.0))
    assert room() == 4
    del cluster[:]
    assert room() == 1  # waits for a machine
    assert nodes.Room({"CPU": 1.0, "GPU": 0.5}).count() == 0


def test_trial_that_fits_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "alive_nodes", lambda: [machine(CPU=4.0), machine(CPU=2.0)])
    with pytest.raises(UnavailableError, match="the largest machine has"):
        nodes.Room({"CPU": 8.0}).require()


@pytest.mark.parametrize(
    ("cluster", "settings", "each"),
    [
        ([machine(CPU=8.0)], {"workers": 3}, (2, 0)),
        ([machine(), machine(CPU=8.0)], {"workers": 2}, (4, 0)),  # a head that runs no work
        ([machine(CPU=8.0), machine(CPU=4.0)], {"workers": 2}, (4, 0)),
        ([machine(CPU=32.0), machine(CPU=8.0, GPU=1.0)], {}, (8, 1)),  # the GPU's machine has fewer CPUs
        ([machine(CPU=4.0)], {"autoscaling": True, "gpus_per_worker": 1.0}, (4, 1)),  # machines with GPUs will join
        ([machine()], {"autoscaling": True}, (1, 0)),
    ],
)
def test_workers_share_what_machines_have(
    cluster: list[dict[str, Any]], settings: dict[str, Any], each: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (nodes, session):
        monkeypatch.setattr(module, "alive_nodes", lambda: cluster)
    assert session.worker_resources(JobConfig(**settings)) == each


def test_workers_without_room_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (nodes, session):
        monkeypatch.setattr(module, "alive_nodes", lambda: [machine(CPU=8.0), machine(CPU=4.0, GPU=1.0)])
    with pytest.raises(UnavailableError, match="room for 1 with 6 CPU each; got 2"):
        session.worker_resources(JobConfig(workers=2, cpus_per_worker=6, gpus_per_worker=0))
    with pytest.raises(UnavailableError, match="room for 0 with 6 CPU and 1 GPU each; got 1"):
        session.worker_resources(JobConfig(cpus_per_worker=6))


def test_search_starts_trials_as_room_allows(tmp_path: Path) -> None:
    from cheap_search import RandomSearch

    from kdh_ray.tuning.adapters import RecordedSearcher
    from kdh_ray.tuning.ledger import Ledger
    from kdh_ray.tuning.recorder import Recorder
    from kdh_ray.tuning.settings import TuneSettings

    room = [2]
    settings = TuneSettings(trials=4, metric="score")
    search = RecordedSearcher(Recorder(RandomSearch(), Ledger(tmp_path), settings, limit=lambda: room[0]))
    assert search.suggest("a")
    assert search.suggest("b")
    assert search.suggest("c") is None
    room[0] = 3  # a machine joined
    assert search.suggest("c")
    room[0] = 1  # two were lost; running trials continue
    search.on_trial_complete("a", {"score": 1.0})
    search.on_trial_complete("b", {"score": 1.0})
    assert search.suggest("d") is None
    search.on_trial_complete("c", {"score": 1.0})
    assert search.suggest("d")
