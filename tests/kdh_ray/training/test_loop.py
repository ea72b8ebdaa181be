from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from kdh_ray.config import LossConfig, StageConfig
from kdh_ray.data import Corpus
from kdh_ray.data.tokens import tokenize
from kdh_ray.errors import CheckpointError, UserError
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import tune_global
from kdh_ray.inference.forward import forward
from kdh_ray.inference.logits import Logits
from kdh_ray.models.checkpoint import build_classifier
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.training.examples import Examples
from kdh_ray.training.loop import HEAP_GROWTH, EpochReport, Hooks, Training

STAGE = StageConfig(epochs=4, batch_size=8, learning_rate=5e-3, head_multiplier=4, average=0.5)
LEARNING = StageConfig(epochs=12, batch_size=4, learning_rate=5e-3, head_multiplier=4)


class Interrupted(Exception):
    """Stands for a kill."""


def make(encoder: Path, dropout: float = 0.1) -> Classifier:
    torch.manual_seed(0)
    return build_classifier(str(encoder), 3, segments=True, dropout=dropout)


def documents(corpus: Corpus, encoder: Path, split: str, teacher: Logits | None = None) -> Examples:
    tokens = tokenize(corpus.splits[split].annotated(), load_tokenizer(str(encoder))).cut(48)
    return Examples.of(corpus.splits[split], tokens, teacher)


def train(corpus: Corpus, encoder: Path, stage: StageConfig = STAGE, **options: object) -> Training:
    parts = (documents(corpus, encoder, split) for split in ("train", "validation"))
    training = Training(make(encoder, stage.dropout), *parts, stage, seed=3, **options)  # type: ignore[arg-type]
    training.run()
    return training


def weights(training: Training) -> dict[str, torch.Tensor]:
    return training.classifier.state_dict()


def test_learns(corpus: Corpus, encoder: Path) -> None:
    history = train(corpus, encoder, LEARNING).history
    assert max(report.score for report in history) > 0.9
    assert history[-1].losses["total"] < history[0].losses["total"]


def test_divergence_is_told_with_what_to_lower(corpus: Corpus, encoder: Path) -> None:
    with pytest.raises(UserError, match=r"training diverged in epoch 1: .* lower learning_rate"):
        train(corpus, encoder, StageConfig(epochs=2, learning_rate=1.0, head_multiplier=1e38))


