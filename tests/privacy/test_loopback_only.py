"""The whole way from texts to a service, in a network namespace that has the loopback device and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parent / "support"
ALONE = ["unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]


def may_be_alone() -> bool:
    """Return True if this user may make a network namespace."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        return False
    return subprocess.run([*ALONE, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not may_be_alone(), reason="needs unshare, ip, and the right to make a network namespace")
def test_everything_works_without_a_network(tmp_path: Path) -> None:
    ray = Path(tempfile.mkdtemp(prefix="kr", dir="/tmp"))  # paths of sockets may have 107 characters
    try:
        result = subprocess.run(
            [*ALONE, sys.executable, SUPPORT / "loopback_only.py", tmp_path, ray],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        shutil.rmtree(ray, ignore_errors=True)
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout == '{"labelled": 2}\n'
