"""The exported folder is whole, checked and refuses what it can't hold."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import kdh_runtime
import numpy as np
import pytest
from kdh_runtime.graphs import Graph

from kdh_ray.cli.main import main
from kdh_ray.data import Corpus
from kdh_ray.errors import CheckpointError, UnavailableError
from kdh_ray.export import Agreement, folder
from kdh_ray.export.check import Check
from kdh_ray.export.sentence_transformers import export_sentence_transformers
from kdh_ray.inference.classifier import load_classifier
from kdh_ray.models.checkpoint import load_card


def test_config_tells_how_to_read_a_text(checkpoint: Path, exported: Path) -> None:
    config = json.loads((exported / "config.json").read_text())
    card = load_card(checkpoint)
    assert (config["labels"], config["thresholds"]) == (card.labels, card.thresholds)
    assert config["segmenter"] == {"rule": "sentences", "language": "en", "version": 1}
    assert config["windows"] == {"overlap": 4, "combine": "max"}
    assert config["fingerprint"] == card.fingerprint
    assert config["check"]["texts"] == 24
    assert config["check"]["largest_difference"] < 1e-4
    assert config["check"]["processor"]


def test_digests_cover_every_file(exported: Path) -> None:
    lines = [line.split("  ") for line in (exported / "SHA256SUMS").read_text().splitlines()]
    assert {name for _, name in lines} == {file.name for file in exported.iterdir()} - {"SHA256SUMS"}
    for digest, name in lines:
        assert hashlib.sha256((exported / name).read_bytes()).hexdigest() == digest


def test_tokenizer_neither_cuts_nor_pads(exported: Path) -> None:
    tokenizer = json.loads((exported / "tokenizer.json").read_text())
    assert (tokenizer["truncation"], tokenizer["padding"]) == (None, None)


def test_model_card_leaves_human_questions_open(exported: Path) -> None:
    text = (exported / "README.md").read_text()
    assert "| alpha | 0.450 |" in text
    assert text.count("To be filled in") == 5


def test_int8_that_flips_decisions_is_refused(
    checkpoint: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Check.compare

    def flipping(self: Check, run: Graph) -> Agreement:
        agreement = honest(self, run)
        return agreement if agreement.is_exact else replace(agreement, flipped=0.02)

    monkeypatch.setattr(Check, "compare", flipping)
    result = folder.export_onnx(checkpoint, tmp_path / "out", corpus.splits["validation"].raw(), int8=True)
    assert result.precision == "float32"
    assert result.refused is not None
    assert result.refused.flipped == 0.02
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["precision"] == "float32"
    assert config["check"]["refused"]["flipped"] == 0.02
    assert "not kept" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.parametrize(
    ("texts", "flips", "f1", "is_close"),
    [
        (22, 1, 0.75, True),  # one of 44 decisions, which moves F1 by more than may be
        (22, 2, 0.8, False),
        (1000, 10, 0.804, True),
        (1000, 10, 0.806, False),
        (1000, 11, 0.8, False),
        (1000, 1, 0.81, True),
        (22, 0, None, True),
    ],
)
def test_a_single_decision_may_always_change(texts: int, flips: int, f1: float | None, is_close: bool) -> None:
    agreement = Agreement(texts, 0.1, flips / (2 * texts), None if f1 is None else 0.8, f1, labels=2)
    assert agreement.is_close is is_close
    assert agreement.is_coarse is (texts == 22)


def test_edited_cards_outlive_further_exports(checkpoint: Path, corpus: Corpus, exported: Path, tmp_path: Path) -> None:
    out, texts = tmp_path / "out", corpus.splits["validation"].raw()
    shutil.copytree(exported, out)
    filled_in = (
        (out / "README.md").read_text().replace("*To be filled in", "Nurses of ward 3. *Once to be filled in", 1)
    )
    (out / "README.md").write_text(filled_in)
    for _ in range(2):
        assert folder.export_onnx(checkpoint, out, texts).kept_cards == ("README.md",)
        assert (out / "README.md").read_text() == filled_in
        assert "Nurses" not in (out / "README.new.md").read_text()
        kdh_runtime.load(out, threads=1)  # the digests are those of the kept card
    (out / "README.md").unlink()
    assert folder.export_onnx(checkpoint, out, texts).kept_cards == ()
    assert not (out / "README.new.md").exists()


def test_cards_of_earlier_versions_are_known_by_the_digests(
    checkpoint: Path, corpus: Corpus, exported: Path, tmp_path: Path
) -> None:
    out, texts = tmp_path / "out", corpus.splits["validation"].raw()
    shutil.copytree(exported, out)
    config = json.loads((out / "config.json").read_text())
    del config["cards"]
    (out / "config.json").write_text(json.dumps(config))
    (out / "model_card.json").write_text("{}")
    assert folder.export_onnx(checkpoint, out, texts).kept_cards == ("model_card.json",)
    assert (out / "model_card.json").read_text() == "{}"


def test_graph_that_differs_is_not_written(
    checkpoint: Path, corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Check, "compare", lambda self, run: Agreement(24, 0.3, 0.1, None, None))
    with pytest.raises(CheckpointError, match="must agree with the original"):
        folder.export_onnx(checkpoint, tmp_path / "out", corpus.splits["validation"].raw())
    assert list(tmp_path.iterdir()) == []


def test_foreign_folder_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UnavailableError, match="an earlier export"):
        folder.replace_folder(tmp_path, lambda place: None)
    assert (tmp_path / "thesis.txt").exists()


def test_verb_exports_int8_and_reports(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("the cell shows alpha .\ngrowth in patients . beta .\n")
    out = tmp_path / "out"
    assert main(["export", str(checkpoint), str(out), "--texts", str(tmp_path / "texts.txt"), "--int8"]) == 0
    printed = capsys.readouterr().out
    assert "MB; 2 texts, logits within" in printed
    assert (out / "model.onnx").exists()


def test_openvino_gives_the_same_answers(checkpoint: Path, corpus: Corpus, tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    import kdh_runtime

    texts = corpus.splits["validation"].raw()
    result = folder.export_onnx(checkpoint, tmp_path / "out", texts, openvino=True)
    assert not (tmp_path / "out" / "model.onnx").exists()
    received = kdh_runtime.load(tmp_path / "out", threads=1).predict(texts.texts)
    expected = load_classifier(checkpoint, precision="float32").predict(texts.texts)
    if result.precision == "float32":  # bfloat16 where the processor has AMX
        np.testing.assert_allclose(received.logits, expected.logits.documents, atol=1e-4)
        assert received.evidence == expected.evidence


def test_verb_needs_texts_to_check_on(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(checkpoint), str(tmp_path / "out")]) == 2
    assert "--texts FILE" in capsys.readouterr().err


def test_folder_in_use_is_refused_before_anything_is_scored(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdh_ray.inference.classifier.TextClassifier.load", None)  # called by none of these
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "notes.txt").write_text("a note\n")
    for name, reason in (("used", "must be empty"), ("used/notes.txt", "must be empty"), ("used/notes.txt/out", "not")):
        line = ["export", str(checkpoint), str(tmp_path / name), "--texts", str(tmp_path / "used" / "notes.txt")]
        assert main(line) == 2
        assert reason in capsys.readouterr().err
    assert (tmp_path / "used" / "notes.txt").read_text() == "a note\n"


def test_name_of_no_repository_is_refused_before_the_export(
    whole_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = ["export", str(whole_checkpoint), str(tmp_path / "out"), "--format", "sentence-transformers"]
    assert main([*line, "--push-to-hub", "not a name"]) == 2
    assert "a repository is named owner/name; got 'not a name'" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_texts_that_are_not_there_are_refused(
    checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(checkpoint), str(tmp_path / "out"), "--texts", str(tmp_path / "none.txt")]) == 2
    assert capsys.readouterr().err.endswith("none.txt can't be read: No such file or directory\n")


def test_classifier_with_segments_is_no_sentence_transformer(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="sentence-transformers can't express"):
        export_sentence_transformers(checkpoint, tmp_path / "out")


def test_sentence_transformers_files_hold_the_classifier(whole_checkpoint: Path, tmp_path: Path) -> None:
    """Computed by hand from the files: stock encoder, mean, linear map."""
    import torch
    from safetensors.torch import load_file
    from transformers import AutoModel, AutoTokenizer

    export_sentence_transformers(whole_checkpoint, tmp_path / "out")
    kinds = [entry["type"].rsplit(".", 1)[1] for entry in json.loads((tmp_path / "out" / "modules.json").read_text())]
    assert kinds == ["Transformer", "Pooling", "Dense"]
    texts = ["the cell shows alpha .", "beta growth ."]
    batch = AutoTokenizer.from_pretrained(tmp_path / "out")(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        hidden = AutoModel.from_pretrained(tmp_path / "out")(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1)
    dense = load_file(tmp_path / "out" / "2_Dense" / "model.safetensors")
    logits = (hidden * mask).sum(1) / mask.sum(1) @ dense["linear.weight"].T + dense["linear.bias"]
    expected = load_classifier(whole_checkpoint, precision="float32").predict(texts).logits.documents
    np.testing.assert_allclose(logits.numpy(), expected, atol=1e-4)


def test_stock_sentence_transformers_gives_the_logits(whole_checkpoint: Path, tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    export_sentence_transformers(whole_checkpoint, tmp_path / "out")
    texts = ["the cell shows alpha .", "beta growth ."]
    logits = library.SentenceTransformer(str(tmp_path / "out"), device="cpu").encode(texts)
    expected = load_classifier(whole_checkpoint, precision="float32").predict(texts).logits.documents
    np.testing.assert_allclose(logits, expected, atol=1e-4)
