"""The life of a real cluster: up, used by searches, grown, damaged twice, and down. Each test continues the last."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from cluster_user import DOCUMENTS, WAIT, Cluster, ended, eventually, output_of

from kdh_ray import run
from kdh_ray.results import load_runs

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

TRIALS = 6
LONG = 100  # epochs of a trial that runs long enough to be interrupted


KNOCK = """
import sys
from pathlib import Path
import grpc
ca, *own = ((Path.home() / ".ray/tls" / name).read_bytes() for name in ("ca.crt", *sys.argv[2:]))
channel = grpc.secure_channel(sys.argv[1], grpc.ssl_channel_credentials(ca, *own))
try:
    grpc.channel_ready_future(channel).result(timeout=20)
    print("welcome")
except grpc.FutureTimeoutError:
    print("refused")
"""


def tree(encoder: str = "/mnt/encoder", epochs: int = 4, **sections: Any) -> dict[str, Any]:
    """Return the configuration of a search that takes seconds: one stage, its learning rate and dropout."""
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
    """Return the numbers of the trials that have a row."""
    frame = load_runs(folder)
    return sorted(int(number) for number in frame[frame["kind"] == "trial"]["trial"])


def test_cluster_refuses_wrong_tokens(cluster: Cluster) -> None:
    ask = (
        "import urllib.request, urllib.error\n"
        "try: print(urllib.request.urlopen('http://127.0.0.1:8265/api/jobs/').status)\n"
        "except urllib.error.HTTPError as error: print(error.code)"
    )
    head, worker = cluster.lab.machines[:2]
    assert head.run("python3", "-c", ask).split() == ["401"]
    assert "refused" in worker.run("python3", "-c", ask.replace("127.0.0.1", head.address), code=1)
    command = [sys.executable, "-m", "kdh_ray.cli.main", "submit", "cluster.yaml", "--out", "/mnt/none"]
    for key in ("RAY_AUTH_TOKEN=other", "RAY_AUTH_MODE=disabled"):
        assert "takes no jobs from here" in cluster.lab.laptop.run("env", key, *command, code=2)


def test_unfit_machine_is_named_before_the_start(cluster: Cluster) -> None:
    output = output_of(cluster.submit(tree(), "private", "--set", "name=private", "--out", "/tmp/private"), code=1)
    assert "worker1 (10.77.0.11): does not see /tmp/private" in output
    assert not (cluster.lab.shared / "private").exists()


def test_search_uses_machines_that_join_late(cluster: Cluster) -> None:
    trials = 20  # twice as long as a machine takes to join
    job = cluster.submit(tree(epochs=LONG), "grown", "--tune", "--set", f"tune.trials={trials}")
    eventually("trials run on two machines", lambda: hosts(cluster, "grown") >= {"head", "worker1"} or ended(job))
    cluster.fill_in(workers=2)
    cluster.up("--no-restart")
    eventually("the machine that joined gets trials", lambda: "worker2" in hosts(cluster, "grown") or ended(job))
    assert "succeeded" in output_of(job)
    (cluster.home / "kdh-ray" / "runs" / "grown").mkdir(parents=True)
    cluster.lab.laptop.run("ray", "rsync-down", "cluster.yaml", "/mnt/grown/", "runs/grown/")
    assert rows_of(cluster.home / "kdh-ray" / "runs" / "grown") == list(range(1, trials + 1))


def hosts(cluster: Cluster, out: str) -> set[str]:
    """Return the machines on which trials of a search have reported."""
    return {trial["worker"].partition(":")[0] for trial in cluster.trials(out)} - {""}


def test_two_machines_learn_what_one_does(cluster: Cluster, tmp_path: Path) -> None:
    cluster.joined(3)
    output_of(cluster.submit(tree(tune={}), "two", "--set", "job.workers=2"))
    two = load_runs(cluster.lab.shared / "two").iloc[0]
    assert two["workers"] == 2  # one per machine, since each has one CPU
    one = run(tree(str(cluster.lab.shared / "encoder"), tune={}), tmp_path, local=True).iloc[0]
    for metric in ("test_average_precision_macro", "validation_f1_micro"):
        assert two[metric] == pytest.approx(one[metric], abs=0.03)


def saved(cluster: Cluster, out: str, worker: str = "") -> dict[str, list[Any]]:
    """Return the reports of running trials (on ``worker``) up to the epoch of their last checkpoint, by trial id."""
    return {
        trial["id"]: trial["reports"][: int(trial["checkpoint_result"]["training_iteration"])]
        for trial in cluster.trials(out)
        if trial["status"] == "running" and trial["worker"].startswith(worker) and trial["checkpoint"]
    }


def assert_resumed(cluster: Cluster, out: str, lost: dict[str, list[Any]]) -> None:
    """Check that every trial ran to its end and has a row, and that ``lost`` ones resumed from their checkpoints."""
    trials = {trial["id"]: trial for trial in cluster.trials(out)}
    assert {trial["status"] for trial in trials.values()} == {"ok"}
    assert {len(trial["reports"]) for trial in trials.values()} == {LONG}
    for key, reports in lost.items():  # reports hold seconds, which no second training repeats
        assert trials[key]["reports"][: len(reports)] == reports
    assert rows_of(cluster.lab.shared / out) == list(range(1, TRIALS + 1))


def test_search_survives_a_lost_machine(cluster: Cluster) -> None:
    job = cluster.submit(tree(epochs=LONG), "hit", "--tune")
    lost = eventually("a trial on worker1 is saved", lambda: saved(cluster, "hit", "worker1:") or ended(job))
    cluster.lab.machines[1].crash()
    output_of(job)
    cluster.lab.machines[1].boot()
    assert_resumed(cluster, "hit", lost)
    assert {t["worker"].partition(":")[0] for t in cluster.trials("hit") if t["id"] in lost} <= {"head", "worker2"}


def test_search_resumes_after_a_lost_head(cluster: Cluster) -> None:
    job = cluster.submit(tree(epochs=LONG), "headless", "--tune")

    def underway() -> bool:
        return any(t["status"] == "ok" for t in cluster.trials("headless")) and bool(saved(cluster, "headless"))

    eventually("a trial has ended, and one is saved", lambda: underway() or ended(job))
    before = {trial["id"]: trial for trial in cluster.trials("headless") if trial["status"] == "ok"}
    lost = saved(cluster, "headless")
    cluster.lab.machines[0].crash()
    assert "to resume, run the same command with --resume" in output_of(job, code=2)
    cluster.lab.machines[0].boot()
    cluster.up()
    cluster.joined(3)
    output_of(cluster.submit(tree(epochs=LONG), "headless", "--tune", "--resume"))
    assert_resumed(cluster, "headless", lost)
    after = {trial["id"]: trial for trial in cluster.trials("headless")}
    assert {key: after[key] for key in before} == before  # not run again


def test_scripts_of_the_checkout_run_there(cluster: Cluster) -> None:
    script = ["python", "-m", "experiments.dataset_sizes", "--preset", "smoke", "--cells", "*/small/0/teacher"]
    with cluster.dashboard():
        submit = (
            "env RAY_AUTH_MODE=token RAY_API_SERVER_ADDRESS=http://localhost:8265 ray job submit --working-dir . --"
        )
        cluster.lab.laptop.run(*submit.split(), *script, "--out", "/mnt/sizes", timeout=WAIT)
    frame = load_runs(cluster.lab.shared / "sizes")
    assert frame["experiment"].tolist() == ["dataset_sizes"]


def test_tls_refuses_clients_without_certificate(cluster: Cluster) -> None:
    cluster.down()
    head, worker = cluster.lab.machines[:2]
    cluster.lab.laptop.run("deploy/tls/certificates.sh", head.address, worker.address)
    cluster.fill_in(workers=1, tls=True)
    cluster.up()
    cluster.joined(2)
    output_of(cluster.submit(tree(tune={}), "encrypted", "--set", "job.workers=2"))
    assert load_runs(cluster.lab.shared / "encrypted")["workers"].tolist() == [2]
    store = f"{head.address}:6379"
    assert worker.run("python3", "-c", KNOCK, store, "node.key", "node.crt").split()[-1] == "welcome"
    assert worker.run("python3", "-c", KNOCK, store).split()[-1] == "refused"


def test_ray_down_leaves_nothing(cluster: Cluster) -> None:
    cluster.down()
    for machine in cluster.lab.machines:
        assert machine.listening() == [f"{machine.address}:22"]
        machine.run("bash", "-c", "~/kdh-ray/deploy/node.sh remove")
        left = machine.run("bash", "-c", "ls -d ~/.kdh-ray ~/.ray ~/ray_* /tmp/ray* 2> /dev/null || true")
        assert left.split() == []
