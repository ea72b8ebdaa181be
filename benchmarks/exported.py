"""CPU time of exported classifiers: an int8 student in onnxruntime, a float32 teacher in torch, and what lies between.

    python -m benchmarks.exported [--teacher ENCODER] [--student ENCODER] [--layers N] [--tokens 256]

Milliseconds per document at batch sizes 1 and 32, on one thread: the median over turns that the classifiers take in
turn, so that a busy machine is busy for all of them. Weights of the heads are random, which costs the same. Every
document has ``--tokens`` tokens in segments of 25, the length of a sentence.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import torch
from kdh_runtime.graphs import onnxruntime_graph

from kdh_ray import hardware
from kdh_ray.export.int8_graph import int8_graph
from kdh_ray.export.onnx_graph import onnx_graph
from kdh_ray.models.checkpoint import build_classifier
from kdh_ray.models.classifier import Classifier, take_layers

BATCHES = (1, 32)
TURNS = {1: 15, 32: 3}
LABELS = 10
SENTENCE = 25  # tokens

Inputs = dict[str, np.ndarray]


def inputs(batch: int, tokens: int) -> Inputs:
    """Documents of one length, without padding."""
    ids = np.random.default_rng(0).integers(1000, 20_000, (batch, tokens))  # (batch, tokens)
    numbers = np.tile(np.arange(tokens) // SENTENCE, (batch, 1))  # (batch, tokens)
    return {"input_ids": ids, "attention_mask": np.ones_like(ids), "segment_numbers": numbers,
            "segment_axis": np.arange(int(numbers.max()) + 1)}  # fmt: skip


def in_torch(classifier: Classifier) -> Callable[[Inputs], object]:
    """Return a pass of the classifier as ``load_classifier`` runs it in float32."""

    def run(arrays: Inputs) -> object:
        tensors = [torch.from_numpy(arrays[name]) for name in ("input_ids", "attention_mask", "segment_numbers")]
        with torch.inference_mode():
            return classifier(*tensors).documents

    return run


def milliseconds(runs: dict[str, Callable[[Inputs], object]], batch: int, tokens: int) -> dict[str, float]:
    """Return the median CPU time per document of each, over turns taken in turn."""
    arrays = inputs(batch, tokens)
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for turn in range(TURNS[batch] + 1):
        for name, run in runs.items():
            started = process_time()
            run(arrays)
            if turn:  # the first allocates
                taken[name].append(1000 * (process_time() - started) / batch)
    return {name: median(times) for name, times in taken.items()}


def main() -> None:
    """Measure every classifier and print the milliseconds per document."""
    import onnx

    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--teacher", default="embedded", help="encoder (default: all-MiniLM-L6-v2)")
    parser.add_argument("--student", default="embedded", help="encoder (default: all-MiniLM-L6-v2)")
    parser.add_argument("--layers", type=int, help="layers of the student (default: all)")
    parser.add_argument("--tokens", type=int, default=256)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    teacher = build_classifier(arguments.teacher, LABELS, segments=True, dropout=0.0).eval()
    student = build_classifier(arguments.student, LABELS, segments=True, dropout=0.0).eval()
    if arguments.layers:
        student = take_layers(student, arguments.layers).eval()
    with tempfile.TemporaryDirectory() as name:
        exact, small = Path(name) / "float32.onnx", Path(name) / "int8.onnx"
        graph = onnx_graph(student)
        onnx.save(graph, exact)
        onnx.save(int8_graph(graph), small)
        sizes = [f"{file.name} {file.stat().st_size / 1e6:.1f} MB" for file in (exact, small)]
        runs = {
            "teacher, torch, float32": in_torch(teacher),
            "student, torch, float32": in_torch(student),
            "student, onnxruntime, float32": onnxruntime_graph(exact, threads=1),
            "student, onnxruntime, int8": onnxruntime_graph(small, threads=1),
        }
        table = {batch: milliseconds(runs, batch, arguments.tokens) for batch in BATCHES}
    machine = hardware.describe(gpus=False)
    print(f"{machine.processor} ({', '.join(sorted(machine.flags))}), {arguments.tokens} tokens; {', '.join(sizes)}\n")
    print("| classifier | " + " | ".join(f"ms, batch {batch} | times the teacher" for batch in BATCHES) + " |")
    print("|---|" + "---|---|" * len(BATCHES))
    first = next(iter(runs))
    for name in runs:
        cells = [f"{table[batch][name]:.1f} | {table[batch][first] / table[batch][name]:.1f}" for batch in BATCHES]
        print(f"| {name} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
