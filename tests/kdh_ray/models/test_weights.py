"""Weights of wrapped models, and weights that are not those of the encoder."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
from encoder_folders import rewrite_weights, write_encoder
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from transformers import AutoConfig, BertForMaskedLM

from kdh_ray.errors import CheckpointError
from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint
from kdh_ray.models.encoder_check import check_encoder
from kdh_ray.models.encoders import load_encoder, load_tokenizer
from kdh_ray.models.quiet import quiet
from kdh_ray.models.weights import match_names, read_shapes

COMPONENT = st.text("abcxyz_0", min_size=1, max_size=6)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("plain") / "encoder")


def equals(folder: Path, plain: Path) -> bool:
    saved, loaded = load_file(plain / "model.safetensors"), load_encoder(str(folder)).state_dict()
    return all(torch.equal(value, saved[name]) for name, value in loaded.items())


@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.", "module._orig_mod.", "encoder.", "bert.", "base_model.model.", "state_dict.model.bert."],
)
def test_wrapped_weights_are_loaded_and_said_so(prefix: str, plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "wrapped", lambda all_: {prefix + name: all_[name] for name in all_})
    notes = check_encoder(str(folder))
    if prefix == "bert.":  # transformers' own prefix of models with heads
        assert notes == []
    else:
        assert [note.startswith(f"{folder}: the weights are those of a wrapped model") for note in notes] == [True]
        assert all(part in notes[0] for part in prefix.replace(".", " ").split())
    assert equals(folder, plain)


def test_wrappers_of_single_layers_are_taken_off(plain: Path, tmp_path: Path) -> None:
    def wrap(name: str) -> str:
        return name.replace("layer.1.", "layer.1._fsdp_wrapped_module.").replace("layer.0.", "layer.0._orig_mod.")

    folder = rewrite_weights(plain, tmp_path / "wrapped", lambda all_: {wrap(name): all_[name] for name in all_})
    (note,) = check_encoder(str(folder))
    assert "'_fsdp_wrapped_module.' and '_orig_mod.' is taken off" in note
    assert equals(folder, plain)


def test_checkpoint_of_wrapped_encoder_has_plain_names(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "wrapped", lambda all_: {f"module.{name}": all_[name] for name in all_})
    model = build_classifier(str(folder), 2, segments=False, dropout=0.0)
    card = Card(["a", "b"], [0.5, 0.5], 48, False, {})
    save_checkpoint(tmp_path / "checkpoint", model, load_tokenizer(str(folder)), card)
    saved = load_file(tmp_path / "checkpoint" / "encoder" / "model.safetensors")
    assert saved.keys() == model.encoder.state_dict().keys()
    assert not any(name.startswith("module.") for name in saved)


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(COMPONENT, min_size=1, max_size=3), st.lists(COMPONENT, max_size=3))
def test_any_single_prefix_is_found(plain: Path, parts: list[str], heads: list[str]) -> None:
    shapes, prefix = read_shapes([plain / "model.safetensors"]), "".join(f"{part}." for part in parts)
    wrapped = {f"head.{name}": [2, 2] for name in heads} | {prefix + name: shapes[name] for name in shapes}
    renamed = match_names("encoder", wrapped, AutoConfig.from_pretrained(plain)).renamed
    assert {name.removeprefix(prefix) for name in wrapped if name.startswith(prefix)} >= set(shapes)
    assert not renamed or set(renamed.values()) == set(shapes)


def test_heads_and_poolers_are_not_missed(plain: Path, tmp_path: Path) -> None:
    with quiet():
        BertForMaskedLM.from_pretrained(plain).save_pretrained(tmp_path / "heads")
    for file in plain.glob("*token*"):
        (tmp_path / "heads" / file.name).write_bytes(file.read_bytes())
    names = load_file(tmp_path / "heads" / "model.safetensors").keys()
    assert any(name.startswith("cls.") for name in names)
    assert not any("pooler" in name for name in names)
    assert check_encoder(str(tmp_path / "heads")) == []
    assert equals(tmp_path / "heads", plain)


def refusal(folder: Path) -> str:
    """Return the message with which both the check and the loading refuse a folder."""
    with pytest.raises(CheckpointError) as checked:
        check_encoder(str(folder))
    with pytest.raises(CheckpointError) as loaded:
        load_encoder(str(folder))
    message = str(checked.value)
    assert message == str(loaded.value)
    assert "\n" not in message
    assert str(folder) in message
    return message


def test_lacking_layer_is_refused(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(
        plain, tmp_path / "lacking", lambda all_: {name: all_[name] for name in all_ if ".layer.1." not in name}
    )
    assert "lacks 16 of the 37 weights of BertModel, such as encoder.layer.1." in refusal(folder)


def test_lacking_layer_of_a_wrapped_model_is_refused(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(
        plain, tmp_path / "lacking", lambda all_: {f"module.{k}": v for k, v in all_.items() if ".layer.1." not in k}
    )
    assert "lacks 16 of the 37 weights" in refusal(folder)


def test_weights_of_another_architecture_are_refused(plain: Path, tmp_path: Path) -> None:
    other = write_encoder(tmp_path / "other", "distilbert")
    folder = rewrite_weights(plain, tmp_path / "mixed", lambda all_: all_)
    (folder / "config.json").write_bytes((other / "config.json").read_bytes())
    assert "lacks 32 of the 36 weights of DistilBertModel" in refusal(folder)  # embeddings have the same names


def test_other_width_is_refused(plain: Path, tmp_path: Path) -> None:
    wider = write_encoder(tmp_path / "wider", hidden=32)
    (wider / "config.json").write_bytes((plain / "config.json").read_bytes())
    message = refusal(wider)
    assert "of the 37 weights of BertModel have other shapes than config.json says" in message
    assert "[32] instead of [16]" in message


def test_more_layers_than_configured_are_refused(tmp_path: Path) -> None:
    deeper = write_encoder(tmp_path / "deeper", layers=3)
    config = json.loads((deeper / "config.json").read_text())
    (deeper / "config.json").write_text(json.dumps(config | {"num_hidden_layers": 2}))
    assert "it has 16 weights in layers that config.json does not name" in refusal(deeper)


def test_two_encoders_in_one_file_are_refused(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(
        plain,
        tmp_path / "twins",
        lambda all_: {f"{side}.{name}": all_[name].clone() for side in ("query", "document") for name in all_},
    )
    assert "several encoders, whose names begin with 'document.' and 'query.'" in refusal(folder)


def test_unmerged_lora_is_refused_with_the_way_to_merge(plain: Path, tmp_path: Path) -> None:
    def adapt(all_: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        adapted = {name.replace("query.", "query.base_layer."): value for name, value in all_.items()}
        adapted["encoder.layer.0.attention.self.query.lora_A.default.weight"] = torch.zeros(2, 16)
        return {f"base_model.model.{name}": value for name, value in adapted.items()}

    assert "merge_and_unload()" in refusal(rewrite_weights(plain, tmp_path / "lora", adapt))


def test_adapter_folder_is_refused_with_its_base(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "adapter", lambda all_: all_)
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    assert "AutoModel.from_pretrained('owner/base')" in refusal(folder)


def test_pickle_is_refused_with_a_command_that_converts_it(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "it's old", lambda all_: all_)
    torch.save(load_file(plain / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    message = refusal(folder)
    assert "its weights are in pytorch_model.bin, a pickle, which can run code and is not read" in message
    with quiet():
        exec(shlex.split(message[message.index("python -c") :])[2])
    assert check_encoder(str(folder)) == []
    assert equals(folder, plain)


@pytest.mark.parametrize(("file", "found"), [("last.ckpt", "it has last.ckpt, but no"), (None, "it has no")])
def test_folder_without_weights_is_refused(file: str | None, found: str, plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "without", lambda all_: all_)
    (folder / "model.safetensors").unlink()
    if file is not None:
        (folder / file).touch()
    assert f"{found} model.safetensors; load the model with the code that wrote it" in refusal(folder)


def test_cut_file_is_refused(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "cut", lambda all_: all_)
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-100])
    with pytest.raises(CheckpointError, match=r"model.safetensors can't be read"):
        check_encoder(str(folder))


def shard(plain: Path, folder: Path) -> Path:
    """Write an encoder with its weights in two files and an index."""
    rewrite_weights(plain, folder, lambda all_: all_)
    weights = load_file(folder / "model.safetensors")
    names, index = sorted(weights), {}
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: weights[name] for name in part}, folder / file, {"format": "pt"})
        index |= dict.fromkeys(part, file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    (folder / "model.safetensors").unlink()
    return folder


def test_weights_in_several_files_are_checked_together(plain: Path, tmp_path: Path) -> None:
    folder = shard(plain, tmp_path / "shards")
    assert check_encoder(str(folder)) == []
    assert equals(folder, plain)
    (folder / "model-1.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-1\.safetensors"):
        check_encoder(str(folder))


def test_damaged_index_is_refused(plain: Path, tmp_path: Path) -> None:
    folder = shard(plain, tmp_path / "shards")
    (folder / "model.safetensors.index.json").write_text("[]")
    with pytest.raises(CheckpointError, match="is not an index of safetensors files"):
        check_encoder(str(folder))


def test_adapter_without_its_encoder_is_refused_with_its_base(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "owner/base"}')
    save_file({"base_model.model.lora_A.weight": torch.zeros(2, 2)}, tmp_path / "adapter_model.safetensors")
    assert "is an adapter (LoRA or the like) of another encoder: merge it first" in refusal(tmp_path)
    assert "'owner/base'" in refusal(tmp_path)


def test_folder_around_an_encoder_names_the_one_inside(plain: Path, tmp_path: Path) -> None:
    rewrite_weights(plain, tmp_path / "checkpoint-500", lambda all_: all_)
    assert refusal(tmp_path) == f"{tmp_path} has no config.json; did you mean {tmp_path / 'checkpoint-500'}?"
    weights = tmp_path / "checkpoint-500" / "model.safetensors"
    assert refusal(weights).endswith("is a file: give the folder that it is in")


def test_pointer_of_git_lfs_is_named(plain: Path, tmp_path: Path) -> None:
    folder = rewrite_weights(plain, tmp_path / "clone", lambda all_: all_)
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")
    assert "run git lfs pull" in refusal(folder)


def test_quantised_weights_are_refused(plain: Path, tmp_path: Path) -> None:
    def quantise(all_: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: (100 * value).to(torch.int8) if value.ndim == 2 else value for name, value in all_.items()}

    assert "is quantised (" in refusal(rewrite_weights(plain, tmp_path / "int8", quantise))
    folder = rewrite_weights(plain, tmp_path / "configured", lambda all_: all_)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "bitsandbytes", "load_in_8bit": True}
    (folder / "config.json").write_text(json.dumps(config))
    assert "is quantised (bitsandbytes) and can't be trained" in refusal(folder)


def test_weights_that_diverged_are_refused(plain: Path, tmp_path: Path) -> None:
    def spoil(all_: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        first = min(name for name in all_ if "layer.1" in name)
        return {name: value * torch.nan if name == first else value for name, value in all_.items()}

    folder = rewrite_weights(plain, tmp_path / "nan", spoil)
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        load_encoder(str(folder))
