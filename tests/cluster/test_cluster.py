"""One cluster's life, for real: up, searched on, grown, hit twice, and down. The tests go on from each other."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cluster_user import DOCUMENTS, WAIT, Cluster, eventually, output_of

from kdh_ray import run
from kdh_ray.results import load_runs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

TRIALS = 8


def tree(encoder: str = "/mnt/encoder", epochs: int = 12, **sections: Any) -> dict[str, Any]:
    """A search of seconds: one stage, its learning rate and dropout."""
    stage = {"start": encoder, "epochs": epochs, "batch_size": 16, "learning_rate": 1e-3, "dropout": 0.0}
    return {
        "name": "small",
        "precision": "float32",
        "data": {"corpus": "synthetic", "documents": DOCUMENTS, "max_tokens": 32, "segments": False},
        "stages": {"teacher": stage},
        "tune": {
            "stage": "teacher", "trials": TRIALS, "scheduler": "none", "searcher": "pso-plain", "particles": 4,
            "space": {"learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}, "dropout": {"low": 0.0, "high": 0.3}},
        },
        "job": {"cpus_per_worker": 1},
        "baselines": {"tfidf": False},
        **sections,
    }  # fmt: skip


def rows_of(folder: Path) -> list[int]:
    """Numbers of the trials that have a row."""
    frame = load_runs(folder)
    return sorted(int(number) for number in frame[frame["kind"] == "trial"]["trial"])


def test_nobody_gets_in_without_the_token(cluster: Cluster) -> None:
    ask = (
        "import urllib.request, urllib.error\n"
        "try: print(urllib.request.urlopen('http://127.0.0.1:8265/api/jobs/').status)\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )
    head, worker = cluster.lab.machines[:2]
    assert head.run("python3", "-c", ask).split() == ["401"]
    assert "refused" in worker.run("python3", "-c", ask.replace("127.0.0.1", head.address), code=1)
    command = [sys.executable, "-m", "kdh_ray.cli.main", "submit", "cluster.yaml", "--out", "/mnt/none"]
    assert "takes no jobs from here" in cluster.lab.laptop.run("env", "RAY_AUTH_TOKEN=other", *command, code=2)


def test_what_a_machine_lacks_is_said_before_the_start(cluster: Cluster) -> None:
    said = output_of(cluster.submit(tree(), "private", "--set", "name=private", "--out", "/tmp/private"), code=1)
    assert "worker1 (10.77.0.11): does not see /tmp/private" in said
    assert not (cluster.lab.shared / "private").exists()


def test_a_search_uses_several_machines_and_one_that_joins_late(cluster: Cluster) -> None:
    job = cluster.submit(tree(epochs=100), "grown", "--tune", "--set", f"tune.trials={3 * TRIALS}")
    eventually("trials run on two machines", lambda: hosts(cluster, "grown") >= {"head", "worker1"} or job.poll())
    cluster.fill_in(workers=2)
    cluster.up("--no-restart")
    output = output_of(job)
    assert "succeeded" in output
    assert hosts(cluster, "grown") == {"head", "worker1", "worker2"}
    (cluster.home / "kdh-ray" / "runs" / "grown").mkdir(parents=True)
    cluster.lab.laptop.run("ray", "rsync-down", "cluster.yaml", "/mnt/grown/", "runs/grown/")
    assert rows_of(cluster.home / "kdh-ray" / "runs" / "grown") == list(range(1, 3 * TRIALS + 1))


def hosts(cluster: Cluster, out: str) -> set[str]:
    """Machines on which trials of a search have reported."""
    return {trial["worker"].partition(":")[0] for trial in cluster.trials(out)} - {""}


def test_training_over_two_machines_gives_what_one_does(cluster: Cluster, tmp_path: Path) -> None:
    cluster.joined(3)
    output_of(cluster.submit(tree(epochs=4), "two", "--set", "job.workers=2"))
    two = load_runs(cluster.lab.shared / "two").iloc[0]
    assert two["workers"] == 2  # of one CPU each, as the machines are
    one = run(tree(str(cluster.lab.shared / "encoder"), epochs=4), tmp_path, local=True).iloc[0]
    for metric in ("test_average_precision_macro", "validation_f1_micro"):
        assert two[metric] == pytest.approx(one[metric], abs=0.03)


def test_a_search_outlives_a_machine(cluster: Cluster) -> None:
    job = cluster.submit(tree(epochs=40), "hit", "--tune")

    def underway() -> dict[str, int]:
        """Epochs after which trials on worker1 would go on."""
        return {
            trial["id"]: int(trial["checkpoint_result"]["training_iteration"])
            for trial in cluster.trials("hit")
            if trial["status"] == "running" and trial["worker"].startswith("worker1:") and trial["checkpoint"]
        }

    lost = eventually("a trial on worker1 is saved", lambda: {i: e for i, e in underway().items() if e >= 5})
    cluster.lab.machines[1].crash()

    def resumed() -> dict[str, int]:
        """Epochs at which lost trials were first seen elsewhere."""
        return {
            trial["id"]: len(trial["reports"])
            for trial in cluster.trials("hit")
            if trial["id"] in lost and trial["reports"] and not trial["worker"].startswith("worker1:")
        }

    seen = eventually("the trial goes on elsewhere", lambda: len(resumed()) == len(lost) and resumed())
    assert all(seen[trial] > lost[trial] for trial in lost)
    output_of(job)
    assert rows_of(cluster.lab.shared / "hit") == list(range(1, TRIALS + 1))
    assert {trial["status"] for trial in cluster.trials("hit")} == {"ok"}


def test_a_search_goes_on_after_its_head_was_lost(cluster: Cluster) -> None:
    job = cluster.submit(tree(epochs=40), "headless", "--tune")
    eventually("two trials end", lambda: sum(t["status"] == "ok" for t in cluster.trials("headless")) >= 2)
    before = {trial["id"]: trial for trial in cluster.trials("headless") if trial["status"] == "ok"}
    cluster.lab.machines[0].crash()
    assert "--resume goes on when it is back" in output_of(job, code=2)
    cluster.up()
    cluster.joined(3)
    output_of(cluster.submit(tree(epochs=40), "headless", "--tune", "--resume"))
    after = {trial["id"]: trial for trial in cluster.trials("headless")}
    assert rows_of(cluster.lab.shared / "headless") == list(range(1, TRIALS + 1))
    assert {key: after[key] for key in before} == before  # not run again


def test_ray_down_leaves_nothing(cluster: Cluster) -> None:
    cluster.lab.laptop.run("ray", "down", "-y", "cluster.yaml", timeout=WAIT)
    for machine in cluster.lab.machines:
        eventually(f"Ray ends on {machine.name}", lambda machine=machine: not machine.ray_processes())
        assert machine.listening() == [f"{machine.address}:22"]
        machine.run("bash", "-c", "~/kdh-ray/deploy/node.sh remove")
        left = machine.run("bash", "-c", "ls -d ~/.kdh-ray ~/.ray ~/ray_* /tmp/ray* 2> /dev/null || true")
        assert left.split() == []
