"""What number formats keep of a bare encoder, and what they take: this project's int8 beside those of two libraries.

    python -m benchmarks.number_formats ENCODER [--hoc DIR] [--tokens 256] [--train 321]

For each format the smallest cosine between the mean state of one of eight documents and float32's, and CPU
milliseconds for one of them and for all, the middle of five turns that the formats take in turn. With HoC also test
micro F1 of a logistic regression (C 30, balanced classes, threshold 0.5) that was fitted on float32's mean states of
training documents, on every second test document. The documents are HoC's, or synthetic ones. ``torchao`` is left out
where it is not installed.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Sequence
from statistics import median
from time import process_time
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score
from torch import nn

from kdh_ray import load_corpus
from kdh_ray.models.encoders import load_encoder, load_tokenizer
from kdh_ray.models.int8 import to_int8

PASSAGES = 8
TURNS = 5


def bfloat16(model: nn.Module) -> nn.Module:
    return model.to(torch.bfloat16)


def scale_a_token(model: nn.Module) -> nn.Module:
    to_int8(model)
    return model


def scale_a_batch(model: nn.Module) -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def torchao(model: nn.Module) -> nn.Module:
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(model, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    return model


FORMATS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "float32": lambda model: model,
    "bfloat16": bfloat16,
    "int8, a scale a token": scale_a_token,
    "int8, torch.ao, a scale a batch": scale_a_batch,
    "int8, torchao, a scale a token": torchao,
}


def formats(encoder: nn.Module) -> dict[str, nn.Module]:
    """A copy of the encoder in each format that there is."""
    found = {}
    for name, convert in FORMATS.items():
        try:
            found[name] = convert(copy.deepcopy(encoder)).eval()
        except ModuleNotFoundError as error:
            print(f"without {name}: {error}")
    return found


def states(model: nn.Module, batch: Any) -> torch.Tensor:
    """(n_documents, hidden) mean states, of length 1."""
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state.float()
    mask = batch["attention_mask"][..., None]
    return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def milliseconds(models: dict[str, nn.Module], batch: Any) -> dict[str, float]:
    """CPU time of one pass; the formats take turns, so that a busy machine is one to all."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(TURNS):
        for name, model in models.items():
            started = process_time()
            states(model, batch)
            taken[name].append(1000 * (process_time() - started))
    return {name: median(times) for name, times in taken.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("encoder")
    parser.add_argument("--hoc")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--train", type=int, default=321, help="training documents of HoC")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    corpus = load_corpus("hoc-blurb", path=arguments.hoc) if arguments.hoc else load_corpus("synthetic")
    tokenizer, models = load_tokenizer(arguments.encoder), formats(load_encoder(arguments.encoder))

    def encoded(texts: Sequence[str]) -> Any:
        return tokenizer(list(texts), padding=True, truncation=True, max_length=arguments.tokens, return_tensors="pt")

    def embedded(model: nn.Module, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.concatenate([states(model, encoded([text])).numpy() for text in texts])

    train, test = corpus.splits["train"], corpus.splits["test"]
    passages, one = encoded(test.texts[:PASSAGES]), encoded(test.texts[:1])
    exact = states(models["float32"], passages)
    cosines = {name: float((states(model, passages) * exact).sum(-1).min()) for name, model in models.items()}
    alone, together = milliseconds(models, one), milliseconds(models, passages)
    scores = dict.fromkeys(models, "")
    if arguments.hoc:
        chosen = np.random.default_rng(0).permutation(len(train))[: arguments.train]
        inputs = embedded(models["float32"], [train.texts[i] for i in chosen])
        heads = [
            LogisticRegression(C=30, max_iter=2000, class_weight="balanced").fit(inputs, targets)
            for targets in train.targets[chosen].T
        ]
        for name, model in models.items():
            outputs = embedded(model, test.texts[::2])
            predicted = np.stack([head.predict(outputs) for head in heads], axis=1)
            scores[name] = f"{100 * f1_score(test.targets[::2], predicted, average='micro'):.1f}"
    print("| format | smallest cosine | ms, one document | ms, eight | test micro F1 |\n|---|---|---|---|---|")
    for name in models:
        print(f"| {name} | {cosines[name]:.3f} | {alone[name]:.0f} | {together[name]:.0f} | {scores[name]} |")


if __name__ == "__main__":
    main()
