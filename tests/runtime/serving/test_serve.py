"""``kdh-runtime serve`` from start to Ctrl-C, on an exported classifier."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path

import kdh_runtime
import pytest
from kdh_runtime.command import runtime_main
from serving_process import TOKEN, interrupt, post, served

CANARY = "Ottilie Quendelmann"
TEXTS = ["The cell shows growth. It is early.", "Early disease.", ""]


@pytest.fixture(autouse=True)
def _no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KDH_RAY_TOKEN", raising=False)


def test_service_answers_as_the_classifier_does(folder: Path, tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    expected = kdh_runtime.load(folder, threads=1).predict(TEXTS)
    with served("kdh_runtime", folder, "--threads", "1", "--audit", str(audit)) as (process, url):
        assert urllib.request.urlopen(url).read().startswith(b"<!DOCTYPE html>")
        labels = json.load(urllib.request.urlopen(f"{url}/labels"))
        status, answer = post(url, {"texts": TEXTS, "evidence": True})
        assert post(url, {"texts": [CANARY, 3]})[0] == 422
        code, output, errors = interrupt(process)
    assert (labels["name"], labels["fingerprint"]) == ("student of small", answer["fingerprint"])
    assert labels["reading"]["segmenter"] == {"rule": "sentences", "language": "en", "version": 1}
    assert status == 200
    assert [row["labels"] for row in answer["predictions"]] == expected.labels
    for row, found in zip(answer["predictions"], expected.evidence, strict=True):
        assert {label: tuple(span) for label, span in row["evidence"].items()} == found
    for row, probabilities in zip(answer["predictions"], expected.probabilities, strict=True):
        assert list(row["probabilities"].values()) == pytest.approx(probabilities, abs=1e-5)
    assert code in (0, 130)
    assert (output, errors) == ("", "")
    (line,) = audit.read_text().splitlines()
    assert json.loads(line)["user"] == "127.0.0.1"
    assert json.loads(line)["ids"] == [1, 2, 3]


def test_an_open_service_asks_for_its_token(folder: Path) -> None:
    with served("kdh_runtime", folder, "--host", "0.0.0.0", env={"KDH_RAY_TOKEN": TOKEN}) as (process, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert post(url, {"texts": ["alpha"]})[0] == 401
        assert post(url, {"texts": ["alpha"]}, Authorization=f"Bearer {TOKEN}")[0] == 200
        _, _, errors = interrupt(process)
    assert "which travel unencrypted" in errors
    assert TOKEN not in errors


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--host", "0.0.0.0"], "needs a token"),
        (["--port", "70000"], "--port must be from 0 to 65535; got 70000"),
        (["--threads", "0"], "--threads must be 1 or more; got 0"),
        (["--batch-size", "0"], "--batch-size must be 1 or more; got 0"),
        (["--audit", "/nowhere/audit.jsonl"], "--audit /nowhere/audit.jsonl can't be written"),
        (["--token-file", "/nowhere/token"], "the token can't be read"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], expected: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert runtime_main(["serve", str(folder), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("kdh-runtime: ")
    assert expected in error
    assert error.count("\n") == 1


def test_a_folder_that_is_no_export_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert runtime_main(["serve", str(tmp_path)]) == 2
    assert "is not an exported classifier" in capsys.readouterr().err
