"""The gain of the best of many, corrected for choosing it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.objectives import MICRO_F1, OBJECTIVES
from kdh_ray.evaluation.selection import ResampledScores, corrected_gain
from kdh_ray.evaluation.thresholds import tune_global

Models = tuple[NDArray[np.int8], list[NDArray[np.float64]]]


def models(count: int, better: float = 0.0, seed: int = 0, documents: int = 120) -> Models:
    """Return truth, and probabilities of models that differ by luck alone, but for the last, which may be better."""
    generator = np.random.default_rng(seed)
    truth = (generator.random((documents, 6)) < 0.2).astype(np.int8)
    shared = generator.normal(0, 1, truth.shape)
    signal = np.where(truth == 1, 1.2, -2.0)

    def model(strength: float) -> NDArray[np.float64]:
        return np.asarray(1 / (1 + np.exp(-(strength * signal + shared + generator.normal(0, 1, truth.shape)))))

    return truth, [model(1.0 + better * (number == count - 1)) for number in range(count)]


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_better_model_is_clearly_better(name: str) -> None:
    gain = corrected_gain(*models(6, better=0.8), 0, OBJECTIVES[name])
    assert gain.clear
    assert gain.low < gain.gain < gain.high
    assert (gain.documents, gain.candidates, gain.share) == (120, 6, 1.0)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_a_better_reference_is_not_beaten(name: str) -> None:
    gain = corrected_gain(*models(6, better=0.8), 5, OBJECTIVES[name])
    assert not gain.clear
    assert gain.gain <= 0


def test_luck_is_taken_out_of_the_gain() -> None:
    lucky, corrected, clear = [], [], 0
    for seed in range(10):
        truth, made = models(8, seed=seed)
        scores = [score(truth, each, tune_global(truth, each))["f1_micro"] for each in made]
        gain = corrected_gain(truth, made, 0, MICRO_F1)
        lucky.append(max(scores) - scores[0])
        corrected.append(gain.gain)
        clear += gain.clear
    assert np.mean(lucky) > 0.02
    assert np.mean(corrected) < 0.2 * np.mean(lucky)
    assert clear == 0


@pytest.mark.parametrize("name", OBJECTIVES)
def test_one_model_gains_nothing_over_itself(name: str) -> None:
    truth, (model,) = models(1)
    gain = corrected_gain(truth, [model, model], 0, OBJECTIVES[name])
    assert (gain.gain, gain.low, gain.high, gain.share) == (0.0, 0.0, 0.0, 0.0)


def test_few_documents_and_no_labels_are_no_error() -> None:
    for documents in (1, 2, 3):
        truth = np.zeros((documents, 2), np.int8)
        gain = corrected_gain(truth, [np.full(truth.shape, 0.2), np.full(truth.shape, 0.3)], 0, MICRO_F1)
        assert not gain.clear


@pytest.mark.parametrize("name", OBJECTIVES)
def test_overtuning_of_lucky_models_grows(name: str) -> None:
    objective = OBJECTIVES[name]
    luck: list[list[float]] = []
    for seed in range(4):
        curve = ResampledScores.of(*models(8, seed=seed), objective).overtuning()
        scores = [score for score, _ in curve]
        assert scores == sorted(scores)
        luck.append([score - corrected for score, corrected in curve])
    mean = np.mean(luck, axis=0)
    assert mean[-1] > mean[0]
    assert mean[-1] > 0


def test_overtuning_of_a_loss_is_negated() -> None:
    truth, made = models(2)
    ((own, _), *_) = ResampledScores.of(truth, made, OBJECTIVES["log_loss"]).overtuning()
    assert own == pytest.approx(-score(truth, made[0], 0.5)["log_loss"])
