from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from kdh_ray.errors import CheckpointError
from kdh_ray.models.checkpoint import Card, build_classifier, load_card, load_checkpoint, save_checkpoint
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.run_folder import RunFolder

CARD = Card(["a", "b", "c"], [0.5, 0.4, 0.3], 48, True, {"name": "tiny", "fingerprint": "0"})


@pytest.fixture
def saved(encoder: Path, tmp_path: Path) -> tuple[Path, Classifier]:
    model = build_classifier(str(encoder), 3, segments=True, dropout=0.1)
    save_checkpoint(tmp_path / "checkpoint", model, load_tokenizer(str(encoder)), CARD)
    return tmp_path / "checkpoint", model


def test_reads_what_was_written(saved: tuple[Path, Classifier]) -> None:
    folder, model = saved
    loaded, card = load_checkpoint(folder)
    assert (card.labels, card.thresholds, card.max_tokens, card.segments) == (
        ["a", "b", "c"],
        [0.5, 0.4, 0.3],
        48,
        True,
    )
    state = loaded.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_transformers_reads_the_encoder(saved: tuple[Path, Classifier]) -> None:
    from transformers import AutoModel, AutoTokenizer

    folder, model = saved
    encoder = AutoModel.from_pretrained(folder / "encoder").eval()
    tokens = AutoTokenizer.from_pretrained(folder / "encoder")("the cell shows alpha .", return_tensors="pt")
    with torch.no_grad():
        expected = model.eval().encoder(tokens["input_ids"]).last_hidden_state
        torch.testing.assert_close(encoder(tokens["input_ids"]).last_hidden_state, expected)


def test_a_pipeline_with_a_random_head_is_refused(saved: tuple[Path, Classifier]) -> None:
    from transformers import AutoModelForSequenceClassification, pipeline

    with pytest.raises(ValueError, match="kdh-ray-classifier"):
        AutoModelForSequenceClassification.from_pretrained(saved[0])
    with pytest.raises(ValueError, match="kdh-ray-classifier"):
        pipeline("text-classification", model=str(saved[0]))


def test_checkpoints_of_format_1_still_load(saved: tuple[Path, Classifier], tmp_path: Path) -> None:
    folder, model = saved
    old = tmp_path / "old"
    shutil.copytree(folder / "encoder", old)
    shutil.copy(folder / "head.safetensors", old)
    card = json.loads((folder / "classifier.json").read_text())
    card["weights"] = {Path(name).name: digest for name, digest in card["weights"].items()}
    card["format"] = 1
    for name in ("segmenter", "windows"):
        del card[name]
    (old / "classifier.json").write_text(json.dumps(card))
    loaded, read = load_checkpoint(old)
    assert torch.equal(loaded.document_head.bias, model.document_head.bias)
    assert load_tokenizer(str(old)).get_vocab() == load_tokenizer(str(folder)).get_vocab()
    assert not read.tuned_on_raw_text


def test_saving_again_replaces_the_whole_folder(saved: tuple[Path, Classifier], encoder: Path) -> None:
    folder, model = saved
    (folder / "left-over").touch()
    with torch.no_grad():
        model.document_head.bias.add_(1)
    save_checkpoint(folder, model, load_tokenizer(str(encoder)), CARD)
    assert torch.equal(load_checkpoint(folder)[0].document_head.bias, model.document_head.bias)
    assert not (folder / "left-over").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["checkpoint"]


@pytest.mark.parametrize("name", ["encoder/model.safetensors", "head.safetensors"])
def test_refuses_weights_that_were_changed(saved: tuple[Path, Classifier], name: str) -> None:
    file = saved[0] / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=rf"{name}: SHA-256 must be"):
        load_checkpoint(saved[0])


def test_refuses_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        load_card(tmp_path / "nowhere")


def test_run_folder_is_answered_with_its_checkpoints(tmp_path: Path) -> None:
    stage = RunFolder(tmp_path).stage("student")
    stage.path.mkdir(parents=True)
    stage.result.write_text("{}")
    with pytest.raises(CheckpointError, match=rf"; did you mean {stage.checkpoint}\?"):
        load_card(tmp_path)


def test_stage_of_a_search_is_answered_with_its_best(tmp_path: Path) -> None:
    stage = RunFolder(tmp_path).best.stage("student")
    stage.path.mkdir(parents=True)
    stage.result.write_text("{}")
    with pytest.raises(CheckpointError, match=rf"; did you mean {stage.checkpoint}\?"):
        load_card(RunFolder(tmp_path).stage("student").checkpoint)


UNKNOWN_POOLING = json.dumps(
    {
        "format": 2,
        "labels": ["a"],
        "thresholds": [0.5],
        "max_tokens": 8,
        "segments": False,
        "corpus": {},
        "pooling": "max",
    }
)


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"format": 1}', '{"format": 99}', '{"format": 1, "labels": 3, "x": 1}', UNKNOWN_POOLING]
)
def test_refuses_a_foreign_card(tmp_path: Path, content: str) -> None:
    (tmp_path / "classifier.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"classifier\.json"):
        load_card(tmp_path)


def test_refuses_a_head_of_another_number_of_labels(saved: tuple[Path, Classifier]) -> None:
    file = saved[0] / "classifier.json"
    card = json.loads(file.read_text())
    card["labels"] = ["a", "b"]
    file.write_text(json.dumps(card))
    with pytest.raises(CheckpointError, match="does not fit 2 labels"):
        load_checkpoint(saved[0])


def test_fingerprint_depends_on_weights_labels_and_reading() -> None:
    def fingerprint(**changes: object) -> str:
        values = {"labels": ["a"], "thresholds": [0.5], "max_tokens": 8, "segments": False, "corpus": {}}
        return Card(**{**values, "weights": {"w": "1"}, **changes}).fingerprint  # type: ignore[arg-type]

    changed = [{"weights": {"w": "2"}}, {"labels": ["b"]}, {"max_tokens": 9}, {"segments": True}, {"pooling": "cls"}]
    assert len({fingerprint(), *(fingerprint(**change) for change in changed)}) == 6
    assert fingerprint(thresholds=[0.1]) == fingerprint()
    first = "d8eab5eab107dfcd784eb3ab0ddf3c5cd9a75b6e368c1047d9fc51c64bc3095a"  # as the first version wrote it
    assert fingerprint() == first
