"""The part of the machine that this process may use, the number format that it multiplies fastest, and its memory.

Containers and batch systems give a process less than the machine has: by CPU affinity, by a cgroup's CPU quota, and by
a cgroup's memory limit. Most libraries see only the whole machine, so all three limits are read here, for cgroup
versions 1 and 2.
"""

from __future__ import annotations

import ctypes
import math
import os
import platform
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from kdh_ray.errors import ConfigError

Precision = Literal["float32", "bfloat16"]
CPU_FLAGS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_tile")
_FAST_BFLOAT16 = ("amx_bf16", "avx512_bf16")
_SMALLEST_PRODUCT = 256  # rows and columns
_LARGEST_PRODUCT = 4096
_TOO_QUICK = 0.005  # seconds; a shorter product measures the call, not the multiplication
_UNLIMITED = 2**60  # version 1 of cgroups writes a number near 2^63 for no limit


@dataclass(frozen=True)
class Gpu:
    """A CUDA device.

    Attributes:
        name: Model name.
        memory: Bytes.
        bfloat16: True if the device multiplies bfloat16 in hardware.
    """

    name: str
    memory: int
    bfloat16: bool


@dataclass(frozen=True)
class Hardware:
    """The part of the machine that this process may use.

    Attributes:
        processor: Model name of the processor.
        vendor: The processor's name for its maker (GenuineIntel, AuthenticAMD); empty if unknown.
        flags: The :data:`CPU_FLAGS` that the processor has.
        logical_cores: Logical cores of the whole machine.
        affinity: Logical cores that this process may be scheduled on.
        quota: CPU seconds per second that the cgroup allows, in cores; None without a limit.
        memory: Bytes of RAM, or of the cgroup's limit if that is less.
        memory_available: Bytes of ``memory`` that are not in use.
        gpus: Visible CUDA devices.
    """

    processor: str
    vendor: str
    flags: frozenset[str]
    logical_cores: int
    affinity: int
    quota: float | None
    memory: int
    memory_available: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def cores(self) -> int:
        """Number of threads worth starting: the affinity, or the quota rounded up, whichever is less."""
        return self.affinity if self.quota is None else max(1, min(self.affinity, math.ceil(self.quota)))

    @property
    def fast_bfloat16(self) -> bool:
        """True if training is faster in bfloat16, on the GPUs if there are any, else on the processor."""
        if self.gpus:
            return all(gpu.bfloat16 for gpu in self.gpus)
        return any(flag in self.flags for flag in _FAST_BFLOAT16)


def describe(root: Path = Path("/"), gpus: bool = True) -> Hardware:
    """Describe the machine.

    Args:
        root: Folder of ``proc`` and ``sys``.
        gpus: Look for CUDA devices too, which imports torch.
    """
    info = _processor(root)
    logical = os.cpu_count() or 1
    total, available = _memory(root)
    return Hardware(
        processor=info.get("model name") or platform.processor() or platform.machine(),
        vendor=info.get("vendor_id", ""),
        flags=frozenset(CPU_FLAGS).intersection(info.get("flags", "").split()),
        logical_cores=logical,
        affinity=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else logical,
        quota=_quota(root),
        memory=total,
        memory_available=available,
        gpus=_gpus() if gpus else (),
    )


def precision(requested: str = "auto", hardware: Hardware | None = None) -> Precision:
    """Choose the format in which matrices are multiplied; weights stay float32.

    ``auto`` is bfloat16 if the hardware multiplies it fast (AMX, avx512_bf16, or GPUs that do), and float32 otherwise:
    emulated bfloat16 is slower than float32.

    Args:
        requested: ``auto``, ``float32`` or ``bfloat16``; the latter two are returned as they are.
        hardware: From :func:`describe`, which is called here if not given.

    Raises:
        ConfigError: If ``requested`` is something else.
    """
    if requested == "float32":
        return "float32"
    if requested == "bfloat16":
        return "bfloat16"
    if requested != "auto":
        raise ConfigError([f"precision is auto, float32 or bfloat16; got {requested!r}"])
    return "bfloat16" if (hardware or describe()).fast_bfloat16 else "float32"


