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
from collections.abc import Callable, Mapping
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
    print(f"{args.documents} documents, batch {BATCH}, {TOKENS} tokens, {torch.get_num_threads()} threads")
    for clock, sides in rates(args.encoder, split, args.rounds).items():
        first = next(iter(sides.values()))
        for name, rate in sides.items():
            print(
                f"{name:24} {rate:6.1f} documents per second of {clock} time; this loop: {first / rate:.2f} times that"
            )


def rates(encoder: str, split: Split, rounds: int) -> dict[str, dict[str, float]]:
    """Return each side's documents per second of wall and of CPU time, the medians over rounds; ours comes first."""
    kind = precision()
    sides: dict[str, Callable[[], Seconds]] = {f"this loop ({kind})": lambda: ours(encoder, split, kind)}
    sides["Trainer (defaults)"] = lambda: trainer(encoder, split, bf16=False)
    if kind == "bfloat16":
        sides["Trainer (bf16=True)"] = lambda: trainer(encoder, split, bf16=True)
    times = [{name: side() for name, side in sides.items()} for _ in range(rounds + 1)][1:]
    return {
        clock: {name: len(split) / median(each[name][i] for each in times) for name in sides}
        for i, clock in enumerate(("wall", "CPU"))
    }


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
    """Return a ``transformers.Trainer`` of a split, with its defaults except for ``arguments``."""
    rows = trainer_rows(encoder, split, tokens)
    model = hugging_face_model(encoder, split.targets.shape[1])
    return plain_trainer(encoder, folder, arguments, model=model, train_dataset=rows)


def plain_trainer(encoder: str, folder: str, arguments: Mapping[str, Any], **parts: Any) -> Any:
    """Return a ``transformers.Trainer`` that prints and saves nothing, and pads batches to their longest document.

    Args:
        encoder: ``embedded``, a folder or a hub name.
        folder: Its output folder.
        arguments: Of ``TrainingArguments``.
        parts: Of ``Trainer``: the model, the documents, ...
    """
    from transformers import DataCollatorWithPadding, PrinterCallback, Trainer, TrainingArguments

    chosen = TrainingArguments(
        folder, per_device_train_batch_size=BATCH, report_to=[], save_strategy="no", logging_strategy="no",
        disable_tqdm=True, use_cpu=DEVICE == "cpu", **arguments,
    )  # fmt: skip
    trainer = Trainer(args=chosen, data_collator=DataCollatorWithPadding(load_tokenizer(encoder)), **parts)
    trainer.remove_callback(PrinterCallback)
    return trainer


def hugging_face_model(encoder: str, n_labels: int) -> Any:
    """Return the encoder with the classification head of transformers."""
    from transformers import AutoModelForSequenceClassification

    with quiet():
        return AutoModelForSequenceClassification.from_pretrained(
            resolve_encoder(encoder), num_labels=n_labels, problem_type="multi_label_classification"
        )


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
