"""Submit a job to a running cluster from a laptop: reach the head, show the token, submit, follow the log."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from kdh_ray.errors import UnavailableError, UserError

TOKEN = Path("~/.ray/auth_token")
TUNNEL_SECONDS = 120.0


@contextmanager
def head_address(address: str | None, cluster: Path) -> Iterator[str]:
    """Yield the URL of a cluster's dashboard, for the length of a block.

    Args:
        address: The URL, if this machine can reach the dashboard. RAY_API_SERVER_ADDRESS if not given. Without either,
            ``ray dashboard`` opens an SSH tunnel to the head.
        cluster: The file with which ``ray up`` started the cluster.

    Raises:
        UserError: If there is neither an address nor the file.
        UnavailableError: If the head can't be reached.
    """
    reachable = address or os.environ.get("RAY_API_SERVER_ADDRESS")
    if reachable:
        yield reachable
        return
    if not cluster.is_file():
        raise UserError(f"{cluster}: no such file; give the file of `ray up` as --cluster, or --address")
    # `ray dashboard` tunnels to the loopback of the head, where the dashboard listens.
    port = _free_port()
    command = [sys.executable, "-m", "ray.scripts.scripts", "dashboard", str(cluster), "--port", str(port)]
    tunnel = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,  # its own process group, so that ssh below it can be ended too
    )  # fmt: skip
    try:
        _await_port(tunnel, port, cluster)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):  # it has ended by itself
            os.killpg(tunnel.pid, 15)
        tunnel.communicate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _await_port(tunnel: subprocess.Popen[str], port: int, cluster: Path) -> None:
    deadline = time.monotonic() + TUNNEL_SECONDS
    while time.monotonic() < deadline:
        if tunnel.poll() is not None:
            output = tunnel.stdout.read() if tunnel.stdout else ""
            raise UnavailableError(f"{cluster}: no SSH tunnel to the head: {' '.join(output.split())[-300:]}")
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.2)
    raise UnavailableError(f"{cluster}: no SSH tunnel to the head within {TUNNEL_SECONDS:g} s")


def connect(address: str) -> Any:
    """Return a client of the cluster whose dashboard is at ``address``, with the user's token.

    Raises:
        UnavailableError: If this machine has no token, the cluster refuses it, or nothing answers.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    given = any(os.environ.get(name) for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"))
    if os.environ["RAY_AUTH_MODE"] == "token" and not given and not TOKEN.expanduser().is_file():
        raise UnavailableError(f"{TOKEN} is missing: copy the cluster's token there, or set RAY_AUTH_TOKEN_PATH")
    from ray.job_submission import JobSubmissionClient

    with _one_line_errors(f"the cluster at {address} takes no jobs from here"):
        return JobSubmissionClient(address)


@contextmanager
def _one_line_errors(what: str) -> Iterator[None]:
    """Turn the errors of Ray's job client into an ``UnavailableError`` of one line."""
    from ray.exceptions import AuthenticationError

    try:
        yield
    except (OSError, RuntimeError, ValueError, AuthenticationError) as error:  # the errors of requests are OSErrors
        raise UnavailableError(f"{what}: {' '.join(str(error).split())[:300]}") from None


def follow(client: Any, job: str, write: Callable[[str], object]) -> str:
    """Pass a job's output to ``write`` until it ends, and return its last status, such as ``SUCCEEDED``.

    Raises:
        UnavailableError: If the connection to the head is lost. The job may still be running.
    """

    async def tail() -> None:
        async for chunk in client.tail_job_logs(job):
            write(chunk)

    with _one_line_errors(f"{job}: the head can't be reached any more"):
        asyncio.run(tail())
        while not client.get_job_status(job).is_terminal():  # the log may end a moment before the job
            time.sleep(0.5)
        return str(client.get_job_status(job).value)


def submit(client: Any, entrypoint: str, files: Path) -> str:
    """Start a job in a copy of the folder ``files`` on the head, and return its id.

    Raises:
        UnavailableError: If the cluster refuses it.
    """
    with _one_line_errors("the cluster takes no jobs from here"):
        return str(client.submit_job(entrypoint=entrypoint, runtime_env={"working_dir": str(files)}))
