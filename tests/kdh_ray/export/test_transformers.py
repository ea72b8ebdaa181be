"""A classifier by the first token is the same classifier in the stock classes of transformers."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from exports import LABELS, make_checkpoint

from kdh_ray.cli.main import main
from kdh_ray.data.reading import Reading
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.errors import CheckpointError
from kdh_ray.export.transformers import export_transformers, stock_classifier
from kdh_ray.inference.classifier import TextClassifier, load_classifier
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.encoders import load_tokenizer

TEXTS = ["the cell shows alpha .", "beta growth .", "gamma", ""]
KINDS = ["bert", "camembert", "deberta-v2", "distilbert", "electra", "mpnet", "roberta", "xlm-roberta"]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, encoder: Path) -> Path:
    folder = tmp_path_factory.mktemp("cls") / "checkpoint"
    return make_checkpoint(folder, encoder, segments=False, rule="none", pooling="cls")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Path:
    folder = tmp_path_factory.mktemp("stock") / "out"
    assert main(["export", str(checkpoint), str(folder), "--format", "transformers"]) == 0
    return folder


def classifier_of(kind: str, encoder: Path, labels: list[str], segments: bool = False) -> TextClassifier:
    """Return a classifier by the first token over an untrained encoder of any architecture, with large logits."""
    from transformers import AutoConfig, AutoModel

    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = AutoConfig.for_model(kind, vocab_size=40, max_position_embeddings=64, pad_token_id=0, **sizes)
    torch.manual_seed(0)
    model = Classifier(AutoModel.from_config(config), len(labels), segments, 0.0, "cls").eval()
    if getattr(model.encoder, "pooler", None) is not None:
        model.encoder.pooler = None
    with torch.no_grad():
        model.document_head.weight.normal_()
        model.document_head.bias.normal_()
    reading = Reading(16, Segmenter("none"), 4)
    return TextClassifier(model, load_tokenizer(str(encoder)), labels, [0.5] * len(labels), reading)


def test_stock_pipeline_gives_the_probabilities(checkpoint: Path, exported: Path) -> None:
    from transformers import pipeline

    rows = pipeline("text-classification", str(exported), top_k=None)(TEXTS)
    found = [[{entry["label"]: entry["score"] for entry in row}[label] for label in LABELS] for row in rows]
    expected = load_classifier(checkpoint, precision="float32").predict(TEXTS).probabilities
    assert np.ptp(expected, axis=0).max() > 0.01
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_stock_tokenizer_cuts_where_training_did(checkpoint: Path, exported: Path) -> None:
    from transformers import pipeline

    words = ["cell", "alpha", "growth", "beta"] * 20
    rows = pipeline("text-classification", str(exported), top_k=None)([" ".join(words)], truncation=True)
    first = load_classifier(checkpoint, precision="float32").predict([" ".join(words[:14])])  # 16 with [CLS] and [SEP]
    found = {entry["label"]: entry["score"] for entry in rows[0]}
    np.testing.assert_allclose([found[label] for label in LABELS], first.probabilities[0], atol=1e-5)


def test_digests_cover_the_stock_files(exported: Path) -> None:
    names = {line.split("  ")[1] for line in (exported / "SHA256SUMS").read_text().splitlines()}
    assert {"classifier.json", "config.json", "model.safetensors", "tokenizer.json"} <= names


@pytest.mark.parametrize("kind", KINDS)
def test_stock_heads_hold_the_linear_map(kind: str, encoder: Path) -> None:
    classifier = classifier_of(kind, encoder, ["a", "b", "c"])
    ids = torch.randint(5, 40, (3, 9), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        logits = stock_classifier(classifier).eval()(ids, attention_mask=torch.ones_like(ids)).logits
        expected = classifier.model(ids, torch.ones_like(ids)).documents
    assert float(expected.abs().max()) > 3
    torch.testing.assert_close(logits, expected, atol=5e-5, rtol=1e-5)


def test_architecture_without_such_a_head_is_refused(encoder: Path) -> None:
    with pytest.raises(CheckpointError, match="no class for modernbert whose head"):
        stock_classifier(classifier_of("modernbert", encoder, ["a"]))


def test_more_labels_than_the_head_holds_are_refused(encoder: Path) -> None:
    with pytest.raises(CheckpointError, match="holds 16 labels of this encoder; got 17"):
        stock_classifier(classifier_of("bert", encoder, [str(i) for i in range(17)]))


def test_head_that_computes_something_else_is_refused(encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdh_ray.export.transformers.SCALE", 1.0)  # tanh is not linear there
    with pytest.raises(CheckpointError, match="BertForSequenceClassification must agree with the classifier"):
        stock_classifier(classifier_of("bert", encoder, ["a", "b", "c"]))


def test_mean_pooling_has_no_stock_class(whole_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"pools by the mean.*stages\.NAME\.pooling=cls"):
        export_transformers(whole_checkpoint, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_parts_have_no_stock_class(encoder: Path, tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path / "checkpoint", encoder, pooling="cls")
    with pytest.raises(CheckpointError, match="parts, which transformers can't express"):
        export_transformers(folder, tmp_path / "out")


def test_options_of_a_graph_are_refused(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("a note\n")
    for options in (["--int8"], ["--texts", str(tmp_path / "notes.txt")], ["--group-column", "site"]):
        line = ["export", str(checkpoint), str(tmp_path / "out"), "--format", "transformers", *options]
        assert main(line) == 2
        assert options[0] in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_sentence_transformers_files_name_the_first_token(checkpoint: Path, tmp_path: Path) -> None:
    from kdh_ray.export.sentence_transformers import export_sentence_transformers

    export_sentence_transformers(checkpoint, tmp_path / "out")
    pooling = json.loads((tmp_path / "out" / "1_Pooling" / "config.json").read_text())
    assert (pooling["pooling_mode_cls_token"], pooling["pooling_mode_mean_tokens"]) == (True, False)
    names = {line.split("  ")[1] for line in (tmp_path / "out" / "SHA256SUMS").read_text().splitlines()}
    assert {"1_Pooling/config.json", "2_Dense/model.safetensors"} <= names


@pytest.mark.slow
def test_runtime_reads_the_first_token(checkpoint: Path, corpus: Any, tmp_path: Path) -> None:
    import kdh_runtime

    from kdh_ray.export import export_onnx

    split = corpus.splits["validation"]
    exported = export_onnx(checkpoint, tmp_path / "out", split.raw(), split.targets)
    assert exported.agreement.is_exact
    received = kdh_runtime.load(tmp_path / "out").predict(TEXTS).probabilities
    expected = load_classifier(checkpoint, precision="float32").predict(TEXTS).probabilities
    np.testing.assert_allclose(received, expected, atol=1e-5)


def test_card_says_what_stands_for_a_text(checkpoint: Path) -> None:
    classifier = TextClassifier.load(checkpoint)
    assert classifier.card is not None
    assert asdict(classifier.card)["pooling"] == classifier.model.pooling == "cls"
