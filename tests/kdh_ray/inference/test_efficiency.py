"""Costs of a classifier, measured on the tiny encoder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdh_ray.config import DataConfig
from kdh_ray.data import corpus_from_config
from kdh_ray.errors import ConfigError, UnavailableError
from kdh_ray.inference.efficiency import FORMATS, energy, measure, measure_here
from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer

DATA = DataConfig(corpus="synthetic", documents=60, max_tokens=24)


@pytest.fixture(scope="module")
def checkpoint(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    labels = list(corpus_from_config(DATA).labels)
    folder = tmp_path_factory.mktemp("models") / "checkpoint"
    card = Card(labels, [0.3] * len(labels), max_tokens=24, segments=False, corpus={})
    save_checkpoint(folder, build_classifier(str(encoder), len(labels), False, 0.0), load_tokenizer(str(encoder)), card)
    return folder


def test_fewer_bits_take_less_room_and_the_same_arithmetic(checkpoint: Path) -> None:
    found = {name: measure_here(checkpoint, DATA, name, threads=1, documents=8) for name in FORMATS}
    sizes = {name: result["disk_bytes"] for name, result in found.items()}
    assert sizes["bfloat16"] < 0.7 * sizes["float32"]
    assert sizes["int8"] < sizes["float32"]
    assert len({result["flops_per_document"] for result in found.values()}) == 1
    for result in found.values():
        assert 0 < result["latency_p50_ms"] <= result["latency_p95_ms"]
        assert result["inference_documents_per_second"] > 0
        assert result["peak_memory_bytes"] > result["disk_bytes"]
        assert 0 <= result["test_f1_micro"] <= 1


def test_arithmetic_is_counted_as_by_hand(checkpoint: Path) -> None:
    # A layer of width h with feed-forward width f multiplies 4 h^2 + 2 h f numbers per token, and 2 t h in attention
    # over t tokens; then comes the head. Each product is two operations.
    from kdh_ray.data.tokens import tokenize

    split = corpus_from_config(DATA).splits["test"]
    windows = tokenize(split.raw(), load_tokenizer(str(checkpoint))).windows(24, 32)
    layers, h, f, labels = 4, 32, 64, 10
    longest = np.maximum.reduceat(windows.lengths, np.unique(windows.documents, return_index=True)[1])
    padded = longest[windows.documents]  # a document's windows are read in one pass
    by_window = [2 * (layers * t * (4 * h * h + 2 * h * f + 2 * t * h) + h * labels) for t in padded.tolist()]
    by_hand = np.bincount(windows.documents, by_window)
    counted = measure_here(checkpoint, DATA, "float32", threads=1, documents=1)["flops_per_document"]
    assert min(by_hand) < counted < max(by_hand)
    assert counted == pytest.approx(sum(by_hand) / len(by_hand), rel=0.1)


def test_energy_is_read_from_packages_alone(tmp_path: Path) -> None:
    assert energy(tmp_path / "nowhere") is None
    assert energy(tmp_path) is None
    for zone, microjoules in (("intel-rapl:0", 2_000_000), ("intel-rapl:1", 500_000), ("intel-rapl:0:0", 7)):
        (tmp_path / zone).mkdir()
        (tmp_path / zone / "energy_uj").write_text(f"{microjoules}\n")
    assert energy(tmp_path) == 2.5


def test_unknown_formats_are_refused(checkpoint: Path) -> None:
    with pytest.raises(ConfigError, match="float32, bfloat16, int8; got 'int4'"):
        measure(checkpoint, DATA, "int4")


@pytest.mark.slow
def test_a_process_of_its_own_measures_or_says_why_not(checkpoint: Path, tmp_path: Path) -> None:
    result = measure(checkpoint, DATA, "int8", documents=4)
    assert result["number_format"] == "int8"
    assert result["latency_p50_ms"] > 0
    with pytest.raises(UnavailableError, match="is not a checkpoint"):
        measure(tmp_path, DATA)
