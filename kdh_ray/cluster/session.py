"""Ray for one run: a local one started here, or a running cluster joined."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from kdh_ray import hardware
from kdh_ray.cluster.nodes import Room, alive_nodes, most_each
from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError
from kdh_ray.events import EventLog

# Read by Ray when it is started; what the user has set stays. Token authentication is Ray's own default for what it
# starts here (the token lies in ~/.ray/auth_token), and can't be set once Ray is imported.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # workers without a GPU see the machine as it is; also quiets a warning
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # the dashboard's Train page
    "RAY_DEDUP_LOGS": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # each epoch's report waits for the next; by default 2 s
}
_ON_THIS_MACHINE = {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0"}  # a process more, for machines that are taken away


@contextmanager
def ray_session(
    job: JobConfig,
    verbose: bool = False,
    cpus: int | None = None,
    check: Callable[[], None] = lambda: None,
    log: EventLog | None = None,
) -> Iterator[str]:
    """Ray, for the length of a block; yields the dashboard's address, empty where there is none.

    A Ray that is already initialised in this process is used and left running.

    Args:
        job: Its ``address`` names a running cluster, else RAY_ADDRESS does, as in a submitted job; without either, Ray
            is started on this machine and bound to it.
        verbose: Show Ray's own log lines.
        cpus: CPUs that a Ray started here counts with; those that this process may use if not given. Ray itself sees a
            container's quota, but no batch system's affinity, and would run a trial on each core of the machine.
        check: Called once Ray is there, but not for one that was there before: what it raises ends the session.
        log: Is told that Ray is being started, and where its dashboard is; not of one that was there before.

    Raises:
        UnavailableError: If the cluster can't be reached.
    """
    address = job.address or os.environ.get("RAY_ADDRESS")
    for name, value in {**_ENVIRONMENT, **({} if address else _ON_THIS_MACHINE)}.items():
        os.environ.setdefault(name, value)
    import ray

    if ray.is_initialized():
        yield _dashboard()
        return
    log = log or EventLog()
    log.write("note", "", text=f"Joining Ray at {address}" if address else "Starting Ray")
    level = logging.INFO if verbose else logging.ERROR
    cpus = cpus or hardware.describe(gpus=False).cores
    started_here = {"include_dashboard": True, "dashboard_host": "127.0.0.1", "num_cpus": cpus}
    arguments = {"address": address} if address else started_here
    with _termination_as_interrupt() as listen:
        try:
            ray.init(log_to_driver=verbose, logging_level=level, configure_logging=True, **arguments)
        except Exception as error:  # of any class: a node that starts too slowly raises Exception itself
            where = f"the Ray cluster at {address!r}" if address else "a local Ray"
            told = " ".join(str(error).split())[:300]
            raise UnavailableError(f"{where} can't be reached or started: {told}") from None
        listen()
        try:
            check()
            dashboard = _dashboard()
            log.write("note", "", text=f"Ray dashboard: {dashboard}" if dashboard else "Ray has no dashboard here")
            yield dashboard
        finally:
            ray.shutdown()


@contextmanager
def _termination_as_interrupt() -> Iterator[Callable[[], None]]:
    """From the call of what this yields, SIGTERM is answered as Ctrl-C is; afterwards as it was before.

    Batch systems and ``docker stop`` send it. Ray's own handler, which starting Ray installs, prints a stack and exits.
    """
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is not threading.main_thread() or before is None:
        yield lambda: None
        return

    def interrupt(_: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        (handler if callable(handler) else signal.default_int_handler)(signal.SIGINT, frame)

    def listen() -> None:
        signal.signal(signal.SIGTERM, interrupt)

    try:
        yield listen
    finally:
        signal.signal(signal.SIGTERM, before)


def _dashboard() -> str:
    import ray

    url = ray._private.worker.get_dashboard_url()
    return f"http://{url}" if url else ""


def has_gpus() -> bool:
    """Whether any machine of the cluster has a GPU."""
    return any(node["Resources"].get("GPU", 0.0) > 0 for node in alive_nodes())


def resources(job: JobConfig) -> tuple[float, float]:
    """(CPUs, GPUs) of each worker: what is configured, else as many CPUs as all of them find on the machines of now.

    Raises:
        UnavailableError: If the cluster hasn't as much.
    """
    gpus = job.gpus_per_worker if job.gpus_per_worker is not None else float(has_gpus())
    most_cpus = max(node["Resources"].get("CPU", 0.0) for node in alive_nodes())
    cpus = float(job.cpus_per_worker or most_each(job.workers, gpus) or (job.autoscaling and int(most_cpus)) or 1)
    if job.autoscaling:
        return cpus, gpus
    if cpus > most_cpus:
        raise UnavailableError(
            f"job.cpus_per_worker: the largest machine has {most_cpus:g} CPUs; got {cpus:g} for each worker"
        )
    room = Room({"CPU": cpus, "GPU": gpus}).count()
    if room < job.workers:
        each = f"{cpus:g} CPU" + (f" and {gpus:g} GPU" if gpus else "")
        raise UnavailableError(f"job.workers: the machines have room for {room} with {each} each; got {job.workers}")
    return cpus, gpus
