"""Compare the training speed of this project's loop and of ``transformers.Trainer``, in one run.

    python -m benchmarks.training_step [--encoder DIR] [--hoc DIR] [--documents 64] [--rounds 5]

Both sides train the same encoder with a multi-label head on the same documents, with the same batch size and epochs.
They take turns, so that other work on the machine slows both. Trainer runs with its defaults, and again with
``bf16=True`` if bfloat16 is fast on this machine. Both sides use a GPU if there is one. The first round warms up and is
not counted. The script prints medians of wall time and of CPU time; on CPUs, with ``OMP_NUM_THREADS=1``, CPU time is
valid on a busy machine too. Needs ``accelerate``.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import numpy as np
import torch

from kdh_ray import load_corpus
from kdh_ray.config import StageConfig
from kdh_ray.data import Corpus, Split
from kdh_ray.data.tokens import tokenize
from kdh_ray.hardware import precision
from kdh_ray.models.attention import select_attention
from kdh_ray.models.checkpoint import build_classifier
from kdh_ray.models.classifier import Classifier
from kdh_ray.models.encoders import load_tokenizer, resolve_encoder
from kdh_ray.models.quiet import quiet
from kdh_ray.training.examples import Examples
from kdh_ray.training.loop import Training

BATCH, TOKENS = 16, 256
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"

Seconds = tuple[float, float]
"""Wall time and CPU time of this process."""


def main() -> None:
    """Measure both sides in turns and print the medians."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", default="embedded", help="embedded, a folder or a hub name")
    parser.add_argument("--hoc", type=Path, help="folder of the Hallmarks of Cancer corpus (default: synthetic text)")
    parser.add_argument("--documents", type=int, default=64, help="number of documents")
    parser.add_argument("--rounds", type=int, default=5, help="number of measured rounds")
    args = parser.parse_args()
    corpus = load_corpus("hoc-blurb", path=args.hoc) if args.hoc else abstracts(args.documents)
    split = corpus.splits["train"].take(range(args.documents))
    kind = precision()
    sides: dict[str, Callable[[], Seconds]] = {f"this loop ({kind})": lambda: ours(args.encoder, split, kind)}
    sides["Trainer (defaults)"] = lambda: trainer(args.encoder, split, bf16=False)
    if kind == "bfloat16":
        sides["Trainer (bf16=True)"] = lambda: trainer(args.encoder, split, bf16=True)
    rounds = [{name: side() for name, side in sides.items()} for _ in range(args.rounds + 1)][1:]
    print(f"{args.documents} documents, batch {BATCH}, {TOKENS} tokens, {torch.get_num_threads()} threads")
    for clock, kind_of_time in enumerate(("wall", "CPU")):
        rates = {name: [args.documents / round[name][clock] for round in rounds] for name in sides}
        first = median(next(iter(rates.values())))
        for name, values in rates.items():
            middle, spread = median(values), f"{min(values):.1f} to {max(values):.1f}"
            print(
                f"{name:24} {middle:6.1f} documents per second of {kind_of_time} time ({spread});"
                f" this loop is {first / middle:.2f} times that"
            )


def abstracts(count: int) -> Corpus:
    """Return a synthetic corpus whose short documents are joined to the length of abstracts."""
    corpus = load_corpus("synthetic", documents=12 * count)
    train = corpus.splits["train"]
    texts = [" ".join(train.texts[i : i + 6]) for i in range(0, 6 * count, 6)]
    # (count, n_labels): a joined text has a label if one of its six documents has it.
    targets = np.array([train.targets[i : i + 6].max(0) for i in range(0, 6 * count, 6)])
    return Corpus("joined", corpus.labels, {"train": Split([str(i) for i in range(count)], texts, targets)})


def timed(work: Callable[[], object]) -> Seconds:
    """Return the time that ``work`` takes."""
    started = perf_counter(), process_time()
    work()
    return perf_counter() - started[0], process_time() - started[1]


def ours(encoder: str, split: Split, kind: str) -> Seconds:
    """Return the time of an epoch of this project's loop, without validation."""
    model, documents = classifier(encoder, split.targets.shape[1], kind), labelled(encoder, split)
    training = Training(model, documents, documents, StageConfig(epochs=1, batch_size=BATCH), seed=0, precision=kind)
    return timed(lambda: training.train_epoch(1))


def classifier(encoder: str, n_labels: int, kind: str) -> Classifier:
    """Return the encoder with a head for whole documents."""
    model = build_classifier(encoder, n_labels, segments=False, dropout=0.1)
    select_attention(model.encoder, DEVICE, kind)
    return model.to(DEVICE)


def labelled(encoder: str, split: Split, tokens: int = TOKENS) -> Examples:
    """Return whole documents with their labels, without their segments."""
    whole = Split(split.ids, split.texts, split.targets)
    return Examples.of(whole, tokenize(whole.raw(), load_tokenizer(encoder)).cut(tokens))


def trainer(encoder: str, split: Split, bf16: bool) -> Seconds:
    """Return the time of an epoch of ``Trainer``."""
    with tempfile.TemporaryDirectory() as folder:
        return timed(hugging_face_trainer(encoder, split, folder, num_train_epochs=1, bf16=bf16).train)


def hugging_face_trainer(encoder: str, split: Split, folder: str, tokens: int = TOKENS, **arguments: Any) -> Any:
    """Return a ``transformers.Trainer`` with its defaults except for ``arguments``.

    Batches are padded to their longest document.
    """
    from transformers import AutoModelForSequenceClassification, DataCollatorWithPadding, Trainer, TrainingArguments

    with quiet():
        model = AutoModelForSequenceClassification.from_pretrained(
            resolve_encoder(encoder), num_labels=split.targets.shape[1], problem_type="multi_label_classification"
        )
    chosen = TrainingArguments(
        folder, per_device_train_batch_size=BATCH, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True, use_cpu=DEVICE == "cpu", **arguments,
    )  # fmt: skip
    collator = DataCollatorWithPadding(load_tokenizer(encoder))
    return Trainer(model, chosen, train_dataset=trainer_rows(encoder, split, tokens), data_collator=collator)


def trainer_rows(encoder: str, split: Split, tokens: int = TOKENS) -> list[dict[str, Any]]:
    """Return documents in the form that ``Trainer`` reads."""
    read = labelled(encoder, split, tokens).tokens
    return [
        {
            "input_ids": read.ids[read.offsets[i] : read.offsets[i + 1]].tolist(),
            "labels": split.targets[i].astype(np.float32).tolist(),
        }
        for i in range(len(split))
    ]


if __name__ == "__main__":
    main()
