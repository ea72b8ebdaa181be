"""Compare the accuracy and speed of number formats for an encoder: this project's int8 and those of two libraries.

    python -m benchmarks.number_formats ENCODER [--hoc DIR] [--tokens 256] [--train 321]

For each format it prints the smallest cosine, over eight documents, between their mean states in that format and in
float32, and the CPU milliseconds for one document and for all eight (the median of five rounds, in each of which every
format has a turn). With HoC it also prints test micro F1, on every second test document, of a logistic regression (C
30, balanced classes, threshold 0.5) that was fitted on the float32 mean states of training documents. Without HoC the
documents are synthetic. ``torchao`` is left out if it is not installed.
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

N_DOCUMENTS = 8
ROUNDS = 5


def bfloat16(model: nn.Module) -> nn.Module:
    """Convert all weights."""
    return model.to(torch.bfloat16)


def scale_per_token(model: nn.Module) -> nn.Module:
    """Convert linear layers to this project's int8."""
    to_int8(model)
    return model


def scale_per_batch(model: nn.Module) -> nn.Module:
    """Convert linear layers to PyTorch's dynamic int8."""
    return torch.ao.quantization.quantize_dynamic(model, {nn.Linear}, dtype=torch.qint8)


def torchao(model: nn.Module) -> nn.Module:
    """Convert linear layers to torchao's dynamic int8."""
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, quantize_

    quantize_(model, Int8DynamicActivationInt8WeightConfig(set_inductor_config=False))
    return model


FORMATS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "float32": lambda model: model,
    "bfloat16": bfloat16,
    "int8, a scale per token": scale_per_token,
    "int8, torch.ao, a scale per batch": scale_per_batch,
    "int8, torchao, a scale per token": torchao,
}


def formats(encoder: nn.Module) -> dict[str, nn.Module]:
    """Return a copy of the encoder in each format that is installed."""
    converted = {}
    for name, convert in FORMATS.items():
        try:
            converted[name] = convert(copy.deepcopy(encoder)).eval()
        except ModuleNotFoundError as error:
            print(f"without {name}: {error}")
    return converted


def states(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return the mean states, normalised to length 1: (n_documents, hidden)."""
    with torch.inference_mode():
        hidden = model(**batch).last_hidden_state.float()
    mask = batch["attention_mask"][..., None]  # (n_documents, n_tokens, 1)
    return nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)


def milliseconds(models: dict[str, nn.Module], batch: Any) -> dict[str, float]:
    """Return the median CPU time of a pass; the formats take turns, so that a busy machine slows all of them."""
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(ROUNDS):
        for name, model in models.items():
            started = process_time()
            states(model, batch)
            taken[name].append(1000 * (process_time() - started))
    return {name: median(times) for name, times in taken.items()}


def main() -> None:
    """Convert, measure, and print a Markdown table."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("encoder", help="embedded, a folder or a hub name")
    parser.add_argument("--hoc", metavar="DIR", help="folder of the Hallmarks of Cancer corpus")
    parser.add_argument("--tokens", type=int, default=256, help="tokens at which documents are cut")
    parser.add_argument("--train", type=int, default=321, help="number of HoC's training documents")
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
    one, all_of_them = encoded(test.texts[:1]), encoded(test.texts[:N_DOCUMENTS])
    exact = states(models["float32"], all_of_them)  # (N_DOCUMENTS, hidden), rows of length 1
    cosines = {name: float((states(model, all_of_them) * exact).sum(-1).min()) for name, model in models.items()}
    ms_one, ms_all = milliseconds(models, one), milliseconds(models, all_of_them)
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
            predicted = np.stack([head.predict(outputs) for head in heads], axis=1)  # (n_documents, n_labels)
            scores[name] = f"{100 * f1_score(test.targets[::2], predicted, average='micro'):.1f}"
    print("| format | smallest cosine | ms, one document | ms, eight | test micro F1 |\n|---|---|---|---|---|")
    for name in models:
        print(f"| {name} | {cosines[name]:.3f} | {ms_one[name]:.0f} | {ms_all[name]:.0f} | {scores[name]} |")


if __name__ == "__main__":
    main()
