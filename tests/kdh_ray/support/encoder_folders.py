"""Tiny encoders of many architectures, and ways to damage their folders."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoConfig, AutoModel, BertTokenizerFast

from kdh_ray.models.quiet import quiet

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["pain", "fever", "cough", "the", "at", "night"]
ARCHITECTURES = [
    "bert", "camembert", "convbert", "deberta", "deberta-v2", "distilbert", "electra", "ernie", "longformer",
    "modernbert", "mpnet", "roberta", "xlm-roberta",
]  # fmt: skip


def write_tokenizer(folder: Path, words: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *words]), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)


def write_encoder(folder: Path, kind: str = "bert", layers: int = 2, hidden: int = 16, **settings: object) -> Path:
    """Write an untrained encoder of a kind that transformers knows, and a tokenizer."""
    sizes: dict[str, object] = {
        "vocab_size": 64, "hidden_size": hidden, "num_hidden_layers": layers, "num_attention_heads": 2,
        "max_position_embeddings": 66, "pad_token_id": 0,
    }  # fmt: skip
    sizes |= {"hidden_dim": 32} if kind == "distilbert" else {"intermediate_size": 32}
    sizes |= {"attention_window": 8} if kind == "longformer" else {}
    sizes |= {"embedding_size": hidden} if kind in ("electra", "convbert") else {}
    sizes |= (
        {"bos_token_id": 2, "eos_token_id": 3, "cls_token_id": 2, "sep_token_id": 3} if kind == "modernbert" else {}
    )
    sizes |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"]} if kind.startswith("deberta") else {}
    torch.manual_seed(0)
    with quiet():
        AutoModel.from_config(AutoConfig.for_model(kind, **sizes | settings)).save_pretrained(folder)
    write_tokenizer(folder, [*WORDS, *(f"word{i}" for i in range(64 - len(SPECIAL) - len(WORDS)))])
    return folder


def rewrite_weights(source: Path, folder: Path, change: Callable[[dict[str, Tensor]], Mapping[str, Tensor]]) -> Path:
    """Copy an encoder, with its weights changed."""
    shutil.copytree(source, folder)
    weights = dict(change(load_file(source / "model.safetensors")))
    save_file(
        {name: value.contiguous() for name, value in weights.items()}, folder / "model.safetensors", {"format": "pt"}
    )
    return folder
