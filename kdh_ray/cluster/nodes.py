"""The machines of a cluster: whether each can do a run's work, and how many trials they have room for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from kdh_ray.errors import UnavailableError, UserError

CHECK_SECONDS = 120.0  # most of it is the start of a process on each machine
ROOM_SECONDS = 2.0  # between two looks at the cluster


def check_machines(folder: Path, encoders: Sequence[str]) -> None:
    """Check that every machine shares ``folder`` with this one, and has the encoders.

    A cluster that is only this machine needs no check.

    Args:
        folder: Folder of the run.
        encoders: As stages name them; see ``kdh_ray.models.encoders.locate``.

    Raises:
        UnavailableError: With each unfit machine and its faults, in one line.
    """
    import ray

    nodes = alive_nodes()
    if len(nodes) == 1 and nodes[0]["NodeID"] == ray.get_runtime_context().get_node_id():
        return
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f".seen-by-all-{uuid4().hex}"
    marker.touch()
    try:
        faults = _ask_machines(nodes, marker, list(encoders))
    finally:
        marker.unlink(missing_ok=True)
    remaining = {node["NodeID"] for node in alive_nodes()}  # a machine that has left by now is no obstacle
    unfit = [
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}): {faults[node['NodeID']]}"
        for node in nodes
        if faults[node["NodeID"]] and node["NodeID"] in remaining
    ]
    if unfit:
        raise UnavailableError("; ".join(unfit))


def _ask_machines(nodes: Iterable[Mapping[str, Any]], marker: Path, encoders: list[str]) -> dict[str, str]:
    """Run :func:`machine_faults` on every machine at once; node id to faults."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    check = ray.remote(num_cpus=0, max_retries=0)(machine_faults)
    answers = {}
    for node in nodes:
        here = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
        answers[node["NodeID"]] = check.options(scheduling_strategy=here).remote(str(marker), encoders)
    return {node: _wait_for(answer) for node, answer in answers.items()}


def machine_faults(marker: str, encoders: list[str]) -> str:
    """Return in words why the machine on which this runs can't do the work; empty if it can.

    Args:
        marker: A file in the run's folder, which this machine must see.
        encoders: As stages name them.
    """
    from kdh_ray.models.encoders import check_reachable

    file, faults = Path(marker), []
    if not file.exists():
        faults.append(f"does not see {file.parent}, which has to be on storage that all machines share")
    else:
        try:
            own = file.with_name(f"{file.name}-{uuid4().hex}")
            own.touch()
            own.unlink()
        except OSError as error:
            faults.append(f"can't write to {file.parent} ({error.strerror})")
    for encoder in encoders:
        try:
            check_reachable(encoder)
        except UserError as error:
            faults.append(str(error))
    return ", ".join(faults)


def _wait_for(answer: Any) -> str:
    import ray

    try:
        return str(ray.get(answer, timeout=CHECK_SECONDS))
    except ray.exceptions.GetTimeoutError:
        return f"gave no answer in {CHECK_SECONDS:g} s"
    except ray.exceptions.RayError as error:  # such as a module that is not installed there
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return (lines[-1] if lines else type(error).__name__)[:300]


def alive_nodes() -> list[dict[str, Any]]:
    """Return Ray's entries of the machines that are in the cluster now."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


class Room:
    """Number of trials that the cluster has room for at once; machines may join and leave.

    Args:
        resources: Resources of one trial, such as ``{"CPU": 1, "memory": 1e9}``.
    """

    def __init__(self, resources: Mapping[str, float]) -> None:
        self.resources = {kind: amount for kind, amount in resources.items() if amount > 0}
        self._trials, self._looked = 0, -ROOM_SECONDS

    def __call__(self) -> int:
        """Return the number of trials, at least one: a trial without room waits for a machine."""
        if time.monotonic() - self._looked >= ROOM_SECONDS:
            self._trials, self._looked = max(1, self.count()), time.monotonic()
        return self._trials

    def count(self) -> int:
        """Return the number of trials that fit on the machines of this moment."""
        return _count_fitting(self.resources, alive_nodes())

    def require(self) -> None:
        """Refuse trials that would wait forever.

        Raises:
            UnavailableError: If no machine has room for one trial.
        """
        if not self.count():
            most = {kind: max(node["Resources"].get(kind, 0.0) for node in alive_nodes()) for kind in self.resources}
            raise UnavailableError(
                f"a trial takes {_amounts(self.resources)}; the largest machine has {_amounts(most)}"
            )


def most_cpus_each(workers: int, gpus: float) -> int:
    """Return the largest number of whole CPUs, next to ``gpus`` GPUs, with which all ``workers`` fit on the machines.

    It is 0 if they do not fit with one CPU each.
    """
    nodes = alive_nodes()
    with_gpus = {"GPU": gpus} if gpus else {}
    most = max(int(node["Resources"].get("CPU", 0.0)) for node in nodes)
    fitting = (cpus for cpus in range(most, 0, -1) if _count_fitting({"CPU": cpus, **with_gpus}, nodes) >= workers)
    return next(fitting, 0)


def _count_fitting(resources: Mapping[str, float], nodes: Iterable[Mapping[str, Any]]) -> int:
    """Return how often ``resources``, all above 0, fit on the machines; each time on a single machine."""
    # Ray's amounts are multiples of 0.0001, and 0.3 / 0.1 is 2.9999...: so add a little before rounding down.
    return sum(
        min(int(node["Resources"].get(kind, 0.0) / amount + 1e-9) for kind, amount in resources.items())
        for node in nodes
    )


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(
        f"{amount / 2**30:.1f} GiB of memory" if kind == "memory" else f"{amount:g} {kind}"
        for kind, amount in resources.items()
    )
