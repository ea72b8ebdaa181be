from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdh_ray.data import Corpus
from kdh_ray.data.tokens import tokenize
from kdh_ray.inference.forward import forward
from kdh_ray.inference.logits import Logits, mean_logits
from kdh_ray.models.checkpoint import Card, build_classifier, load_card, load_checkpoint, save_card, save_checkpoint
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.training.teacher_logits import teacher_logits


@pytest.fixture
def forward_passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one at each forward pass of any classifier."""
    calls: list[int] = []
    forward = Classifier.forward

    def counted(self, input_ids, *more):  # type: ignore[no-untyped-def]
        calls.append(len(input_ids))
        return forward(self, input_ids, *more)

    monkeypatch.setattr(Classifier, "forward", counted)
    return calls


@pytest.fixture
def teacher(encoder: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "teacher"
    card = Card(["alpha", "beta", "gamma"], [0.5] * 3, 48, True, {})
    save_checkpoint(folder, build_classifier(str(encoder), 3, True, 0.0), load_tokenizer(str(encoder)), card)
    return folder


def ask(teacher: Path, corpus: Corpus, cache: Path, precision: str = "float32") -> Logits:
    return teacher_logits(teacher, corpus.splits["train"].annotated(), cache, precision=precision)


def test_a_second_distillation_runs_no_forward_pass(
    teacher: Path, corpus: Corpus, tmp_path: Path, forward_passes: list[int]
) -> None:
    first = ask(teacher, corpus, tmp_path / "cache")
    assert sum(forward_passes) == 48
    second = ask(teacher, corpus, tmp_path / "cache")
    assert sum(forward_passes) == 48
    np.testing.assert_array_equal(first.documents, second.documents)
    assert isinstance(second.documents, np.memmap)


def test_a_changed_teacher_is_asked_again(
    teacher: Path, corpus: Corpus, tmp_path: Path, forward_passes: list[int]
) -> None:
    before = ask(teacher, corpus, tmp_path / "cache")
    model, card = load_checkpoint(teacher)
    with torch.no_grad():
        model.document_head.bias.add_(1.0)
    save_checkpoint(teacher, model, load_tokenizer(str(teacher)), card)
    after = ask(teacher, corpus, tmp_path / "cache")
    assert sum(forward_passes) == 96
    np.testing.assert_allclose(after.documents, before.documents + 1.0, atol=1e-5)


@pytest.mark.parametrize("name", ["documents.npy", "segments.npy", "offsets.npy", "pooled.npy"])
@pytest.mark.parametrize("left", [None, 0, 200])
def test_what_is_left_of_an_entry_is_made_again(
    teacher: Path, corpus: Corpus, tmp_path: Path, forward_passes: list[int], name: str, left: int | None
) -> None:
    before = ask(teacher, corpus, tmp_path / "cache")
    whole = {each: np.array(getattr(before, each)) for each in ("documents", "segments", "pooled")}
    (file,) = (tmp_path / "cache").glob(f"logits/*/{name}")
    if left is None:
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:left])
    for _ in range(2):
        after = ask(teacher, corpus, tmp_path / "cache")
        for each, expected in whole.items():
            np.testing.assert_array_equal(getattr(after, each), expected)
    assert sum(forward_passes) == 96  # once more, and the second time not


@pytest.mark.parametrize("change", ["max_tokens", "corpus", "tokenizer", "precision"])
def test_a_stale_entry_is_never_read(
    teacher: Path, corpus: Corpus, tmp_path: Path, forward_passes: list[int], change: str
) -> None:
    ask(teacher, corpus, tmp_path / "cache")
    if change == "max_tokens":
        save_card(teacher, replace(load_card(teacher), max_tokens=12))
        ask(teacher, corpus, tmp_path / "cache")
    elif change == "precision":
        ask(teacher, corpus, tmp_path / "cache", precision="bfloat16")
    elif change == "corpus":
        order = np.arange(48)[::-1]
        ask(teacher, Corpus("tiny", corpus.labels, {"train": corpus.splits["train"].take(order)}), tmp_path / "cache")
    else:
        tokenizer = load_tokenizer(str(teacher))
        tokenizer.add_tokens(["zeta"])
        tokenizer.save_pretrained(teacher / "encoder")
        ask(teacher, corpus, tmp_path / "cache")
    assert sum(forward_passes) >= 96  # windows of 12 tokens are more than documents


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    def member(value: float, segments: int) -> Logits:
        rows = list(np.full((2, segments, 3), value, dtype=np.float32))
        return Logits(np.full((2, 3), value, np.float32), rows, np.full((2, 4), value, np.float32))

    mean = mean_logits([member(1.0, 3), member(3.0, 2)])
    assert mean.segments is not None
    for array in (mean.documents, mean.segments, mean.pooled):
        np.testing.assert_array_equal(array, 2.0)
    assert [segments.shape for segments in mean.segments] == [(2, 3), (2, 3)]


def test_logits_of_cut_off_segments_are_missing(teacher: Path, corpus: Corpus) -> None:
    split = corpus.splits["train"]
    model, _ = load_checkpoint(teacher)
    tokens = tokenize(split.annotated(), load_tokenizer(str(teacher))).cut(8)
    logits = forward(model, tokens)
    assert logits.segments is not None
    assert any(len(segments) < 3 for segments in logits.segments)
    assert np.isfinite(logits.documents).all()
