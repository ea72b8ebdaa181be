"""The runtime verifies its files, refuses what is no text, serves threads and prints JSON lines."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kdh_runtime
import numpy as np
import pytest
from kdh_runtime.command import main

RUNTIME = Path(kdh_runtime.__file__).parents[1]


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "student"))


@pytest.fixture(scope="module")
def classifier(folder: Path) -> kdh_runtime.Classifier:
    return kdh_runtime.load(folder, threads=1)


def command(*arguments: str, lines: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "kdh_runtime.command", *arguments],
        input=lines, capture_output=True, env={**os.environ, "PYTHONPATH": str(RUNTIME)}, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json", "README.md"])
def test_changed_file_is_refused(copied: Path, name: str) -> None:
    with (copied / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(kdh_runtime.FolderError, match=f"{name}: SHA-256 must be"):
        kdh_runtime.load(copied)


def test_missing_file_is_refused(copied: Path) -> None:
    (copied / "model.onnx").unlink()
    with pytest.raises(kdh_runtime.FolderError, match="can't be read"):
        kdh_runtime.load(copied)


def test_foreign_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(kdh_runtime.FolderError, match="not an exported classifier"):
        kdh_runtime.load(tmp_path)


def test_list_of_digests_must_cover_the_model(copied: Path) -> None:
    sums = copied / "SHA256SUMS"
    sums.write_text("".join(line for line in sums.read_text().splitlines(True) if "model.onnx" not in line))
    with pytest.raises(kdh_runtime.FolderError, match=r"it lacks model\.onnx"):
        kdh_runtime.load(copied)


def test_digests_stay_in_the_folder(copied: Path) -> None:
    with (copied / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'0' * 64}  ../secret\n")
    with pytest.raises(kdh_runtime.FolderError, match="of its own folder"):
        kdh_runtime.load(copied)


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("one text", "put it into a list"),
        ([None], "got NoneType at position 0"),
        (None, "sequence of texts, .* got NoneType"),
        ({"secret": 1}, "sequence of texts, .* got dict"),
        ({"secret"}, "sequence of texts, .* got set"),
        (np.array([["secret"]]), "sequence of texts, .* got ndarray"),
        (["fine", 3], "got int at position 1"),
        (["fine", "secret \ud800"], "text 1 holds half a surrogate pair"),
    ],
)
def test_what_is_no_text_is_refused(classifier: kdh_runtime.Classifier, texts: object, message: str) -> None:
    with pytest.raises(kdh_runtime.TextError, match=message) as caught:
        classifier.predict(texts)  # type: ignore[arg-type]
    assert "secret" not in str(caught.value)


def test_missing_engine_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)  # as where it is not installed
    with pytest.raises(kdh_runtime.FolderError, match=r"needs onnxruntime: pip install onnxruntime$"):
        kdh_runtime.load(folder)


def test_kdh_ray_brings_the_commands_along() -> None:
    own, whole = (tomllib.loads((folder / "pyproject.toml").read_text()) for folder in (RUNTIME, RUNTIME.parent))
    assert own["project"]["scripts"].items() <= whole["project"]["scripts"].items()


def test_a_probability_at_its_threshold_is_a_label(folder: Path) -> None:
    classifier, texts = kdh_runtime.load(folder, threads=1), ["The cell grows."]
    thresholds = classifier.predict(texts).probabilities[0]
    for factor, labels in ((1.0, list(classifier.labels)), (1.000001, [])):
        classifier.thresholds = factor * thresholds
        assert classifier.predict(texts).labels == [labels]


def test_threads_share_a_classifier(classifier: kdh_runtime.Classifier) -> None:
    texts = [f"The cell number {number} grows. " * (1 + number % 5) for number in range(24)]
    expected = classifier.predict(texts).probabilities
    with ThreadPoolExecutor(8) as pool:
        rows = list(pool.map(lambda text: classifier.predict([text]).probabilities[0], texts * 4))
    np.testing.assert_allclose(rows, np.tile(expected, (4, 1)), atol=1e-3)  # int8: rounding near a half


def test_very_long_text_is_read_to_its_end(classifier: kdh_runtime.Classifier) -> None:
    text = "The cell grows. " * 500
    longer = classifier.predict([text, text + "Q!Z? Zebra."])
    assert not np.array_equal(longer.logits[0], longer.logits[1])


def test_command_prints_a_json_line_per_text(folder: Path, classifier: kdh_runtime.Classifier) -> None:
    lines = "The cell grows.\n\nÉarly disease. It spreads.\r\n".encode()
    result = command(str(folder), "--evidence", "--threads", "1", lines=lines)
    assert result.returncode == 0, result.stderr
    answers = [json.loads(line) for line in result.stdout.splitlines()]
    expected = classifier.predict(["The cell grows.", "", "Éarly disease. It spreads."])
    assert [answer["labels"] for answer in answers] == expected.labels
    spans = [{label: tuple(span) for label, span in answer["evidence"].items()} for answer in answers]
    assert spans == expected.evidence
    for answer, row in zip(answers, expected.probabilities, strict=True):
        np.testing.assert_allclose(list(answer["probabilities"].values()), row, atol=1e-5)


def test_command_reports_bad_input_in_a_line(folder: Path, tmp_path: Path) -> None:
    for arguments, lines in (
        ((str(tmp_path),), b"x\n"),
        ((str(folder),), b"\xff\n"),
        ((str(folder), "--threads", "0"), b""),
    ):
        result = command(*arguments, lines=lines)
        assert result.returncode == 2
        assert len(result.stderr.splitlines()) == 1


def test_output_that_is_no_number_is_an_error(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    classifier = kdh_runtime.load(folder, threads=1)
    graph = classifier._graph
    monkeypatch.setattr(classifier, "_graph", lambda inputs: [np.full_like(array, np.nan) for array in graph(inputs)])
    monkeypatch.setattr("kdh_runtime.command.load", lambda *_, **__: classifier)
    monkeypatch.setattr("sys.stdin", io.StringIO("The cell grows.\n"))
    assert main([str(folder), "--audit", str(tmp_path / "audit")]) == 2
    assert capsys.readouterr() == ("", "kdh-predict: the classifier's output is not a number\n")
    assert not (tmp_path / "audit").exists()


def test_audit_records_counts_and_no_text(folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "audit.jsonl"
    for _ in range(2):
        command(
            str(folder), "--batch-size", "2", "--audit", str(file), lines=b"Canary one.\nCanary two.\nCanary three.\n"
        )
    content = file.read_text()
    assert "Canary" not in content
    entries = [json.loads(line) for line in content.splitlines()]
    assert [entry["ids"] for entry in entries] == [[1, 2], [3], [1, 2], [3]]
    assert [entry["texts"] for entry in entries] == [2, 1, 2, 1]
    assert {entry["model"] for entry in entries} == {json.loads((folder / "config.json").read_text())["fingerprint"]}
    assert oct(file.stat().st_mode & 0o777) == "0o600"
