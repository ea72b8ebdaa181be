"""Cost of a classifier at work: size, arithmetic, memory, latency, throughput and energy, with its score.

It is measured on CPUs, in a process of its own (``python -m kdh_ray.inference.efficiency``, a job as JSON on stdin), so
that the memory is the model's and nothing that ran before is counted.
"""

from __future__ import annotations

import gc
import io
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray.config import DataConfig
from kdh_ray.errors import ConfigError, UnavailableError

if TYPE_CHECKING:
    from torch import nn

    from kdh_ray.data.reading import Combination
    from kdh_ray.data.tokens import Tokens
    from kdh_ray.models.classifier import Classifier

FORMATS = ("float32", "bfloat16", "int8")
WARM_UP = 5  # documents before latencies are recorded
COUNTED = 16  # documents whose operations are counted
BATCH = 32  # documents per pass when throughput is measured
_RAPL = Path("/sys/class/powercap")
_FAILED = 3  # exit code of a measuring process with bad input


def measure(
    checkpoint: Path, data: DataConfig, number_format: str = "float32", threads: int = 1, documents: int = 100
) -> dict[str, Any]:
    """Measure a checkpoint on the test split of a corpus, read as raw text, in a fresh process.

    Args:
        checkpoint: Its folder.
        data: The corpus.
        number_format: ``float32``, ``bfloat16`` (weights and arithmetic) or ``int8`` (weights and activations of
            linear layers; :class:`kdh_ray.models.int8.Int8Linear`).
        threads: Threads of PyTorch.
        documents: Number of documents, one at a time, whose latencies are recorded.

    Returns:
        ``parameters``, ``disk_bytes`` (of the weights in this format), ``flops_per_document`` (two for each
        multiplication with addition), ``peak_memory_bytes`` (resident, while it classifies), ``latency_p50_ms`` and
        ``latency_p95_ms`` (a document, from token ids to probabilities), ``inference_documents_per_second`` (batches of
        32), ``joules_per_document`` (of the processor packages, None if the machine doesn't report them),
        ``load_average`` (of the machine, before), ``machine`` (its processor), ``number_format``,
        ``threads``, and ``test_*`` scores at the checkpoint's thresholds.

    Raises:
        ConfigError: If there is no such format.
        UnavailableError: If the measuring process fails; says why.
    """
    if number_format not in FORMATS:
        raise ConfigError([f"a number format is one of {', '.join(FORMATS)}; got {number_format!r}"])
    job = {"checkpoint": str(checkpoint), "data": data.model_dump(mode="json"), "number_format": number_format}
    done = subprocess.run(
        [sys.executable, "-m", "kdh_ray.inference.efficiency"],
        input=json.dumps({**job, "threads": threads, "documents": documents}),
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UnavailableError(f"{checkpoint}: can't be measured in {number_format} ({reason[:300]})")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def measure_here(
    checkpoint: Path, data: DataConfig, number_format: str, threads: int, documents: int
) -> dict[str, Any]:
    """:func:`measure` in this process; its memory is then this process's."""
    import torch

    from kdh_ray.data import corpus_from_config
    from kdh_ray.evaluation.metrics import score
    from kdh_ray.hardware import describe
    from kdh_ray.inference.classifier import TextClassifier

    torch.set_num_threads(threads)
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    split = corpus_from_config(data).splits["test"]
    classifier = TextClassifier.load(checkpoint)
    model: Any = classifier.model
    test = classifier.tokens(split.raw())
    result: dict[str, Any] = {
        "number_format": number_format,
        "threads": threads,
        "load_average": load,
        "machine": describe(gpus=False).processor,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "flops_per_document": _flops(model.eval(), test),
    }
    model = converted(model, number_format)
    result["disk_bytes"] = _size(model)
    _reset_peak()
    result |= _latency(model, test, documents)
    speed, probabilities = _throughput(model, test, classifier.reading.combine)
    result |= {**speed, "peak_memory_bytes": _peak()}
    scores = score(split.targets, probabilities, classifier.thresholds)
    return result | {f"test_{name}": value for name, value in scores.items()}


def converted(model: Classifier, number_format: str) -> Any:
    """Return the model in another number format, for inference on a CPU. May change ``model`` itself."""
    import torch

    from kdh_ray.models.int8 import to_int8

    if number_format == "bfloat16":
        model.to(torch.bfloat16)
    if number_format == "int8":
        to_int8(model)
    return model.eval()


def _flops(model: Classifier, test: Tokens) -> float:
    """Return the mean number of operations over documents spread over the split, each at its own length."""
    from torch.utils.flop_counter import FlopCounterMode

    chosen = np.linspace(0, test.n_documents - 1, min(COUNTED, test.n_documents)).astype(int).tolist()
    attention = model.encoder.config._attn_implementation
    model.encoder.set_attn_implementation("eager")  # the counter doesn't know the fused kernel of CPUs
    try:
        with FlopCounterMode(display=False) as counter:
            for index in chosen:
                _forward(model, test, index)
    finally:
        model.encoder.set_attn_implementation(attention)
    return float(counter.get_total_flops() / len(chosen))


def _latency(model: nn.Module, test: Tokens, documents: int) -> dict[str, float]:
    """Return percentiles over documents, one at a time, in an order that mixes lengths."""
    order = np.random.default_rng(0).permutation(test.n_documents)
    order = np.resize(order, WARM_UP + documents)  # repeats a split that is smaller
    seconds = []
    for index in order:
        started = perf_counter()
        _forward(model, test, int(index))
        seconds.append(perf_counter() - started)
    p50, p95 = np.percentile(seconds[WARM_UP:], [50, 95]) * 1000
    return {"latency_p50_ms": float(p50), "latency_p95_ms": float(p95)}


def _throughput(model: Any, test: Tokens, combine: Combination) -> tuple[dict[str, float | None], Any]:
    """Return the speed over the whole split in batches, and (n_documents, n_labels) probabilities."""
    from kdh_ray.inference.forward import forward

    before, started = energy(), perf_counter()
    logits = forward(model, test, combine=combine, batch_size=BATCH)
    seconds, after = perf_counter() - started, energy()
    joules = None if before is None or after is None or after < before else (after - before) / test.n_documents
    speed = {"inference_documents_per_second": test.n_documents / seconds, "joules_per_document": joules}
    return speed, logits.probabilities


def _forward(model: nn.Module, test: Tokens, document: int) -> Any:
    """Classify one document, in as many windows as it has."""
    import torch

    from kdh_ray.inference.forward import pad

    rows = np.flatnonzero(test.documents == document).tolist()
    inputs = pad(test, rows, model.pad_id, torch.device("cpu"))  # type: ignore[arg-type]
    with torch.inference_mode():
        return torch.sigmoid(model(inputs.input_ids, inputs.attention_mask, inputs.segment_numbers).documents)


def _size(model: nn.Module) -> int:
    """Return the bytes of the serialised weights; quantised ones are packed, which safetensors can't store."""
    import torch

    buffer = io.BytesIO()
    torch.save(model.state_dict(), buffer)
    return buffer.tell()


def energy(root: Path = _RAPL) -> float | None:
    """Return the joules that the processor packages have used (RAPL), None if unreadable. The counter wraps round."""
    try:
        # Top-level zones such as "intel-rapl:0" are packages; "intel-rapl:0:1" is a part of one.
        counters = [zone / "energy_uj" for zone in root.iterdir() if zone.name.count(":") == 1 and "rapl" in zone.name]
        return sum(int(counter.read_text()) for counter in counters) / 1e6 if counters else None
    except (OSError, ValueError):
        return None


def _reset_peak() -> None:
    """Reset the peak, so that memory for loading and converting doesn't count, if the kernel can."""
    gc.collect()
    with suppress(OSError):
        # 5 resets the peak of resident memory, VmHWM; see proc(5).
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Return the peak resident memory in bytes since :func:`_reset_peak`, or since the start if the kernel lacks it."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        # ru_maxrss is in bytes on macOS and in KiB on Linux.
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _main() -> int:
    from kdh_ray.errors import UserError

    job = json.load(sys.stdin)
    try:
        data = DataConfig.model_validate(job.pop("data"))
        result = measure_here(Path(job.pop("checkpoint")), data, **job)
    except UserError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return _FAILED
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(_main())
