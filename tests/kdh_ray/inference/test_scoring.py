"""Scores of a checkpoint: the same as those of the text that it labels."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from kdh_ray import load_classifier
from kdh_ray.cli.main import main
from kdh_ray.config import RunConfig, dump_config, parse_config
from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.evaluation.metrics import score
from kdh_ray.models.checkpoint import load_card, save_card
from kdh_ray.run_folder import RunFolder
from kdh_ray.training.stages import StageRunner


@pytest.fixture(scope="module")
def config(encoder: Path) -> RunConfig:
    tree = {
        "data": {"documents": 120, "max_tokens": 24},
        "stages": {"teacher": {"start": str(encoder), "epochs": 2, "learning_rate": 5e-3, "head_multiplier": 4}},
    }
    return parse_config(tree)


@pytest.fixture(scope="module")
def corpus(config: RunConfig) -> Corpus:
    return corpus_from_config(config.data)


@pytest.fixture(scope="module")
def run(config: RunConfig, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Return a run with one finished stage, trained on sentence labels."""
    folder = RunFolder(tmp_path_factory.mktemp("scoring") / "run")
    folder.path.mkdir()
    folder.config.write_text(dump_config(config))
    StageRunner(config, corpus, folder.path).run("teacher")
    return folder


def test_a_row_has_the_score_of_prediction(run: RunFolder, corpus: Corpus) -> None:
    result = run.stage("teacher").read_result()
    assert result is not None
    classifier = load_classifier(run.stage("teacher").checkpoint, precision="float32")
    test = corpus.splits["test"]
    prediction = classifier.predict(test.texts)
    own = score(test.targets, prediction.probabilities, classifier.thresholds)
    assert own["f1_micro"] == result["test_f1_micro"]
    names = np.array(prediction.label_names)
    assert prediction.labels[0] == names[prediction.probabilities[0] >= classifier.thresholds].tolist()


def test_a_row_has_annotated_scores_too(run: RunFolder) -> None:
    result = run.stage("teacher").read_result()
    assert result is not None
    assert {"test_f1_micro_annotated", "validation_f1_micro_annotated", "threshold_annotated"} <= result.keys()
    assert result["test_long_documents"] > 0
    assert 0 <= result["test_f1_micro_cut"] <= 1


def test_evaluate_repeats_the_row(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    result = run.stage("teacher").read_result()
    assert result is not None
    checkpoint = run.stage("teacher").checkpoint
    assert main(["evaluate", str(checkpoint), "--json", "--set", "precision=float32"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["scores"]["f1_micro"] == result["test_f1_micro"]
    assert printed["long_documents"] == result["test_long_documents"]


def test_retuning_mends_an_old_checkpoint(run: RunFolder, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoint = run.stage("teacher").checkpoint
    card = load_card(checkpoint)
    save_card(checkpoint, replace(card, segmenter=None, windows=None, thresholds=[0.99] * len(card.labels)))
    arguments = ["evaluate", str(checkpoint), "--set", "precision=float32"]
    assert main(arguments) == 0
    assert "chosen on annotated parts" in capsys.readouterr().err
    assert main([*arguments, "--retune"]) == 0
    assert "threshold 0.990 ->" in capsys.readouterr().err
    retuned = load_card(checkpoint)
    assert retuned.tuned_on_raw_text
    assert retuned.thresholds == pytest.approx(card.thresholds)
    assert main(arguments) == 0
    assert "annotated parts" not in capsys.readouterr().err
