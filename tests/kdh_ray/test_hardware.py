"""The part of a machine that a process may use, read from copies of Linux's files."""

import platform
from pathlib import Path

import pytest

from kdh_ray import hardware
from kdh_ray.errors import ConfigError
from kdh_ray.hardware import Gpu, Hardware, describe, precision

GIB = 2**30
CPUINFO = (
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Xeon\nflags\t\t: fpu avx2 {flags}\n\nprocessor\t: 1\n"
)
MEMINFO = "MemTotal:       33554432 kB\nMemFree:         1048576 kB\nMemAvailable:   16777216 kB\n"


def machine(root: Path, files: dict[str, str], flags: str = "") -> Hardware:
    """Describe a machine of 32 GiB, 16 GiB of them available, with ``files`` in addition."""
    for name, text in {"proc/cpuinfo": CPUINFO.format(flags=flags), "proc/meminfo": MEMINFO, **files}.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return describe(root, gpus=False)


def made_of(flags: tuple[str, ...] = (), gpus: tuple[Gpu, ...] = (), **more: float) -> Hardware:
    defaults = {"logical_cores": 8, "affinity": 8, "quota": None, "memory": 32 * GIB, "memory_available": 16 * GIB}
    return Hardware("Xeon", "GenuineIntel", frozenset(flags), **{**defaults, **more}, gpus=gpus)  # type: ignore[arg-type]


def test_processor_and_memory_are_read(tmp_path: Path) -> None:
    found = machine(tmp_path, {}, flags="amx_bf16 amx_tile ssse3")
    assert (found.processor, found.vendor) == ("Xeon", "GenuineIntel")
    assert found.flags == {"avx2", "amx_bf16", "amx_tile"}
    assert (found.memory, found.memory_available) == (32 * GIB, 16 * GIB)
    assert found.quota is None


def test_limits_of_parent_cgroups_count(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/job/step\n",
            "sys/fs/cgroup/job/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/job/step/cpu.max": "max 100000\n",
            "sys/fs/cgroup/job/memory.max": f"{8 * GIB}\n",
            "sys/fs/cgroup/job/memory.current": f"{6 * GIB}\n",
            "sys/fs/cgroup/job/memory.stat": f"anon 1\ninactive_file {GIB}\n",
            "sys/fs/cgroup/job/step/memory.max": "max\n",
        },
    )
    assert found.quota == 1.5
    assert (found.memory, found.memory_available) == (8 * GIB, 3 * GIB)


def test_limits_of_cgroup_1_count(tmp_path: Path) -> None:
    found = machine(
        tmp_path,
        {
            "proc/self/cgroup": "4:memory:/job\n2:cpu,cpuacct:/job\n",
            "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_quota_us": "200000\n",
            "sys/fs/cgroup/cpu/job/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": f"{4 * GIB}\n",
            "sys/fs/cgroup/memory/job/memory.usage_in_bytes": f"{GIB}\n",
        },
    )
    assert found.quota == 2.0
    assert (found.memory, found.memory_available) == (4 * GIB, 3 * GIB)


def test_unknown_cgroup_path_means_the_mount(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/../../host/path\n", "sys/fs/cgroup/cpu.max": "300000 100000\n"}
    assert machine(tmp_path, files).quota == 3.0


def test_other_systems_are_described(tmp_path: Path) -> None:
    found = describe(tmp_path, gpus=False)
    assert found.cores >= 1
    assert found.flags == frozenset()
    assert found.memory > 0


def test_this_machine_is_described() -> None:
    found = describe(gpus=False)
    assert 1 <= found.cores <= found.logical_cores
    assert 0 < found.memory_available <= found.memory


@pytest.mark.parametrize(("quota", "cores"), [(None, 8), (0.5, 1), (1.5, 2), (64.0, 8)])
def test_cores_respect_affinity_and_quota(quota: float | None, cores: int) -> None:
    assert made_of(quota=quota).cores == cores  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("flags", "gpus", "expected"),
    [
        ((), (), "float32"),
        (("avx2", "avx512f"), (), "float32"),
        (("amx_bf16",), (), "bfloat16"),
        (("avx512_bf16",), (), "bfloat16"),
        ((), (Gpu("new", GIB, True),), "bfloat16"),
        (("amx_bf16",), (Gpu("old", GIB, False),), "float32"),  # training runs on the GPU
        ((), (Gpu("new", GIB, True), Gpu("old", GIB, False)), "float32"),
    ],
)
def test_auto_precision_follows_the_hardware(flags: tuple[str, ...], gpus: tuple[Gpu, ...], expected: str) -> None:
    assert precision("auto", made_of(flags, gpus)) == expected


@pytest.mark.parametrize("requested", ["float32", "bfloat16"])
def test_requested_precision_needs_no_hardware(requested: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "describe", None)
    assert precision(requested) == requested


def test_unknown_precision_is_refused() -> None:
    with pytest.raises(ConfigError, match="auto, float32 or bfloat16; got 'float16'"):
        precision("float16")


def test_matrix_products_are_timed() -> None:
    assert hardware.matmul_speed("float32", seconds=0.01) > 0


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc returns memory on request")
def test_freed_memory_returns_to_the_system() -> None:
    blocks = [bytearray(100_000) for _ in range(2000)]  # each small enough for the heap
    last = blocks.pop()  # above all others, so that the C library can't shrink the heap by itself
    full = hardware.resident_memory()
    blocks.clear()
    hardware.release_freed_memory()
    assert 0 < hardware.resident_memory() < full - 150_000_000
    assert len(last) == 100_000
