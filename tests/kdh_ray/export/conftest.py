"""Checkpoints and their exports, made once per session: tracing a graph takes seconds."""

from __future__ import annotations

from pathlib import Path

import pytest
from exports import make_checkpoint

from kdh_ray.data import Corpus


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A classifier with segments."""
    return make_checkpoint(tmp_path_factory.mktemp("export") / "checkpoint", encoder)


@pytest.fixture(scope="session")
def whole_checkpoint(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    """A classifier that reads texts whole."""
    return make_checkpoint(tmp_path_factory.mktemp("whole") / "checkpoint", encoder, segments=False, rule="none")


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, corpus: Corpus) -> Path:
    """The float32 export of ``checkpoint``."""
    return _export(tmp_path_factory, checkpoint, corpus)


@pytest.fixture(scope="session")
def whole_exported(tmp_path_factory: pytest.TempPathFactory, whole_checkpoint: Path, corpus: Corpus) -> Path:
    """The float32 export of ``whole_checkpoint``."""
    return _export(tmp_path_factory, whole_checkpoint, corpus)


def _export(factory: pytest.TempPathFactory, checkpoint: Path, corpus: Corpus) -> Path:
    from kdh_ray.export import export_onnx

    folder = factory.mktemp("exported") / "student"
    split = corpus.splits["validation"]
    export_onnx(checkpoint, folder, split.raw(), split.targets)
    return folder
