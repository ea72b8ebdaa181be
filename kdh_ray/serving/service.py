"""A checkpoint as a service, from start to end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kdh_runtime.serving.interface import MOST_PER_CALL, Predict, ServiceInfo
from kdh_runtime.serving.server import ServerOptions, serve_classifier

from kdh_ray import __version__
from kdh_ray.config import JobConfig
from kdh_ray.models.checkpoint import load_card
from kdh_ray.storage import fetched


@dataclass(frozen=True)
class Service:
    """A checkpoint and how it is served.

    Attributes:
        checkpoint: Folder or bucket.
        options: Address, limits and audit.
        replicas: Classifiers on Ray Serve.
        precision: See :func:`kdh_ray.load_classifier`.
        batch_size: Texts per batch.
        local: Run the classifier in this process instead of on Ray.
        cluster: Address of a running Ray cluster; a local Ray is started if None.
        verbose: Show Ray's own log lines.
    """

    checkpoint: str
    options: ServerOptions = field(default_factory=ServerOptions)
    replicas: int = 1
    precision: str = "auto"
    batch_size: int = MOST_PER_CALL
    local: bool = False
    cluster: str | None = None
    verbose: bool = False


def serve(service: Service, ready: Callable[[str], None]) -> None:
    """Serve until the process is interrupted.

    Args:
        service: What to serve.
        ready: Called with the page's address once requests are answered.

    Raises:
        CheckpointError: If the checkpoint is missing, corrupt or foreign.
        ServiceError: If the port is taken, or the certificate or the audit file can't be used.
        UnavailableError: If Ray Serve is missing, or Ray or its replicas don't start.
        KeyboardInterrupt: When it is interrupted.
    """
    about = describe(service.checkpoint)
    serve_classifier(lambda: _classifier(service), about, service.precision, service.options, ready)


def describe(checkpoint: str) -> ServiceInfo:
    """Return what a checkpoint's card says about it.

    Raises:
        CheckpointError: If it is not a checkpoint.
    """
    with fetched(checkpoint) as folder:
        card = load_card(folder)
    name = card.name or Path(checkpoint.rstrip("/")).name
    return ServiceInfo(name, card.fingerprint, card.labels, card.thresholds, card.reading.to_json(), __version__)


@contextmanager
def _classifier(service: Service) -> Iterator[Predict]:
    """Yield a coroutine function that labels texts, in this process or on Ray."""
    if service.local:
        from kdh_runtime.serving.batching import Batcher

        from kdh_ray.serving.loading import load_predict

        yield Batcher(load_predict(service.checkpoint, service.precision, service.batch_size), service.batch_size)
        return
    # A Ray that starts here gives its workers 15, so that a replica starts and answers after all else on the machine.
    os.environ.setdefault("RAY_worker_niceness", "0")
    from kdh_ray.cluster.session import ray_session
    from kdh_ray.serving.deployment import on_ray_serve

    checkpoint = service.checkpoint if "://" in service.checkpoint else str(Path(service.checkpoint).resolve())
    with (
        ray_session(JobConfig(address=service.cluster), service.verbose),
        on_ray_serve(
            checkpoint, replicas=service.replicas, precision=service.precision, batch_size=service.batch_size,
            verbose=service.verbose,
        ) as predict,
    ):  # fmt: skip
        yield predict
