"""Ray for one run: start a local Ray, or join a running cluster."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType

from kdh_ray import hardware
from kdh_ray.cluster.nodes import Room, alive_nodes, most_cpus_each
from kdh_ray.config import JobConfig
from kdh_ray.errors import UnavailableError
from kdh_ray.events import EventLog

# Ray reads these when it starts; the user's own settings win. Ray turns token authentication on by itself (the token is
# in ~/.ray/auth_token); it can't be set once Ray is imported.
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",  # nothing leaves the machine
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # don't hide GPUs from workers that reserve none; silences a warning
    "RAY_TRAIN_ENABLE_STATE_TRACKING": "1",  # the dashboard's Train page
    "RAY_DEDUP_LOGS": "0",
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # an epoch's report waits for the next check; Ray's default is 2 s
}
_ON_THIS_MACHINE = {
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # saves a process: this machine is not preempted
    # Saves a process per core. Train and Tune pass environment variables to their workers, so Ray would end the ones
    # that it starts beforehand, unused.
    "RAY_prestart_worker_first_driver": "0",
}


@contextmanager
def ray_session(
    job: JobConfig,
    verbose: bool = False,
    cpus: int | None = None,
    check: Callable[[], None] = lambda: None,
    log: EventLog | None = None,
) -> Iterator[str]:
    """Provide Ray for the length of a block, and yield the dashboard's address, empty if there is no dashboard.

    If Ray is already initialised in this process, the block uses it and leaves it running; ``check`` and ``log`` are
    then not used.

    Args:
        job: Its ``address`` names a running cluster; otherwise RAY_ADDRESS does, as in a submitted job. Without either,
            Ray starts on this machine and is bound to it, with a dashboard unless ``dashboard`` is False.
        verbose: Show Ray's own log lines.
        cpus: CPUs of a Ray that starts here; by default those that this process may use. Ray itself respects the quota
            of a container but not the affinity that a batch system sets, and would run a trial on every core.
        check: Called once Ray is up; an exception that it raises ends the session.
        log: Records that Ray starts, and the address of its dashboard.

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
    log.note(f"Joining Ray at {address}" if address else "Starting Ray")
    with _termination_as_interrupt() as listen:
        _start_or_join(address, job.dashboard, verbose, cpus)
        listen()
        try:
            check()
            dashboard = _dashboard()
            log.note(f"Ray dashboard: {dashboard}" if dashboard else "Ray has no dashboard here")
            yield dashboard
        finally:
            ray.shutdown()


def _start_or_join(address: str | None, dashboard: bool, verbose: bool, cpus: int | None) -> None:
    import ray

    level = logging.INFO if verbose else logging.ERROR
    cpus = cpus or hardware.describe(gpus=False).cores
    # local: without it, ray.init joins a cluster that someone started on this machine
    started_here = {
        "address": "local", "include_dashboard": dashboard, "dashboard_host": "127.0.0.1", "num_cpus": cpus,
    }  # fmt: skip
    arguments = {"address": address} if address else started_here
    try:
        with nullcontext() if address else _on_loopback():
            ray.init(log_to_driver=verbose, logging_level=level, configure_logging=True, **arguments)
    except Exception as error:  # Ray raises Exception itself if a node starts too slowly
        where = f"the Ray cluster at {address!r}" if address else "a local Ray"
        reason = " ".join(str(error).split())[:300]
        raise UnavailableError(f"{where} can't be reached or started: {reason}") from None


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Let a Ray that starts in the block listen on 127.0.0.1 only, unless the user has set the variable for this.

    On Linux, Ray's processes listen on every address of the machine and look for one that others can reach. With this
    variable they do as on macOS and Windows, where Ray has no clusters.
    """
    from ray._private import ray_constants

    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    if name in os.environ:
        yield
        return
    before = ray_constants.ENABLE_RAY_CLUSTER  # was read from the variable when Ray was imported
    os.environ[name], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        del os.environ[name]
        ray_constants.ENABLE_RAY_CLUSTER = before


@contextmanager
def _termination_as_interrupt() -> Iterator[Callable[[], None]]:
    """Treat SIGTERM as Ctrl-C until the block ends, from the moment that the block calls what this yields.

    Batch systems and ``docker stop`` send SIGTERM. Ray installs a handler when it starts, which prints a stack and
    exits; so the block calls ``listen`` after that.
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
    """Return True if a machine of the cluster has a GPU."""
    return any(node["Resources"].get("GPU", 0.0) > 0 for node in alive_nodes())


def worker_resources(job: JobConfig) -> tuple[float, float]:
    """Return the CPUs and GPUs of each worker: as configured, or else as many CPUs as the machines have for all.

    Raises:
        UnavailableError: If the machines of the cluster have less.
    """
    gpus = job.gpus_per_worker if job.gpus_per_worker is not None else float(has_gpus())
    most_cpus = max(node["Resources"].get("CPU", 0.0) for node in alive_nodes())
    cpus = float(job.cpus_per_worker or most_cpus_each(job.workers, gpus) or (job.autoscaling and int(most_cpus)) or 1)
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
