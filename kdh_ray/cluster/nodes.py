"""The machines of a cluster: whether each can do a run's work, and how many trials they have room for."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from kdh_ray.errors import UnavailableError, UserError

CHECK_SECONDS = 120.0  # of which most is the start of a process on each machine
ROOM_SECONDS = 2.0  # between two looks at the cluster


def check_machines(folder: Path, encoders: Sequence[str]) -> None:
    """See that every machine shares ``folder`` with this one, and has the encoders. On one machine alone, do nothing.

    Args:
        folder: The run's folder.
        encoders: As stages name them; see ``kdh_ray.models.encoders.locate``.

    Raises:
        UnavailableError: With the machines and what each lacks, in one line.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = alive_nodes()
    if len(nodes) == 1 and nodes[0]["NodeID"] == ray.get_runtime_context().get_node_id():
        return
    folder.mkdir(parents=True, exist_ok=True)
    marker = folder / f".seen-by-all-{uuid4().hex}"
    marker.touch()
    look = ray.remote(num_cpus=0, max_retries=0)(lacks)
    try:
        answers = {
            node["NodeID"]: look.options(
                scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            ).remote(str(marker), list(encoders))
            for node in nodes
        }
        found = {node["NodeID"]: _answer(answers[node["NodeID"]]) for node in nodes}
    finally:
        marker.unlink(missing_ok=True)
    still = {node["NodeID"] for node in alive_nodes()}  # one that went meanwhile lacks nothing that matters
    faults = [
        f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']}): {found[node['NodeID']]}"
        for node in nodes
        if found[node["NodeID"]] and node["NodeID"] in still
    ]
    if faults:
        raise UnavailableError("; ".join(faults))


def lacks(marker: str, encoders: list[str]) -> str:
    """What the machine on which this runs lacks, in words; empty if nothing."""
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


def _answer(reference: Any) -> str:
    import ray

    try:
        return str(ray.get(reference, timeout=CHECK_SECONDS))
    except ray.exceptions.GetTimeoutError:
        return f"gave no answer in {CHECK_SECONDS:g} s"
    except ray.exceptions.RayError as error:  # such as a module that is not installed there
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        return (lines[-1] if lines else type(error).__name__)[:300]


def alive_nodes() -> list[dict[str, Any]]:
    """Ray's entries of the machines that are there now."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


class Room:
    """How many trials of ``resources`` the cluster has room for at once, by its machines of now: they come and go."""

    def __init__(self, resources: Mapping[str, float]) -> None:
        self.resources = {kind: amount for kind, amount in resources.items() if amount > 0}
        self._trials, self._looked = 0, -ROOM_SECONDS

    def __call__(self) -> int:
        """Trials, one at least: what there is no room for waits for a machine."""
        if time.monotonic() - self._looked >= ROOM_SECONDS:
            self._trials, self._looked = max(1, self.count()), time.monotonic()
        return self._trials

    def count(self) -> int:
        """Trials that the machines of this moment have room for."""
        return _room(self.resources, alive_nodes())

    def require(self) -> None:
        """Refuse what would wait for ever.

        Raises:
            UnavailableError: If no machine has room for one trial.
        """
        if not self.count():
            most = {kind: max(node["Resources"].get(kind, 0.0) for node in alive_nodes()) for kind in self.resources}
            raise UnavailableError(
                f"a trial takes {_amounts(self.resources)}; the largest machine has {_amounts(most)}"
            )


def most_each(workers: int, gpus: float) -> int:
    """The most CPUs that each of ``workers`` can have beside ``gpus`` GPUs, on the machines of this moment; 0: none."""
    nodes, beside = alive_nodes(), {"GPU": gpus} if gpus else {}
    most = max(int(node["Resources"].get("CPU", 0.0)) for node in nodes)
    fitting = (cpus for cpus in range(most, 0, -1) if _room({"CPU": cpus, **beside}, nodes) >= workers)
    return next(fitting, 0)


def _room(resources: Mapping[str, float], nodes: Iterable[Mapping[str, Any]]) -> int:
    """How often ``nodes`` have ``resources``, each of which is above 0, on one machine."""
    return sum(
        min(int(node["Resources"].get(kind, 0.0) / amount + 1e-9) for kind, amount in resources.items())
        for node in nodes
    )


def _amounts(resources: Mapping[str, float]) -> str:
    return ", ".join(
        f"{amount / 2**30:.1f} GiB of memory" if kind == "memory" else f"{amount:g} {kind}"
        for kind, amount in resources.items()
    )
