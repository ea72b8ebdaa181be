"""Compare micro F1 of this project's loop and of ``transformers.Trainer``, on equal documents, batches and epochs.

    python -m benchmarks.training_quality --hoc DIR [--encoder embedded] [--size small] [--tokens 256] [--epochs 8]
        [--rates 3e-4 5e-5] [--seeds 0 1 2]

Both sides fine-tune the encoder on the labels of whole documents. Trainer runs twice, with this project's learning rate
and with its own, 5e-5. Both sides use the precision that is fastest on the machine, and a GPU if there is one. Each
side's threshold is the best one on the validation documents. Needs ``accelerate``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from time import process_time

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.training_step import BATCH, TOKENS, classifier, hugging_face_trainer, labelled, trainer_rows
from kdh_ray import load_corpus
from kdh_ray.config import StageConfig
from kdh_ray.data import Corpus
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import tune_global
from kdh_ray.hardware import precision
from kdh_ray.inference.forward import forward
from kdh_ray.training.loop import Training
from kdh_ray.training.stages import label_rates

RATE = 3e-4
SCORED = ("validation", "test")

Probabilities = dict[str, NDArray[np.float64]]


def main() -> None:
    """Train both sides with every seed; print a line per training, then the means."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--hoc", type=Path, required=True, help="folder of the Hallmarks of Cancer corpus")
    parser.add_argument("--encoder", default="embedded", help="embedded, a folder or a hub name")
    parser.add_argument("--size", default="small", help="sample of the training split: small, medium or large")
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--rates", type=float, nargs="+", default=[RATE, 5e-5], help="Trainer's learning rates")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    args = parser.parse_args()
    sides: dict[str, Callable[[Corpus, int], Probabilities]] = {"this loop": partial(ours, args)}
    sides |= {f"Trainer ({rate:g})": partial(trainer, args, rate) for rate in args.rates}
    test_scores: dict[str, list[float]] = {name: [] for name in sides}
    for seed in args.seeds:
        corpus = load_corpus("hoc-blurb", path=args.hoc, size=args.size, sample_seed=seed)
        for name, side in sides.items():
            started = process_time()
            probabilities = side(corpus, seed)
            threshold = tune_global(corpus.splits["validation"].targets, probabilities["validation"])
            scores = {split: 100 * score(corpus.splits[split].targets, probabilities[split], threshold)["f1_micro"]
                      for split in SCORED}  # fmt: skip
            test_scores[name].append(scores["test"])
            print(
                f"seed {seed}  {name:20} validation {scores['validation']:.1f}  test {scores['test']:.1f}"
                f"  threshold {threshold:.2f}  {process_time() - started:.0f} s of CPU time", flush=True,
            )  # fmt: skip
    for name, values in test_scores.items():
        spread = f" +- {stdev(values):.1f} ({len(values)})" if len(values) > 1 else ""
        print(f"{name:20} test micro F1 {mean(values):.1f}{spread}")


def ours(args: argparse.Namespace, corpus: Corpus, seed: int) -> Probabilities:
    """Return probabilities from this project's loop, as ``experiments/configs/hoc-documents.yaml`` sets it."""
    kind = precision()
    torch.manual_seed(seed)
    model = classifier(args.encoder, len(corpus.labels), kind)
    model.start_from_priors(*label_rates(corpus))  # as every stage does
    splits = {name: labelled(args.encoder, split, args.tokens) for name, split in corpus.splits.items()}
    settings = StageConfig(epochs=args.epochs, batch_size=BATCH, learning_rate=RATE, layer_decay=0.9, average=0.98)
    Training(model, splits["train"], splits["validation"], settings, seed=seed, precision=kind).run()
    return {name: forward(model, splits[name].tokens, precision=kind).probabilities for name in SCORED}


def trainer(args: argparse.Namespace, rate: float, corpus: Corpus, seed: int) -> Probabilities:
    """Return probabilities from ``Trainer`` after its last epoch."""
    with tempfile.TemporaryDirectory() as folder:
        job = hugging_face_trainer(
            args.encoder, corpus.splits["train"], folder, args.tokens,
            num_train_epochs=args.epochs, seed=seed, learning_rate=rate, bf16=precision() == "bfloat16",
        )  # fmt: skip
        job.train()
        logits = {
            name: job.predict(trainer_rows(args.encoder, corpus.splits[name], args.tokens)).predictions
            for name in SCORED
        }
    return {name: 1.0 / (1.0 + np.exp(-values.astype(np.float64))) for name, values in logits.items()}


if __name__ == "__main__":
    main()
