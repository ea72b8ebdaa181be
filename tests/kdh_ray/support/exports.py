"""Small classifiers and their exports, for tests of the export and of the runtime."""

from __future__ import annotations

from pathlib import Path

import torch

from kdh_ray.config import Pooling
from kdh_ray.data.reading import Reading
from kdh_ray.data.segmenter import Rule, Segmenter
from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.models.quiet import quiet

LABELS = ["alpha", "beta", "gamma"]
THRESHOLDS = [0.45, 0.5, 0.55]


def make_checkpoint(
    folder: Path,
    encoder: Path,
    segments: bool = True,
    rule: Rule = "sentences",
    max_tokens: int = 16,
    pooling: Pooling = "mean",
) -> Path:
    """Write a classifier whose probabilities differ from text to text; longer documents have windows."""
    torch.manual_seed(3)
    model = build_classifier(str(encoder), len(LABELS), segments, 0.0, pooling)
    with torch.no_grad():
        for head in model.heads():
            head.weight.mul_(40)
    reading = Reading(max_tokens, Segmenter(rule), 4)
    notes = {"run": "small", "stage": "student"}
    card = Card(LABELS, THRESHOLDS, max_tokens, segments, {"name": "tiny"}, notes=notes, pooling=pooling)
    save_checkpoint(folder, model, load_tokenizer(str(encoder)), card.reads(reading))
    return folder


def make_letters_encoder(folder: Path) -> Path:
    """Write an untrained BERT that reads text letter by letter."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder.mkdir()
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *letters, *(f"##{letter}" for letter in letters)]
    (folder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary), hidden_size=32, num_hidden_layers=2, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=64,
    )  # fmt: skip
    with quiet():
        BertModel(config).save_pretrained(folder)
    return folder
