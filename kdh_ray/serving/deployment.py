"""Classifiers on Ray Serve, which places replicas on machines and replaces those that die.

HTTP is answered by the process that starts them, not by Serve's proxies: the limits then hold before a text enters Ray,
the token never does, and the counters of ``/metrics`` are in one place.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager

from kdh_runtime.serving.batching import Batcher
from kdh_runtime.serving.interface import MOST_PER_CALL, Predict, TextResult

from kdh_ray.errors import UnavailableError
from kdh_ray.serving.loading import load_predict

_CALLS = 1_000  # that one replica accepts at a time: enough to fill batches; the API bounds the texts that wait


class Replica:
    """A classifier in a process of its own.

    Args:
        checkpoint: Folder or bucket that the replica's machine can read.
        precision: See :func:`kdh_ray.load_classifier`.
        batch_size: Texts per batch.
    """

    def __init__(self, checkpoint: str, precision: str, batch_size: int) -> None:
        self._predict = Batcher(load_predict(checkpoint, precision, batch_size), batch_size)

    async def predict(self, texts: list[str]) -> list[TextResult]:
        """Return a result per text."""
        return await self._predict(texts)


@contextmanager
def on_ray_serve(
    checkpoint: str, *, replicas: int = 1, precision: str = "auto", batch_size: int = MOST_PER_CALL,
    verbose: bool = False,
) -> Iterator[Predict]:  # fmt: skip
    """Start replicas on the Ray that is initialised; yield a coroutine function that labels texts with them.

    Raises:
        UnavailableError: If Ray Serve is not installed, or the replicas don't start.
    """
    try:
        from ray import serve
        from ray.serve.schema import LoggingConfig
    except ImportError:
        raise UnavailableError("serving on Ray needs Ray Serve: pip install 'kdh-ray[serve]', or --local") from None
    if not verbose:
        logging.getLogger("ray.serve").setLevel(logging.ERROR)
    quiet = LoggingConfig(log_level="INFO" if verbose else "WARNING", enable_access_log=False)
    deployment = serve.deployment(Replica).options(
        num_replicas=replicas, ray_actor_options=_resources(replicas), max_ongoing_requests=_CALLS, logging_config=quiet
    )
    application = f"kdh-ray-{secrets.token_hex(4)}"  # a cluster may serve other checkpoints too
    serve.start(proxy_location="Disabled", logging_config=quiet)
    try:
        try:
            bound = deployment.bind(checkpoint, precision, batch_size)
            handle = serve.run(bound, name=application, route_prefix=None)
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:300]
            raise UnavailableError(f"the replicas on Ray Serve did not start ({reason})") from None
        yield lambda texts: handle.predict.remote(texts)
    finally:
        serve.delete(application)


def _resources(replicas: int) -> dict[str, float]:
    """Return what a replica uses: a GPU each if there are any, else its share of the CPUs of the cluster."""
    import ray

    total = ray.cluster_resources()
    if total.get("GPU", 0.0) >= replicas:
        return {"num_gpus": 1.0, "num_cpus": 1.0}
    return {"num_cpus": float(max(1, int(total.get("CPU", 1.0)) // replicas))}
