"""Measure the memory of a batch prediction by number of documents: the peak RSS of the driver and of its worker.

    python -m benchmarks.predict_memory [10000 100000 1000000]

Documents are short and the encoder is tiny and untrained, so that the machinery is measured and not a model.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil

WORDS = (
    "the",
    "cell",
    "shows",
    "growth",
    "in",
    "patients",
    "with",
    "early",
    "disease",
    "and",
    "no",
    "sign",
    "of",
    "fever",
)
MIB = 2**20


def make_checkpoint(folder: Path) -> Path:
    """Write a classifier with one layer of 16 hidden units and three labels, and return its folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from kdh_ray.models.checkpoint import Card, build_classifier, save_checkpoint

    torch.manual_seed(0)
    encoder = folder / "encoder"
    encoder.mkdir(parents=True)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
    (encoder / "vocab.txt").write_text("\n".join(vocabulary), encoding="utf-8")
    tokenizer = BertTokenizerFast(str(encoder / "vocab.txt"))
    tokenizer.save_pretrained(encoder)
    size = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **size)).save_pretrained(encoder)
    model = build_classifier(str(encoder), 3, segments=False, dropout=0.0)
    card = Card(["a", "b", "c"], [0.5] * 3, max_tokens=32, segments=False, corpus={})
    save_checkpoint(folder / "checkpoint", model, tokenizer, card)
    return folder / "checkpoint"


def make_notes(file: Path, count: int) -> None:
    """Write ``count`` documents of 8 words as Parquet, in row groups of 65,536."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    generator, writer = np.random.default_rng(0), None
    for start in range(0, count, 65_536):
        words = generator.choice(WORDS, (min(65_536, count - start), 8))
        ids = range(start, start + len(words))
        table = pa.table({"id": [str(i) for i in ids], "text": [" ".join(row) for row in words]})
        writer = writer or pq.ParquetWriter(file, table.schema)
        writer.write_table(table)
    if writer is not None:
        writer.close()


class Peak:
    """Peak RSS of this process and of the Ray workers below it, sampled four times a second."""

    def __init__(self) -> None:
        self.driver = self.worker = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Peak:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._ended.wait(0.25):
            self.driver = max(self.driver, me.memory_info().rss)
            for child in me.children(recursive=True):
                try:
                    if "BlockWorker" in " ".join(child.cmdline()):
                        memory = child.memory_info()
                        self.worker = max(self.worker, memory.rss - memory.shared)
                except psutil.Error:
                    continue


def main() -> None:
    """Predict for each number of documents and print the peaks."""
    from kdh_ray.cluster.session import ray_session
    from kdh_ray.config import JobConfig
    from kdh_ray.inference import predict_files

    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "counts",
        nargs="*",
        type=int,
        metavar="DOCUMENTS",
        default=[10_000, 100_000, 1_000_000],
        help="numbers of documents",
    )
    counts = parser.parse_args().counts
    with tempfile.TemporaryDirectory() as temporary, ray_session(JobConfig()):
        folder = Path(temporary)
        checkpoint = make_checkpoint(folder)
        print("documents  driver MiB  worker MiB (not shared)  documents/s")
        for count in counts:
            make_notes(folder / f"{count}.parquet", count)
            with Peak() as peak:
                started = time.perf_counter()
                predict_files(
                    checkpoint, str(folder / f"{count}.parquet"), folder / f"out-{count}", workers=1, batch_size=256
                )
                seconds = time.perf_counter() - started
            rate = count / seconds
            print(f"{count:9}  {peak.driver / MIB:10.0f}  {peak.worker / MIB:10.0f} {rate:28.0f}", flush=True)


if __name__ == "__main__":
    main()
