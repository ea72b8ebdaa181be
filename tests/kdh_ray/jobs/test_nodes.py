"""What a machine of a cluster may lack, how many trials a cluster has room for, and that searches follow it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kdh_ray.errors import UnavailableError
from kdh_ray.jobs import nodes


def machine(**resources: float) -> dict[str, Any]:
    return {"Alive": True, "Resources": resources}


def test_a_machine_that_shares_the_folder_and_has_the_encoder_lacks_nothing(encoder: Path, tmp_path: Path) -> None:
    (tmp_path / ".marker").touch()
    assert nodes.lacks(str(tmp_path / ".marker"), [str(encoder)]) == ""
    assert [file.name for file in tmp_path.iterdir()] == [".marker"]


def test_all_that_a_machine_lacks_is_told(tmp_path: Path) -> None:
    said = nodes.lacks(str(tmp_path / "run" / ".marker"), ["/mnt/encoder"])
    assert f"does not see {tmp_path}/run, which has to be on storage that all machines share" in said
    assert "encoder '/mnt/encoder': no such folder" in said


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


def test_a_trial_that_fits_nowhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "alive_nodes", lambda: [machine(CPU=4.0), machine(CPU=2.0)])
    with pytest.raises(UnavailableError, match="the largest machine has"):
        nodes.Room({"CPU": 8.0}).require()


def test_a_search_hands_out_as_many_trials_as_there_is_room_for(tmp_path: Path) -> None:
    from cheap_search import RandomSearch

    from kdh_ray.jobs.tuning.ledger import Ledger
    from kdh_ray.jobs.tuning.recording import RecordedSearch

    room = [2]
    search = RecordedSearch(RandomSearch(), Ledger(tmp_path), limit=lambda: room[0])
    assert search.suggest("a")
    assert search.suggest("b")
    assert search.suggest("c") is None
    room[0] = 3  # a machine joined
    assert search.suggest("c")
    room[0] = 1  # two were lost; what runs goes on
    search.on_trial_complete("a", {"score": 1.0})
    search.on_trial_complete("b", {"score": 1.0})
    assert search.suggest("d") is None
    search.on_trial_complete("c", {"score": 1.0})
    assert search.suggest("d")
