"""``kdh-ray submit`` with a fake cluster: what it sends and prints, and its exit code."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import AsyncIterator
from enum import Enum
from pathlib import Path
from typing import Any

import pytest

from kdh_ray.cli import submit
from kdh_ray.cli.main import main
from kdh_ray.cluster import submission


class Status(Enum):
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    def is_terminal(self) -> bool:
        return True


class Cluster:
    """A job client that runs nothing."""

    def __init__(self, status: Status = Status.SUCCEEDED, lost: bool = False) -> None:
        self.status, self.lost = status, lost
        self.submitted: dict[str, Any] = {}

    def submit_job(self, entrypoint: str, runtime_env: dict[str, Any]) -> str:
        folder = Path(runtime_env["working_dir"])
        self.submitted = {"entrypoint": entrypoint, "files": sorted(file.name for file in folder.iterdir())}
        return "job_1"

    async def tail_job_logs(self, job: str) -> AsyncIterator[str]:
        yield "epoch 1\n"
        if self.lost:
            raise RuntimeError("WebSocket connection closed unexpectedly")

    def get_job_status(self, job: str) -> Status:
        return self.status


@pytest.fixture
def config(tmp_path: Path) -> str:
    (tmp_path / "notes.csv").write_text("patients' texts stay here")
    file = tmp_path / "my.yaml"
    file.write_text("name: my\n")
    return str(file)


def submitted(monkeypatch: pytest.MonkeyPatch, cluster: Cluster, *arguments: str) -> int:
    monkeypatch.setattr(submission, "connect", lambda address: cluster)
    return main(["submit", *arguments, "--out", "/mnt/my", "--address", "http://127.0.0.1:1"])


def test_only_the_configuration_is_sent(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Cluster()
    assert submitted(monkeypatch, cluster, config, "--tune", "--set", "tune.space={a: {low: 1}}") == 0
    assert cluster.submitted["files"] == ["my.yaml"]
    assert cluster.submitted["entrypoint"] == "kdh-ray tune my.yaml --out /mnt/my --set 'tune.space={a: {low: 1}}'"
    output = capsys.readouterr()
    assert output.out == "epoch 1\n"
    assert "ray job stop --address http://127.0.0.1:1 job_1" in output.err
    assert "job_1: succeeded" in output.err


def test_address_may_come_from_the_environment(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)  # where no cluster.yaml is
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "http://127.0.0.1:2")
    monkeypatch.setattr(submission, "connect", lambda address: Cluster())
    assert main(["submit", config, "--out", "/mnt/my"]) == 0
    hints = capsys.readouterr().err
    assert "ray job stop --address http://127.0.0.1:2 job_1" in hints
    assert "cluster.yaml" not in hints


def test_failed_job_exits_with_1(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert submitted(monkeypatch, Cluster(Status.FAILED), config) == 1


def test_lost_head_gives_a_hint_to_resume(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert submitted(monkeypatch, Cluster(lost=True), config, "--tune") == 2
    assert "to resume, run the same command with --resume" in capsys.readouterr().err


def test_working_dir_is_sent(config: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    assert submitted(monkeypatch, cluster, config, "--working-dir", str(Path(config).parent)) == 0
    assert cluster.submitted["files"] == ["my.yaml", "notes.csv"]


def test_missing_token_is_refused(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    assert main(["submit", config, "--out", "/mnt/my", "--address", "http://127.0.0.1:1"]) == 2
    assert "~/.ray/auth_token is missing" in capsys.readouterr().err


def test_missing_cluster_file_is_refused(
    config: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert main(["submit", config, "--out", "/mnt/my", "--cluster", "none.yaml"]) == 2
    assert "give the file of `ray up` as --cluster" in capsys.readouterr().err


def test_unreachable_head_is_one_line(
    config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    cluster, ssh = tmp_path / "cluster.yaml", tmp_path / "ssh"
    cluster.write_text("cluster_name: x\n")
    ssh.write_text("#!/bin/sh\necho Connection refused; exit 1\n")  # stands for `ray dashboard`
    ssh.chmod(0o755)
    monkeypatch.setattr(submission.sys, "executable", str(ssh))
    assert main(["submit", config, "--out", "/mnt/my", "--cluster", str(cluster)]) == 2
    assert capsys.readouterr().err == f"kdh-ray: {cluster}: no SSH tunnel to the head: Connection refused\n"


def test_resume_is_passed_to_tune() -> None:
    parser = ArgumentParser()
    submit.add_arguments(parser)
    args: Namespace = parser.parse_args(["my.yaml", "--tune", "--out", "/mnt/my", "--resume"])
    assert submit.entrypoint(args, "my.yaml") == "kdh-ray tune my.yaml --out /mnt/my --resume"
