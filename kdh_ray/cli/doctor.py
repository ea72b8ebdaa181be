"""``kdh-ray doctor``: show what this machine can do, and what slows it down."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from kdh_ray import hardware
from kdh_ray.errors import ConfigError, UserError

_GB = 1e9
_ENOUGH_MEMORY = 8 * _GB
_ENOUGH_DISK = 5 * _GB
_CLEARLY_FASTER = 1.3
_TRIAL_BATCH, _TRIAL_TOKENS = 32, 256  # the largest batch of the default search space, and the default length
_RAY_SHARE = 0.7  # of the available memory; Ray keeps the rest for its object store


@dataclass(frozen=True)
class Report:
    """Findings about a machine.

    Attributes:
        facts: Name of each finding and its text, in the order of printing.
        advice: One line per problem: the problem, its cause, and what to do.
        data: The findings as numbers, for ``--json``.
    """

    facts: dict[str, str] = field(default_factory=dict)
    advice: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument(
        "--seconds", type=float, default=0.5, metavar="N", help="time of each speed measurement (default: %(default)s)"
    )


def execute(args: argparse.Namespace) -> int:
    """Examine the machine and print the findings.

    Raises:
        ConfigError: If ``--seconds`` is negative.
    """
    if args.seconds < 0:
        raise ConfigError([f"--seconds must be 0 or more; got {args.seconds:g}"], "command line")
    report = examine(args.seconds)
    if args.json:
        print(json.dumps({**report.data, "facts": report.facts, "advice": report.advice}, indent=2))
    elif sys.stdout.isatty():
        _print_rich(report)
    else:
        print("\n".join(f"{name}: {fact}" for name, fact in report.facts.items()))
        print("\n".join(f"advice: {line}" for line in report.advice) or "advice: none")
    return 0


def examine(seconds: float = 0.5) -> Report:
    """Examine the machine; measure each speed for ``seconds``."""
    report = Report()
    machine = hardware.describe()
    report.data["hardware"] = {**asdict(machine), "flags": sorted(machine.flags), "cores": machine.cores}
    _cores(report, machine)
    _threads(report, machine)
    _precision(report, machine, seconds)
    _memory(report, machine)
    _disk(report)
    _encoder(report)
    _concurrency(report, machine)
    _hub(report)
    _versions(report)
    return report


def _cores(report: Report, machine: hardware.Hardware) -> None:
    limits = [f"{machine.logical_cores} in the machine"]
    if machine.affinity < machine.logical_cores:
        limits.append(f"affinity {machine.affinity}")
    if machine.quota is not None:
        limits.append(f"cgroup quota {machine.quota:g}")
    report.facts["processor"] = f"{machine.processor} ({' '.join(sorted(machine.flags)) or 'no vector flags known'})"
    report.facts["cores"] = f"{machine.cores} usable ({', '.join(limits)})"
    report.facts["gpu"] = "; ".join(f"{gpu.name}, {gpu.memory / _GB:.0f} GB" for gpu in machine.gpus) or "none"
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    report.data["load"] = load
    if load > 0.5 * machine.cores:
        report.advice.append(
            f"other work is running (load {load:.1f} on {machine.cores} usable cores): speeds measured here are too low"
        )


def _threads(report: Report, machine: hardware.Hardware) -> None:
    import torch

    threads, setting = torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS")
    report.facts["threads"] = f"{threads} in torch; OMP_NUM_THREADS {setting or 'not set'}"
    report.data["threads"] = {"torch": threads, "OMP_NUM_THREADS": setting}
    if threads < machine.cores:
        why = f"OMP_NUM_THREADS={setting}" if setting else "torch's default here"
        report.advice.append(
            f"torch uses {threads} of {machine.cores} cores ({why}): set OMP_NUM_THREADS={machine.cores}"
        )
    elif threads > machine.cores:
        report.advice.append(
            f"torch starts {threads} threads for {machine.cores} usable cores, which then wait for each other: "
            f"set OMP_NUM_THREADS={machine.cores}"
        )


def _precision(report: Report, machine: hardware.Hardware, seconds: float) -> None:
    chosen = hardware.precision("auto", machine)
    device = "cuda" if machine.gpus else "cpu"
    float32 = hardware.matmul_speed("float32", seconds, device=device)
    bfloat16 = hardware.matmul_speed("bfloat16", seconds, device=device)
    ratio = bfloat16 / float32
    report.data["precision"] = {"chosen": chosen, "gflops": {"float32": float32, "bfloat16": bfloat16}}
    report.facts["precision"] = f"{chosen} ({_reason(machine)})"
    report.facts["matrix products"] = (
        f"float32 {float32:,.0f} GFLOP/s, bfloat16 {bfloat16:,.0f} GFLOP/s ({ratio:.2g} times float32) on {device}"
    )
    if device == "cpu" and chosen == "float32":
        report.advice.append(
            "no AMX or avx512_bf16: training runs in float32, several times slower than on a processor that has them; "
            "fewer layers, shorter max_tokens or a GPU help most"
        )
    if chosen == "float32" and ratio > _CLEARLY_FASTER:
        report.advice.append("bfloat16 was measured faster than float32: try --set precision=bfloat16")
    if chosen == "bfloat16" and ratio < 1.0:
        report.advice.append("bfloat16 was measured slower than float32: try --set precision=float32")


def _reason(machine: hardware.Hardware) -> str:
    """Return the reason for the precision that is chosen."""
    if machine.gpus:
        return "every GPU has bfloat16 in hardware" if machine.fast_bfloat16 else "a GPU has no bfloat16 in hardware"
    names = [name for flag, name in (("amx_bf16", "AMX"), ("avx512_bf16", "avx512_bf16")) if flag in machine.flags]
    return f"the processor has {' and '.join(names)}" if names else "the processor has neither AMX nor avx512_bf16"


def _memory(report: Report, machine: hardware.Hardware) -> None:
    available, total = machine.memory_available, machine.memory
    report.facts["memory"] = f"{available / _GB:.1f} GB available of {total / _GB:.1f} GB"
    if available < _ENOUGH_MEMORY:
        report.advice.append(
            f"{available / _GB:.1f} GB of memory are available; large encoders need {_ENOUGH_MEMORY / _GB:.0f}: "
            "raise a stage's accumulate or lower its batch_size"
        )


def _disk(report: Report) -> None:
    free = shutil.disk_usage(Path.cwd()).free
    report.data["disk_free"] = free
    report.facts["disk"] = f"{free / _GB:.1f} GB free in the working directory"
    if free < _ENOUGH_DISK:
        report.advice.append(f"{free / _GB:.1f} GB of disk are free here: checkpoints and caches may not fit")
    if not os.access(Path.cwd(), os.W_OK):
        report.advice.append("the working directory is not writable: give --out a folder that is")


def _encoder(report: Report) -> None:
    from kdh_ray.models.encoders import embedded_folder

    try:
        folder: Path | None = embedded_folder()
        report.facts["embedded encoder"] = f"present, checksum correct ({folder})"
    except UserError as error:
        folder = None
        report.facts["embedded encoder"] = "not usable"
        report.advice.append(str(error))
    report.data["embedded_encoder"] = folder and str(folder)


def _concurrency(report: Report, machine: hardware.Hardware) -> None:
    """Report how many trials of a search run at once, and what limits them, for the embedded encoder."""
    from kdh_ray.jobs.memory import estimate
    from kdh_ray.models.encoders import EMBEDDED, encoder_shape

    if report.data["embedded_encoder"] is None:
        return
    shape, gpus = encoder_shape(EMBEDDED), len(machine.gpus)
    each = estimate(shape, shape.layers, _TRIAL_BATCH, _TRIAL_TOKENS, on_gpu=gpus > 0)
    by_memory = int(machine.memory_available * _RAY_SHARE / each)
    limits = {"cores": machine.cores, "memory": by_memory, **({"GPUs": gpus} if gpus else {})}
    report.data["trials"] = {"by_cores": machine.cores, "by_memory": by_memory, "by_gpus": gpus, "memory_each": each}
    report.facts["trials at once"] = (
        f"{min(limits.values())} of one core{', one GPU' if gpus else ''} and {each / _GB:.1f} GB each"
        f" ({', '.join(f'{kind} for {count}' for kind, count in limits.items())};"
        f" the embedded encoder, batches of {_TRIAL_BATCH}, {_TRIAL_TOKENS} tokens)"
    )
    if 0 < gpus < min(machine.cores, by_memory):
        report.advice.append(
            f"a search runs {gpus} trial{'s' if gpus > 1 else ''} at once, one per GPU: if several fit into its memory,"
            " let them share one (tune.gpus_per_trial=0.25)"
        )
    if by_memory < machine.cores:
        report.advice.append(
            f"memory holds {by_memory} trials of a search, but there are cores for {machine.cores}: lower the largest"
            " batch_size, data.max_tokens or layers, or give each trial more cores (tune.cpus_per_trial)"
        )


def _hub(report: Report) -> None:
    from huggingface_hub import constants

    from kdh_ray.models import model_hub

    offline = constants.HF_HUB_OFFLINE
    state = "not asked: HF_HUB_OFFLINE is set" if offline else model_hub.hub_state(constants.ENDPOINT)
    report.data["hub"] = {"reachable": state == model_hub.REACHABLE, "offline": bool(offline), "state": state}
    report.facts["model hub"] = state
    if state != model_hub.REACHABLE:
        report.advice.append(
            "models can't be downloaded from here: use the embedded encoder, name a folder as a stage's start, "
            "fill the hub's cache on another machine, or set HF_ENDPOINT to a mirror"
        )


def _versions(report: Report) -> None:
    from kdh_ray.results.provenance import commit, versions

    packages = versions()
    report.data["versions"] = {**packages, "commit": commit()}
    report.facts["versions"] = ", ".join(f"{name} {version or 'missing'}" for name, version in packages.items())
    try:
        metadata.version("kdh-runtime")
    except metadata.PackageNotFoundError:
        return
    report.advice.append(
        "kdh-runtime is installed next to kdh-ray, which brings the same files along: leave it as it is, or uninstall"
        " it and install kdh-ray again (pip install --force-reinstall --no-deps)"
    )


def _print_rich(report: Report) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console(highlight=False)
    grid = Table.grid(padding=(0, 2))
    for name, fact in report.facts.items():
        grid.add_row(f"[bold]{escape(name)}[/]", escape(fact))
    console.print(grid)
    for line in report.advice:
        console.print(f"[yellow]![/] {escape(line)}")
    if not report.advice:
        console.print("[green]no advice[/]")
