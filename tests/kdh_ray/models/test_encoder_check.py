"""Encoders that can be trained, and those that are refused before anything starts."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from encoder_folders import ARCHITECTURES, WORDS, rewrite_weights, write_encoder, write_tokenizer

from kdh_ray.errors import CheckpointError
from kdh_ray.models import encoder_check
from kdh_ray.models.encoder_check import check_encoder
from kdh_ray.models.encoders import encoder_shape, load_encoder, read_config
from kdh_ray.models.quiet import quiet
from kdh_ray.models.trial_pass import training_fault, usable_precision


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("plain") / "encoder")


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_architectures_pass_unless_a_tokenizer_lacks(kind: str, tmp_path: Path) -> None:
    folder = write_encoder(tmp_path / "encoder", kind)
    assert check_encoder(str(folder), "float32" if kind == "deberta" else "bfloat16") == []
    for file in [*folder.glob("*token*"), *folder.glob("vocab*")]:
        file.unlink()
    with pytest.raises(CheckpointError, match="has no tokenizer"):
        check_encoder(str(folder))


def test_first_deberta_is_trained_in_float32_only(tmp_path: Path) -> None:
    folder = str(write_encoder(tmp_path / "encoder", "deberta"))
    with pytest.raises(CheckpointError, match=r"deberta can't be trained in bfloat16: set precision: float32 \(value"):
        check_encoder(folder, "bfloat16")
    assert usable_precision(load_encoder(folder), "bfloat16", "cpu") == "float32"


def test_encoder_of_pixels_is_refused(tmp_path: Path) -> None:
    from transformers import ViTConfig, ViTModel

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    with quiet():
        ViTModel(ViTConfig(**sizes)).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="vit can't be trained on tokens alone"):
        check_encoder(str(tmp_path))


def test_pairs_of_encoders_are_refused(tmp_path: Path) -> None:
    from transformers import BertConfig, CLIPConfig, EncoderDecoderConfig

    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    bert = BertConfig(vocab_size=9, **sizes)
    CLIPConfig(text_config={**sizes, "vocab_size": 9}, vision_config=sizes).save_pretrained(tmp_path / "clip")
    EncoderDecoderConfig.from_encoder_decoder_configs(bert, bert).save_pretrained(tmp_path / "pair")
    with pytest.raises(CheckpointError, match="CLIPModel: an encoder has a stack of layers"):
        check_encoder(str(tmp_path / "clip"))
    with pytest.raises(CheckpointError, match="encoder-decoder is not the architecture of an encoder"):
        check_encoder(str(tmp_path / "pair"))


def test_step_of_a_copy_leaves_random_numbers_alone(plain: Path) -> None:
    config = read_config(str(plain))
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    training_fault(config, "float32")
    check_encoder(str(plain))
    assert torch.equal(torch.rand(4), expected)


def test_tokenizer_larger_than_embeddings_is_refused(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "larger", lambda all_: all_)
    write_tokenizer(folder, [f"word{i}" for i in range(61)])
    with pytest.raises(CheckpointError, match="the tokenizer has 66 tokens, the encoder embeddings for 64"):
        check_encoder(str(folder))


def test_much_smaller_tokenizer_is_warned_of(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "smaller", lambda all_: all_)
    write_tokenizer(folder, WORDS)
    (note,) = check_encoder(str(folder))
    assert note.startswith(f"warning: {folder}: the tokenizer has only 11 tokens, and the encoder embeddings for 64")


@pytest.mark.parametrize(
    "words", [[], [word.upper() for word in WORDS], [f"##{word}" for word in WORDS], [f"Ġ{word}" for word in WORDS]]
)  # fmt: skip
def test_tokenizer_that_knows_no_word_is_refused(words: list[str], plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "unknown", lambda all_: all_)
    for file in folder.glob("*token*"):
        file.unlink()
    write_tokenizer(folder, words)
    with pytest.raises(CheckpointError, match=r"tokenizer does not know the words|no tokenizer, or one without words"):
        check_encoder(str(folder))


def cache_as(name: str, encoder: Path, cache: Path) -> None:
    """Put an encoder into a hub cache, as a download does."""
    folder, commit = cache / f"models--{name.replace('/', '--')}", "a" * 40
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(commit)
    shutil.copytree(encoder, folder / "snapshots" / commit)


@pytest.fixture
def offline_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_cached_encoder_of_a_hub_is_checked(plain: Path, offline_cache: Path, tmp_path: Path) -> None:
    cache_as("owner/whole", plain, offline_cache)
    assert check_encoder("owner/whole") == []
    lacking = rewrite_weights(
        plain, tmp_path / "lacking", lambda all_: {k: v for k, v in all_.items() if ".layer.1." not in k}
    )
    cache_as("owner/lacking", lacking, offline_cache)
    with pytest.raises(CheckpointError, match=r"^owner/lacking is not the encoder .* lacks 16 of the 37 weights"):
        check_encoder("owner/lacking")
    (lacking / "model.safetensors").rename(lacking / "pytorch_model.bin")
    cache_as("owner/pickled", lacking, offline_cache)
    with pytest.raises(CheckpointError, match=r'from_pretrained\("owner/pickled", use_safetensors=False\)'):
        check_encoder("owner/pickled")
    for file in [*lacking.glob("*token*"), *lacking.glob("vocab*")]:
        file.unlink()
    (lacking / "model.safetensors").write_bytes((plain / "model.safetensors").read_bytes())
    cache_as("owner/mute", lacking, offline_cache)
    with pytest.raises(CheckpointError, match=r"^owner/mute has no tokenizer"):
        check_encoder("owner/mute")


def test_headers_on_a_hub_are_read_without_a_download(
    plain: Path, offline_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import HfApi, get_local_safetensors_metadata

    without = rewrite_weights(plain, tmp_path / "without", lambda all_: all_)
    (without / "model.safetensors").unlink()
    cache_as("owner/remote", without, offline_cache)
    metadata = get_local_safetensors_metadata(plain)
    monkeypatch.setattr(HfApi, "get_safetensors_metadata", lambda self, name: metadata)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    assert encoder_check._check_weights("owner/remote", read_config(str(plain))) == []
    del metadata.files_metadata["model.safetensors"].tensors["embeddings.word_embeddings.weight"]
    with pytest.raises(CheckpointError, match=r"^owner/remote is not the encoder .* lacks 1 of the 37 weights"):
        encoder_check._check_weights("owner/remote", read_config(str(plain)))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_longest_text_is_the_longest_that_can_be_read(kind: str, tmp_path: Path) -> None:
    folder = str(write_encoder(tmp_path / "encoder", kind, pad_token_id=1))
    longest, encoder = encoder_shape(folder).longest, load_encoder(folder).eval()

    def read(tokens: int) -> None:
        encoder(input_ids=torch.full((1, tokens), 5), attention_mask=torch.ones(1, tokens, dtype=torch.long))

    read(longest or 100)
    if longest is not None:
        with pytest.raises((IndexError, RuntimeError)):
            read(longest + 1)
