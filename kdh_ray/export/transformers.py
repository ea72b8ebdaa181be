"""A classifier in the files of a stock class of the transformers library, whose head is more than a linear map.

    config.json, model.safetensors    AutoModelForSequenceClassification: encoder and head
    tokenizer.json, ...               its tokenizer, which cuts a text at ``max_tokens`` if it is told to
    classifier.json                   thresholds, for the caller

The head of such a class is out(f(dense(h))) of the first token's state h, with an activation f. It computes a linear
map W h + b exactly, because f(z) - f(-z) is proportional to z: it is z for ReLU and GELU, and 2z for tanh near 0. So
``dense`` holds the rows e W and -e W of a small e, and ``out`` subtracts one half from the other.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import nn

from kdh_ray.errors import CheckpointError
from kdh_ray.export.folder import replace_folder, write_digests
from kdh_ray.export.sentence_transformers import check_reads_whole
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.models.checkpoint import CARD
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.quiet import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SCALE = 2.0**-12  # e: tanh(e z) = e z to 1e-5 of z up to 20; a power of two, which rounds nothing
_DIFFERENCE = 1e-5  # in probability, between the stock class and the classifier


@dataclass(frozen=True)
class _Head:
    """The head of a stock class.

    Attributes:
        dense: Name of its first linear layer.
        out: Name of its last.
        slope: d/dz (f(z) - f(-z)) at 0 of the activation f between them.
    """

    dense: str
    out: str
    slope: float


_TANH = _Head("classifier.dense", "classifier.out_proj", 2.0)
_HEADS = {
    "bert": _Head("bert.pooler.dense", "classifier", 2.0),
    "camembert": _TANH,
    "deberta-v2": _Head("pooler.dense", "classifier", 1.0),
    "distilbert": _Head("pre_classifier", "classifier", 1.0),
    "electra": _Head("classifier.dense", "classifier.out_proj", 1.0),
    "mpnet": _TANH,
    "roberta": _TANH,
    "xlm-roberta": _TANH,
}  # by model type


def export_transformers(checkpoint: Path, folder: Path) -> None:
    """Write a checkpoint so that ``pipeline("text-classification", folder, top_k=None)`` gives its probabilities.

    The library knows neither windows nor thresholds. With ``truncation=True`` it reads the first ``max_tokens`` of a
    text.

    Raises:
        CheckpointError: If the checkpoint can't be used, doesn't classify by a text's first token, combines the logits
            of a text's parts, or its encoder's stock class has no head that can hold the classifier's.
        UnavailableError: If the folder can't be replaced.
    """
    classifier = TextClassifier.load(checkpoint)
    check_reads_whole(classifier, checkpoint, "transformers")
    if classifier.model.pooling != "cls":
        raise CheckpointError(
            f"{checkpoint} pools by the mean, which no stock class of transformers does: train with"
            " stages.NAME.pooling=cls, or export to sentence-transformers or onnx"
        )
    try:
        stock = stock_classifier(classifier)
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint}: {error}") from None
    replace_folder(folder, lambda place: _write(place, stock, classifier, checkpoint))


def _write(place: Path, stock: PreTrainedModel, classifier: TextClassifier, checkpoint: Path) -> None:
    tokenizer = copy.deepcopy(classifier.tokenizer)
    tokenizer.model_max_length = classifier.reading.max_tokens
    with quiet():
        stock.save_pretrained(place)
        tokenizer.save_pretrained(place)
    (place / CARD).write_bytes((checkpoint / CARD).read_bytes())
    write_digests(place)


def stock_classifier(classifier: TextClassifier) -> PreTrainedModel:
    """Return a classifier as the stock class of its encoder.

    Raises:
        CheckpointError: If the class has no such head, or too narrow a one, or computes something else.
    """
    from transformers import AutoModelForSequenceClassification

    model = classifier.model
    config = copy.deepcopy(model.encoder.config)
    head, hidden = _HEADS.get(config.model_type), model.document_head.in_features
    if head is None:
        raise CheckpointError(
            f"transformers has no class for {config.model_type} whose head can hold a linear map of the first token;"
            f" there is one for {', '.join(_HEADS)}"
        )
    if 2 * model.n_labels > hidden:
        raise CheckpointError(f"the stock head holds {hidden // 2} labels of this encoder; got {model.n_labels}")
    config.id2label = dict(enumerate(classifier.labels))
    config.label2id = {label: number for number, label in enumerate(classifier.labels)}
    config.problem_type = "multi_label_classification"  # pipelines then apply the sigmoid
    with quiet():
        stock: PreTrainedModel = AutoModelForSequenceClassification.from_config(config).eval()
    stock.base_model.load_state_dict(model.encoder.state_dict(), strict=False)  # without a pooler
    _set_head(stock, head, model.document_head)
    _check(stock, model)
    return stock


def _set_head(stock: PreTrainedModel, head: _Head, linear: nn.Linear) -> None:
    """Make out(f(dense(h))) equal to linear(h)."""
    dense, out = (cast(nn.Linear, stock.get_submodule(name)) for name in (head.dense, head.out))
    labels = torch.eye(linear.out_features)
    with torch.no_grad():
        for parameter in (*dense.parameters(), *out.parameters()):
            parameter.zero_()
        n = len(labels)
        for rows, sign in ((slice(0, n), 1.0), (slice(n, 2 * n), -1.0)):
            dense.weight[rows] = sign * SCALE * linear.weight
            dense.bias[rows] = sign * SCALE * linear.bias
            out.weight[:, rows] = sign * labels / (head.slope * SCALE)


@torch.inference_mode()
def _check(stock: PreTrainedModel, model: Classifier) -> None:
    """Compare the two on tokens of every kind, with padding."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, model.encoder.config.vocab_size, (4, 16), generator=generator)
    mask = torch.ones_like(ids)
    ids[1:, 12:], mask[1:, 12:] = model.pad_id, 0
    expected = model(ids, mask).documents.sigmoid()
    difference = float((stock(ids, attention_mask=mask).logits.sigmoid() - expected).abs().max())
    if not difference <= _DIFFERENCE:
        raise CheckpointError(
            f"{type(stock).__name__} must agree with the classifier within {_DIFFERENCE};"
            f" it differs by {difference:.1e}"
        )