def matmul_speed(kind: Precision, seconds: float = 0.5, device: str = "cpu") -> float:
    """Measure square matrix products for about ``seconds``, and return GFLOP/s.

    Args:
        kind: Number format of the factors.
        seconds: Length of the measurement.
        device: ``cpu`` or ``cuda``.
    """
    import torch

    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32

    def multiply(size: int, at_least: float) -> float:
        """Return the seconds per product of two (size, size) matrices."""
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        products, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < at_least or not products:
            (a @ b)[0, 0].item()  # reading the number waits for a GPU to finish
            products += 1
        return elapsed / products

    size = _SMALLEST_PRODUCT
    multiply(size, 0.0)  # not counted: the first product of a format sets up its kernels
    while size < _LARGEST_PRODUCT and multiply(size, 0.0) < _TOO_QUICK:
        size *= 2
    return 2 * size**3 / multiply(size, seconds) / 1e9


def resident_memory() -> int:
    """Return the bytes of RAM that this process holds, 0 if the system does not report them."""
    try:
        return int(_read(Path("/proc/self/statm")).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (IndexError, ValueError):
        return 0


def limit_kernel_caches() -> None:
    """Bound the compiled kernels that a process keeps; call it before the first forward pass.

    oneDNN and torch's cache of oneDNN kernels each keep one per shape, for the last 1,024 shapes. Batches of texts
    have any shape, so that the memory of a long-running classifier would grow by hundreds of MiB. Smaller caches are
    not slower. What the user has set stays.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, "16")


def release_freed_memory() -> None:
    """Return memory to the system that this process has freed and the C library has kept.

    Batches of changing lengths leave holes in the heap that later tensors do not fit into, so the memory of a training
    grows from step to step although nothing is kept. Has an effect with glibc only.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _processor(root: Path) -> dict[str, str]:
    """Return the fields of the first processor in /proc/cpuinfo; empty on systems other than Linux."""
    first = _read(root / "proc/cpuinfo").strip().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs}


def _gpus() -> tuple[Gpu, ...]:
    import torch

    if not torch.cuda.is_available():
        return ()
    devices = (torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count()))
    # bfloat16 came with compute capability 8.0; torch emulates it on older devices.
    return tuple(Gpu(device.name, device.total_memory, device.major >= 8) for device in devices)


def _quota(root: Path) -> float | None:
    """Return the lowest CPU quota, in cores, of this process's cgroup and those above it."""
    limits = []
    for folder in _cgroups(root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")  # version 2: "150000 100000" or "max 100000"
        if not quota:  # version 1, where -1 means no limit
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.strip().isdigit() and period.strip().isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _memory(root: Path) -> tuple[int, int]:
    """Return bytes (total, available) of the machine, or of the cgroup with the lowest limit."""
    pairs = (line.split() for line in _read(root / "proc/meminfo").splitlines())
    info = {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs if len(words) > 1 and words[1].isdigit()}
    total = info.get("MemTotal", 0) or _physical_memory()
    available = info.get("MemAvailable", total)
    for folder in _cgroups(root, "memory"):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is None or limit >= _UNLIMITED:
            continue
        # Pages of files that can be dropped at any time count as used in a cgroup.
        used = _number(folder, "memory.current", "memory.usage_in_bytes") or 0
        reclaimable = _field(_read(folder / "memory.stat"), "inactive_file")
        total, available = min(total, limit), min(available, max(0, limit - used + reclaimable))
    return total, available


def _physical_memory() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 0


def _cgroups(root: Path, controller: str) -> Iterator[Path]:
    """Yield the folders of this process's cgroup for a controller and of those above it, versions 1 and 2."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")  # version 2: "0::/path"; version 1: "4:cpu,cpuacct:/path"
        controllers, _, path = rest.partition(":")
        if number == "0":
            base = mount
        elif controller in controllers.split(","):
            base = mount / controller
        else:
            continue
        # In a container the path may be the host's. Then only the mount itself exists.
        folder = base / path.strip("/")
        yield from (parent for parent in (folder, *folder.parents) if parent.is_relative_to(base))


def _number(folder: Path, *names: str) -> int | None:
    texts = (_read(folder / name).strip() for name in names)
    return next((int(text) for text in texts if text.isdigit()), None)


def _field(text: str, name: str) -> int:
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith(f"{name} ")), 0)


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
