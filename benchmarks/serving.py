"""Latency, throughput and memory of a service with concurrent clients, next to the classifier's own latency.

    python -m benchmarks.serving CHECKPOINT [--requests 10000] [--clients 20] [--ray]
    python -m benchmarks.serving EXPORT --runtime [--requests 10000] [--clients 20]

Each client sends one abstract-sized text per request, over 127.0.0.1 only, and the next one as soon as it is answered.
The classifier's own latency is that of ``predict`` in a process without a server, for one text and for as many texts
as there are clients, before and after the service ran. Clients, server and classifier share this machine's cores.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import aiohttp
import numpy as np
import psutil

SENTENCES = (
    "Curcumin induced apoptosis in a dose-dependent manner in two human colon carcinoma cell lines.",
    "Mice were housed in pairs under a 12 h light cycle with free access to food and water.",
    "Silencing of the receptor reduced migration and invasion, and lowered the expression of MMP-9.",
    "These findings suggest that inhibition of angiogenesis contributes to the observed effect on tumour growth.",
    "Serum concentrations of interleukin-6 were higher in patients than in healthy controls (p < 0.01).",
    "No difference in overall survival was seen between the groups after a median of 38 months.",
)
WARM_UP = 100  # requests
MIB = 2**20


def make_texts(count: int, seed: int = 0) -> list[str]:
    """Return texts of 4 to 12 sentences, as abstracts have."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(SENTENCES, generator.integers(4, 13))) for _ in range(count)]


def print_own_latency(classifier: Any, texts: list[str], clients: int, repeats: int = 60) -> float:
    """Print the classifier's milliseconds for one text and for a batch, and return the median of the batch."""

    def milliseconds(size: int) -> list[float]:
        taken = []
        for number in range(repeats):
            batch = [texts[(number * size + i) % len(texts)] for i in range(size)]
            started = time.perf_counter()
            classifier.predict(batch)
            taken.append(1000 * (time.perf_counter() - started))
        return taken[repeats // 6 :]  # the first calls warm up

    one, many = milliseconds(1), milliseconds(clients)
    batch = float(np.median(many))
    print(
        f"the classifier itself: one text p50 {np.median(one):.1f} ms, p95 {np.percentile(one, 95):.1f} ms;"
        f" {clients} texts at once p50 {batch:.1f} ms, p95 {np.percentile(many, 95):.1f} ms",
        flush=True,
    )
    return batch


@contextmanager
def served(command: list[str]) -> Iterator[tuple[str, psutil.Process]]:
    """Start the service on a free port; yield its address and process."""
    process = subprocess.Popen(
        [sys.executable, "-m", *command, "--port", "0"], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        line = process.stdout.readline() if process.stdout else ""
        if " at " not in line:
            raise SystemExit("the service did not start")
        yield line.split(" at ")[1].split()[0], psutil.Process(process.pid)
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


async def load(url: str, texts: list[str], clients: int) -> tuple[list[float], int]:
    """Send each text once; return milliseconds per request, and the number of errors."""
    pending, taken, errors = iter(texts), [], 0

    async def client(session: aiohttp.ClientSession) -> None:
        nonlocal errors
        for text in pending:
            started = time.perf_counter()
            async with session.post(f"{url}/predict", json={"texts": [text], "evidence": True}) as answer:
                await answer.read()
                errors += answer.status != 200
            taken.append(1000 * (time.perf_counter() - started))

    async with aiohttp.ClientSession() as session:
        await asyncio.gather(*(client(session) for _ in range(clients)))
    return taken, errors


def resident(process: psutil.Process) -> float:
    """Return MiB of unshared memory of a process and all that it started."""
    family = [process, *process.children(recursive=True)]
    return sum(member.memory_full_info().uss for member in family) / MIB


def measure(name: str, command: list[str], requests: int, clients: int) -> float:
    """Print one line per figure, and return the 95th percentile of the milliseconds per request."""
    texts = make_texts(requests)
    with served(command) as (url, process):
        asyncio.run(load(url, texts[:WARM_UP], clients))
        alone, _ = asyncio.run(load(url, texts[:WARM_UP], 1))
        memory = [resident(process)]
        taken: list[float] = []
        errors = 0
        started = time.perf_counter()
        for part in np.array_split(np.arange(requests), 4):
            some, wrong = asyncio.run(load(url, [texts[i] for i in part], clients))
            taken, errors = taken + some, errors + wrong
            memory.append(resident(process))
        seconds = time.perf_counter() - started
    p50, p95, p99 = np.percentile(taken, [50, 95, 99])
    print(f"{name}: {requests} requests, {clients} clients, {errors} errors")
    print(f"  one client      p50 {np.median(alone):.1f} ms")
    percentiles = f"p50 {p50:.1f} ms, p95 {p95:.1f} ms, p99 {p99:.1f} ms"
    print(f"  {clients} clients      {percentiles}, {requests / seconds:.0f} texts/s")
    print(f"  memory (MiB)    {' -> '.join(f'{value:.0f}' for value in memory)}", flush=True)
    return float(p95)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", help="a checkpoint, or with --runtime an export")
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=20)
    kind = parser.add_mutually_exclusive_group()
    kind.add_argument("--ray", action="store_true", help="on Ray Serve, instead of in the serving process")
    kind.add_argument("--runtime", action="store_true", help="kdh-runtime serve, on one thread")
    args = parser.parse_args()
    name, command = "--local", ["kdh_ray.cli.main", "serve", args.folder, "--local"]
    if args.ray:
        name, command = "Ray Serve", command[:-1]
    if args.runtime:
        name, command = "kdh-runtime", ["kdh_runtime", "serve", args.folder, "--threads", "1"]
    classifier, texts = loaded(args.folder, args.runtime), make_texts(500, seed=1)
    before = print_own_latency(classifier, texts, args.clients)
    p95 = measure(name, command, args.requests, args.clients)
    own = (before + print_own_latency(classifier, texts, args.clients)) / 2
    print(f"p95 of {args.clients} clients is {p95 / own:.2f} times the time of {args.clients} texts at once")


def loaded(folder: str, runtime: bool) -> Any:
    """Return the classifier, as the service has it."""
    if runtime:
        import kdh_runtime

        return kdh_runtime.load(folder, threads=1)
    from kdh_ray.inference.classifier import load_classifier

    return load_classifier(folder)


if __name__ == "__main__":
    main()
