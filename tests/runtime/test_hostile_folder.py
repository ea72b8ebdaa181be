"""A folder from somebody else, with digests that fit: it is refused in a line, and nothing of it is executed."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from pathlib import Path
from typing import Any

import kdh_runtime
import onnx
import pytest


@pytest.fixture
def hostile(folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder, tmp_path / "hostile"))


def signed(folder: Path) -> Path:
    """Write digests that fit the files."""
    files = sorted(file for file in folder.iterdir() if file.name != "SHA256SUMS")
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files]
    (folder / "SHA256SUMS").write_text("".join(lines))
    return folder


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(kdh_runtime.FolderError) as caught:
        kdh_runtime.load(folder, threads=1)
    assert len(str(caught.value).splitlines()) == 1
    assert all(word in str(caught.value) for word in words)


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return os.mkdir, (str(self.file),)


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "config.json"])
def test_a_pickle_is_not_loaded(name: str, hostile: Path, tmp_path: Path) -> None:
    (hostile / name).write_bytes(pickle.dumps(Bomb(tmp_path / "exploded")))
    refused(signed(hostile), str(hostile))
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("engine", "../../bin/engine"),
        ("segmenter", {"rule": "../../etc/passwd", "language": "en", "version": 1}),
        ("segmenter", {"rule": "sentences", "language": "../../etc/passwd", "version": 1}),
        ("segmenter", {"rule": "sentences", "language": "en", "version": 2}),
        ("labels", []),
        ("labels", "abc"),
        ("labels", ["a", "a", "a"]),
        ("labels", [1, 2, 3]),
        ("thresholds", [0.5]),
        ("thresholds", [0.5, float("nan"), 0.5]),
        ("thresholds", [0.5, 2, 0.5]),
        ("max_tokens", -1),
        ("max_tokens", "16"),
        ("windows", {"overlap": -4, "combine": "max"}),
        ("windows", {"overlap": 4, "combine": "__import__"}),
        ("pad_id", -1),
        ("fingerprint", ["a"]),
        ("format", 99),
    ],
)
def test_a_configuration_that_breaks_a_rule_is_refused(key: str, value: object, hostile: Path) -> None:
    file = hostile / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {key: value}))
    refused(signed(hostile), "config.json")


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"[" * 200_000, b"\xff", b'{"format": 1}'])
def test_a_configuration_that_is_none_is_refused(content: bytes, hostile: Path) -> None:
    (hostile / "config.json").write_bytes(content)
    refused(signed(hostile), "config.json")


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "..", "sub/model.onnx"])
def test_digests_of_other_folders_are_refused(name: str, hostile: Path) -> None:
    with (hostile / "SHA256SUMS").open("a") as stream:
        stream.write(f"{'0' * 64}  {name}\n")
    refused(hostile)


def test_a_device_is_no_file(hostile: Path) -> None:
    (hostile / "model.onnx").unlink()
    (hostile / "model.onnx").symlink_to("/dev/zero")
    refused(hostile, "must be a file")


def test_weights_outside_the_folder_are_not_read(hostile: Path) -> None:
    (hostile.parent / "secret").write_bytes(bytes(4 * 10**6))
    graph = onnx.load(hostile / "model.onnx")
    tensor = next(each for each in graph.graph.initializer if each.data_type == onnx.TensorProto.FLOAT and each.dims)
    tensor.raw_data = b""
    onnx.external_data_helper.set_external_data(tensor, "../secret")
    for field in ("raw_data", "float_data"):
        tensor.ClearField(field)
    (hostile / "model.onnx").write_bytes(graph.SerializeToString())
    refused(signed(hostile), "the graph can't be read")
