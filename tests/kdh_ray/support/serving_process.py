"""A service in a process of its own: started, asked and interrupted as a user does."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

TOKEN = "correct-horse-battery-staple"


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate for this machine and its key; skip the test where openssl is missing."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    files = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command, *names, "-out", files[0], "-keyout", files[1]], check=True, capture_output=True)
    return files


def served(
    program: str, folder: Path, *arguments: str, env: dict[str, str] | None = None
) -> AbstractContextManager[tuple[Any, str]]:
    """Start ``PROGRAM serve FOLDER`` on a free port; see :func:`answering`."""
    path = os.pathsep.join(sys.path)
    command = [sys.executable, "-m", program, "serve", str(folder), "--port", "0", *arguments]
    return answering(command, {"PYTHONPATH": path, **(env or {})})


@contextmanager
def answering(command: list[str], env: dict[str, str] | None = None) -> Iterator[tuple[Any, str]]:
    """Start a service in a process group, as a terminal does; yield the process and its URL."""
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        env={**os.environ, **(env or {})},
    )  # fmt: skip
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("Serving"), process.stderr.read() if process.stderr else ""
        yield process, line.split(" at ")[1].split()[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def interrupt(process: Any) -> tuple[int, str, str]:
    """Send Ctrl-C as a terminal does, to the whole group; return the exit code, stdout and stderr."""
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def post(url: str, body: Any, **headers: str) -> tuple[int, Any]:
    request = urllib.request.Request(
        f"{url}/predict", json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
    )
    try:
        with urllib.request.urlopen(request, timeout=120) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