def test_one_seed_gives_the_same_weights_to_the_last_bit(corpus: Corpus, encoder: Path) -> None:
    first, second = (weights(train(corpus, encoder)) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_keeps_the_weights_of_the_best_epoch(
    corpus: Corpus, encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:  # as SMB does
        raise PermissionError

    for state in (None, tmp_path / "links", tmp_path / "no links"):
        if state == tmp_path / "no links":
            monkeypatch.setattr("os.link", refuse)
        training = train(corpus, encoder, state=state)
        found = forward(training.classifier, documents(corpus, encoder, "validation").tokens)
        targets = corpus.splits["validation"].targets
        reached = score(targets, found.probabilities, tune_global(targets, found.probabilities))["f1_micro"]
        assert reached == max(report.score for report in training.history)


def train_until(epoch: int, corpus: Corpus, encoder: Path, state: Path) -> None:
    def kill(report: EpochReport) -> None:
        if report.epoch == epoch:
            raise Interrupted

    with pytest.raises(Interrupted):
        train(corpus, encoder, state=state, hooks=Hooks(on_epoch=kill))


@pytest.mark.parametrize("killed_after", [1, 3, 4])
def test_goes_on_after_a_kill_as_if_there_had_been_none(
    corpus: Corpus, encoder: Path, tmp_path: Path, killed_after: int
) -> None:
    train_until(killed_after, corpus, encoder, tmp_path)
    resumed, whole = train(corpus, encoder, state=tmp_path), train(corpus, encoder)
    assert [report.score for report in resumed.history] == [report.score for report in whole.history]
    assert all(torch.equal(value, weights(whole)[name]) for name, value in weights(resumed).items())


def test_keeps_no_more_than_the_best_weights_after_the_last_epoch(
    corpus: Corpus, encoder: Path, tmp_path: Path
) -> None:
    train(corpus, encoder, state=tmp_path)
    (folder,) = tmp_path.glob("epoch-*")
    assert sorted(file.name for file in folder.iterdir()) == ["best.safetensors", "history.json", "last"]


@pytest.mark.parametrize(
    ("killed_after", "name"), [(2, "state.safetensors"), (2, "best.safetensors"), (4, "best.safetensors")]
)
def test_refuses_a_corrupt_state(
    corpus: Corpus, encoder: Path, tmp_path: Path, killed_after: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    train_until(killed_after, corpus, encoder, tmp_path)
    monkeypatch.setattr(Training, "advance", lambda training: pytest.fail("trained before it was told"))
    (file,) = tmp_path.glob(f"epoch-*/{name}")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="can't be resumed from"):
        train(corpus, encoder, state=tmp_path)


def test_stops_when_the_score_no_longer_rises(corpus: Corpus, encoder: Path) -> None:
    still = StageConfig(epochs=9, batch_size=8, learning_rate=1e-12, head_multiplier=1.0, patience=2)
    assert len(train(corpus, encoder, still).history) == 3


def test_accumulated_passes_give_the_same_step(corpus: Corpus, encoder: Path) -> None:
    plain = StageConfig(epochs=1, batch_size=8, learning_rate=1e-3, dropout=0.0, loss=LossConfig(segment_weight=0.0))
    whole = train(corpus, encoder, plain)
    parts = train(corpus, encoder, plain.model_copy(update={"accumulate": 4}))
    for name, value in weights(whole).items():
        torch.testing.assert_close(weights(parts)[name], value, atol=2e-4, rtol=1e-3)


def test_documents_without_labels_are_left_out_on_labels_alone(corpus: Corpus, encoder: Path) -> None:
    teacher = Logits(np.zeros((48, 3), dtype=np.float32), None, np.zeros((48, 32), dtype=np.float32))
    data = documents(corpus, encoder, "train", teacher)
    few = replace(data, targets=np.where(np.arange(48)[:, None] % 6 == 0, data.targets, np.nan).astype(np.float32))
    steps: list[tuple[int, int]] = []
    training = Training(
        make(encoder), few, documents(corpus, encoder, "validation"),
        StageConfig(epochs=2, finetune_epochs=2, batch_size=8), seed=3,
        hooks=Hooks(on_step=lambda done, total: steps.append((done, total))),
    )  # fmt: skip
    training.run()
    assert {total for _, total in steps} == {2 * 48 + 2 * 8}
    assert [done for done, _ in steps] == [*range(8, 2 * 48 + 1, 8), 104, 112]


def test_accumulated_passes_weigh_labels_alike_where_few_documents_have_some(corpus: Corpus, encoder: Path) -> None:
    unlabelled = np.arange(48) % 6 > 0
    generator = np.random.default_rng(0)
    logits, segments, pooled = (
        generator.normal(size=shape).astype(np.float32) for shape in ((48, 3), (48, 3, 3), (48, 32))
    )
    segments[unlabelled], pooled[unlabelled] = np.nan, np.nan
    data = documents(corpus, encoder, "train", Logits(logits, list(segments), pooled))
    assert data.segment_targets is not None
    few = replace(
        data,
        targets=np.where(unlabelled[:, None], np.nan, data.targets).astype(np.float32),
        segment_targets=[rows[: 0 if unlabelled[i] else 3] for i, rows in enumerate(data.segment_targets)],
    )
    plain = StageConfig(epochs=1, batch_size=48, learning_rate=1e-3, dropout=0.0, loss=LossConfig(hidden_weight=0.1))
    losses = []
    for accumulate in (1, 12):
        stage = plain.model_copy(update={"accumulate": accumulate})
        training = Training(make(encoder, 0.0), few, documents(corpus, encoder, "validation"), stage, seed=3)
        losses.append(training.run()[0].losses)  # of a single step, before it
    assert losses[1] == pytest.approx(losses[0], rel=1e-4)
    assert set(losses[0]) == {"hard", "soft", "hidden", "total"}


def test_learns_from_a_teacher_alone(corpus: Corpus, encoder: Path) -> None:
    truth = corpus.splits["train"].targets.astype(np.float32)
    teacher = Logits(np.where(truth > 0, 4.0, -4.0).astype(np.float32), None, np.ones((48, 8), dtype=np.float32))
    stage = LEARNING.model_copy(update={"loss": LossConfig(alpha=1.0, temperature=1.0, hidden_weight=0.1)})
    parts = documents(corpus, encoder, "train", teacher), documents(corpus, encoder, "validation")
    training = Training(make(encoder), *parts, stage, seed=1)
    training.run()
    assert max(report.score for report in training.history) > 0.9
    assert {"hard", "soft", "hidden", "total"} == set(training.history[0].losses)


def test_frozen_layers_stay_as_they_were(corpus: Corpus, encoder: Path, tmp_path: Path) -> None:
    stage = LEARNING.model_copy(update={"freeze": 3, "epochs": 2, "average": 0.5})
    before, after = make(encoder).state_dict(), weights(train(corpus, encoder, stage, state=tmp_path))
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    assert all("head" in name or ".layer.3." in name for name in changed)


def test_steps_are_counted_to_the_end(corpus: Corpus, encoder: Path) -> None:
    steps: list[tuple[int, int]] = []
    train(corpus, encoder, hooks=Hooks(on_step=lambda done, total: steps.append((done, total))))
    assert steps[-1] == (4 * 48, 4 * 48)
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)


def test_memory_is_given_back_once_it_has_grown(corpus: Corpus, encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resident, released = [10 * HEAP_GROWTH], []

    def grow(*_: object) -> None:
        resident[0] += HEAP_GROWTH // 2 + 1

    def release() -> None:
        released.append(resident[0])
        resident[0] = 10 * HEAP_GROWTH

    monkeypatch.setattr("kdh_ray.training.loop.resident_memory", lambda: resident[0])
    monkeypatch.setattr("kdh_ray.training.loop.release_freed_memory", release)
    steps: list[int] = []
    train(corpus, encoder, hooks=Hooks(on_step=lambda done, total: (steps.append(done), grow())[0]))
    assert len(steps) > 4
    assert len(released) == (len(steps) - 1) // 2  # memory grows by half of it after each step
    assert set(released) == {11 * HEAP_GROWTH + 2}


def test_prediction_keeps_the_order_of_documents(corpus: Corpus, encoder: Path) -> None:
    model, data = make(encoder), documents(corpus, encoder, "test")
    together = forward(model, data.tokens, batch_size=24)
    alone = forward(model, data.tokens, batch_size=1)
    np.testing.assert_allclose(together.documents, alone.documents, atol=1e-5)
    assert together.segments is not None
    assert alone.segments is not None
    np.testing.assert_allclose(together.segments, alone.segments, atol=1e-5)


def test_labels_alone_follow_a_distillation(corpus: Corpus, encoder: Path) -> None:
    teacher = Logits(np.full((48, 3), -9.0, dtype=np.float32), None, np.zeros((48, 32), dtype=np.float32))
    loss = LossConfig(alpha=1.0, segment_weight=0.0)
    stage = LEARNING.model_copy(update={"epochs": 1, "finetune_epochs": 2, "loss": loss})
    parts = documents(corpus, encoder, "train", teacher), documents(corpus, encoder, "validation")
    rates = []

    def note(done: int, total: int) -> None:
        assert total == 3 * 48
        rates.append(training.optimiser.param_groups[0]["lr"])

    training = Training(make(encoder), *parts, stage, seed=3, hooks=Hooks(on_step=note))
    training.run()
    first, *rest = (report.losses for report in training.history)
    assert first["total"] == pytest.approx(first["soft"])
    assert [losses["total"] for losses in rest] == pytest.approx([losses["hard"] for losses in rest])
    assert len(rest) == 2
    steps = 48 // stage.batch_size  # of an epoch; the rate falls, and rises and falls anew
    assert rates[steps - 1] < 0.1 * max(rates[steps:])
    assert rates[-1] < 0.1 * max(rates[steps:])
