"""What this process may use of the machine, the number format that it multiplies fastest, and memory given back.

Containers and batch systems give a process less than the machine has: CPU affinity, a cgroup's CPU quota, a cgroup's
memory limit. All three are read here, of cgroup versions 1 and 2, since most libraries see only the whole machine.
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
_SMALLEST_PRODUCT, _LARGEST_PRODUCT = 256, 4096  # rows and columns
_QUICK = 0.005  # seconds; shorter products measure the call, not the multiplication
_UNLIMITED = 2**60  # cgroup v1 writes a number near 2^63 for no limit


@dataclass(frozen=True)
class Gpu:
    """A CUDA device: its name, memory in bytes, and whether it multiplies bfloat16 in hardware."""

    name: str
    memory: int
    bfloat16: bool


@dataclass(frozen=True)
class Hardware:
    """What this process may use.

    Attributes:
        processor: Model name.
        vendor: As the processor names itself (GenuineIntel, AuthenticAMD), where known.
        flags: Those of :data:`CPU_FLAGS` that it has.
        logical_cores: Of the machine.
        affinity: Logical cores that this process may be scheduled on.
        quota: CPU time a second that its cgroup allows, in cores; None without a limit.
        memory: Bytes of RAM, or of the cgroup's limit.
        memory_available: Bytes not in use, of the same.
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
        """Cores worth a thread each: the affinity, or the quota rounded up, whichever is less."""
        return self.affinity if self.quota is None else max(1, min(self.affinity, math.ceil(self.quota)))

    @property
    def fast_bfloat16(self) -> bool:
        """Whether training is faster in bfloat16: on the GPUs where there are any, else on the processor."""
        if self.gpus:
            return all(gpu.bfloat16 for gpu in self.gpus)
        return any(flag in self.flags for flag in _FAST_BFLOAT16)


def describe(root: Path = Path("/"), gpus: bool = True) -> Hardware:
    """Look at the machine.

    Args:
        root: Where ``proc`` and ``sys`` are.
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
    """The format in which matrices are multiplied; weights stay float32.

    ``auto`` is bfloat16 where the hardware multiplies it fast (AMX, avx512_bf16, or GPUs that do) and float32 anywhere
    else: emulated bfloat16 is slower than float32.

    Args:
        requested: ``auto``, ``float32`` or ``bfloat16``; the latter two are taken as they are.
        hardware: From :func:`describe`; looked at here if not given.

    Raises:
        ConfigError: If it is something else.
    """
    if requested == "float32":
        return "float32"
    if requested == "bfloat16":
        return "bfloat16"
    if requested != "auto":
        raise ConfigError([f"precision is auto, float32 or bfloat16; got {requested!r}"])
    return "bfloat16" if (hardware or describe()).fast_bfloat16 else "float32"


def matmul_speed(kind: Precision, seconds: float = 0.5, device: str = "cpu") -> float:
    """GFLOP/s of square matrix products, measured for about ``seconds``; of a size that takes milliseconds here."""
    import torch

    dtype = torch.bfloat16 if kind == "bfloat16" else torch.float32

    def multiply(size: int, at_least: float) -> float:
        """Seconds a product of that size."""
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        products, start = 0, time.perf_counter()
        while (elapsed := time.perf_counter() - start) < at_least or not products:
            (a @ b)[0, 0].item()  # the item waits for a GPU
            products += 1
        return elapsed / products

    size = _SMALLEST_PRODUCT
    multiply(size, 0.0)  # the first product of a kind sets up its kernels
    while size < _LARGEST_PRODUCT and multiply(size, 0.0) < _QUICK:
        size *= 2
    return 2 * size**3 / multiply(size, seconds) / 1e9


def resident_memory() -> int:
    """Bytes of RAM that this process holds; 0 where the system doesn't tell."""
    try:
        return int(_read(Path("/proc/self/statm")).split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (IndexError, ValueError):
        return 0


def release_freed_memory() -> None:
    """Return to the system what this process has freed and the C library keeps (glibc; elsewhere nothing happens).

    Batches of ever other lengths leave holes in the heap that later tensors don't fit into: training grows from step to
    step though it keeps nothing.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _processor(root: Path) -> dict[str, str]:
    """Fields of the first processor in /proc/cpuinfo; empty elsewhere than on Linux."""
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
    """The least CPU quota on the way from this process's cgroup up to the root, in cores."""
    limits = []
    for folder in _cgroups(root, "cpu"):
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if not quota:
            quota, period = _read(folder / "cpu.cfs_quota_us"), _read(folder / "cpu.cfs_period_us")
        if quota.strip().isdigit() and period.strip().isdigit() and int(period):
            limits.append(int(quota) / int(period))
    return min(limits, default=None)


def _memory(root: Path) -> tuple[int, int]:
    """Bytes (total, available): of the machine, or of the tightest cgroup."""
    pairs = (line.split() for line in _read(root / "proc/meminfo").splitlines())
    info = {words[0].rstrip(":"): int(words[1]) * 1024 for words in pairs if len(words) > 1 and words[1].isdigit()}
    total = info.get("MemTotal", 0) or _physical_memory()
    available = info.get("MemAvailable", total)
    for folder in _cgroups(root, "memory"):
        limit = _number(folder, "memory.max", "memory.limit_in_bytes")
        if limit is None or limit >= _UNLIMITED:
            continue
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
    """Folders of this process's cgroup for a controller and of those above it, versions 1 and 2."""
    mount = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0":
            base = mount
        elif controller in controllers.split(","):
            base = mount / controller
        else:
            continue
        # In a container the path may be the host's: then only the mount itself exists.
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
