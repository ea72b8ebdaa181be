"""The verb from start to Ctrl-C."""

from __future__ import annotations

import json
import os
import socket
import ssl
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import torch
from kdh_runtime.serving.address import Address, open_socket
from serving_process import TOKEN, interrupt, make_certificate, post, served

from kdh_ray.cli.main import main
from kdh_ray.data.reading import Reading
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.inference.classifier import load_classifier
from kdh_ray.models.checkpoint import Card, build_classifier, load_card, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer

CANARY = "Ottilie Quendelmann"
PROGRAM = "kdh_ray.cli.main"
TEXTS = ["The cell shows alpha. Growth in patients.", "early disease .", ""]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    torch.manual_seed(1)
    folder = tmp_path_factory.mktemp("served") / "checkpoint"
    labels = ["alpha", "beta", "gamma"]
    card = Card(labels, [0.0, 0.5, 1.0], max_tokens=16, segments=True, corpus={}).reads(Reading(16, Segmenter(), 4))
    save_checkpoint(folder, build_classifier(str(encoder), 3, True, 0.0), load_tokenizer(str(encoder)), card)
    return folder


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDH_RAY_TOKEN", raising=False)


def test_a_port_in_use_is_one_line(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_socket(Address(port=0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", str(checkpoint), "--local", "--port", str(port)]) == 2
    expected = f"kdh-ray: port {port} of 127.0.0.1 is in use; choose another with --port\n"
    assert capsys.readouterr().err == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--port", "70000"], "--port must be from 0 to 65535; got 70000"),
        (["--max-texts", "0"], "--max-texts must be 1 or more; got 0"),
        (["--host", "203.0.113.7"], "needs a token"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], expected: str, checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", str(checkpoint), *arguments]) == 2
    error = capsys.readouterr().err
    assert expected in error
    assert error.count("\n") == 1


def test_a_folder_that_is_no_checkpoint_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", str(tmp_path)]) == 2
    assert "is not a checkpoint" in capsys.readouterr().err


def expected(checkpoint: Path) -> list[dict[str, float]]:
    prediction = load_classifier(checkpoint).predict(TEXTS)
    rows = prediction.probabilities.round(6).tolist()
    return [dict(zip(prediction.label_names, row, strict=True)) for row in rows]


def check_service(process: Any, url: str, checkpoint: Path) -> None:
    """The service answers as the classifier does, and ends without a word when it is interrupted."""
    status, answer = post(url, {"texts": TEXTS, "evidence": True})
    assert status == 200
    for text, prediction, probabilities in zip(TEXTS, answer["predictions"], expected(checkpoint), strict=True):
        assert prediction["probabilities"] == pytest.approx(probabilities, abs=1e-3)
        assert ("alpha" in prediction["labels"]) == bool(text.strip())
        assert "gamma" not in prediction["labels"]
    begin, end = answer["predictions"][0]["evidence"]["alpha"]
    assert TEXTS[0][begin:end] in ("The cell shows alpha.", "Growth in patients.")
    assert post(url, {"texts": [CANARY, 3]})[0] == 422
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"{url}/{CANARY.split()[0]}?note={CANARY.split()[1]}")
    code, output, errors = interrupt(process)
    assert code in (0, 130)
    assert errors == ""
    assert output == ""


def test_a_local_service_from_start_to_ctrl_c(checkpoint: Path) -> None:
    with served(PROGRAM, checkpoint, "--local") as (process, url):
        assert urllib.request.urlopen(url).read().startswith(b"<!DOCTYPE html>")
        about = json.load(urllib.request.urlopen(f"{url}/labels"))
        assert about["fingerprint"] == load_card(checkpoint).fingerprint
        assert [label["threshold"] for label in about["labels"]] == [0.0, 0.5, 1.0]
        check_service(process, url, checkpoint)


def test_a_body_over_the_limit_is_answered(checkpoint: Path) -> None:
    with served(PROGRAM, checkpoint, "--local", "--max-body", "1") as (process, url):
        assert post(url, {"texts": ["x" * 5_000_000]})[0] == 413
        assert post(url, {"texts": ["alpha"]})[0] == 200
        assert interrupt(process)[0] in (0, 130)


def test_an_open_service_asks_for_its_token(checkpoint: Path) -> None:
    with served(PROGRAM, checkpoint, "--local", "--host", "0.0.0.0", env={"KDH_RAY_TOKEN": TOKEN}) as (process, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert post(url, {"texts": ["alpha"]})[0] == 401
        assert post(url, {"texts": ["alpha"]}, Authorization=f"Bearer {TOKEN}")[0] == 200
        code, _, errors = interrupt(process)
    assert code in (0, 130)
    assert errors.count("\n") == 1
    assert "has the token can send texts, which travel unencrypted" in errors
    assert TOKEN not in errors


def test_a_certificate_makes_it_https(checkpoint: Path, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    files = ["--tls-certificate", str(certificate[0]), "--tls-key", str(certificate[1])]
    with served(PROGRAM, checkpoint, "--local", *files) as (process, url):
        context = ssl.create_default_context(cafile=str(certificate[0]))
        with urllib.request.urlopen(f"{url}/healthz", context=context) as answer:
            assert json.load(answer) == {"status": "ok"}
        assert interrupt(process)[0] in (0, 130)


def test_garbage_on_the_socket_leaves_no_trace(checkpoint: Path) -> None:
    with served(PROGRAM, checkpoint, "--local") as (process, url):
        with socket.create_connection(("127.0.0.1", int(url.rsplit(":", 1)[1]))) as connection:
            connection.sendall(f"{CANARY} \xff\x00\r\n\r\n".encode())
            assert b"400" in connection.recv(100)
        assert interrupt(process) == (0, "", "")


def descendants(process: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    files = Path(f"/proc/{process}/task").glob("*/children")
    own = [int(child) for file in files for child in file.read_text().split()]
    return [*own, *(pid for child in own for pid in descendants(child))]


@pytest.mark.ray
@pytest.mark.slow
def test_ray_serve_answers_as_the_classifier_does(checkpoint: Path) -> None:
    pytest.importorskip("grpc_reflection", reason="Ray Serve is not installed: pip install 'kdh-ray[serve]'")
    with served(PROGRAM, checkpoint) as (process, url):
        assert {os.getpriority(os.PRIO_PROCESS, pid) for pid in descendants(process.pid)} == {os.nice(0)}
        check_service(process, url, checkpoint)
    logs = Path("/tmp/ray/session_latest/logs")
    assert not [file for file in logs.rglob("*") if file.is_file() and CANARY.encode() in file.read_bytes()]
