"""An exported classifier, made as users make it, for the runtime to read."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "kdh_ray" / "support"))
sys.path.insert(0, str(Path(__file__).parent / "support"))


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 export of an untrained classifier over a two-layer BERT with the vocabulary of English letters."""
    from exports import make_checkpoint, make_letters_encoder

    from kdh_ray.data.corpus import Texts
    from kdh_ray.export import export_onnx

    place = tmp_path_factory.mktemp("runtime")
    checkpoint = make_checkpoint(place / "checkpoint", make_letters_encoder(place / "encoder"))
    export_onnx(checkpoint, place / "student", Texts.numbered(["The cell shows growth. It is early."]), int8=True)
    return place / "student"
