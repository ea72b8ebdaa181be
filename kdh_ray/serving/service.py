"""A checkpoint as a service, from start to end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from kdh_ray import __version__
from kdh_ray.config import JobConfig
from kdh_ray.models.checkpoint import load_card
from kdh_ray.serving.app import MOST_PER_CALL, Limits, Predict, ServiceInfo, make_app
from kdh_ray.serving.server import Address, check_certificate, open_socket, run_server
from kdh_ray.storage import fetched


@dataclass(frozen=True)
class Service:
    """A checkpoint and how it is served.

    Attributes:
        checkpoint: Folder or bucket.
        address: Where it listens.
        limits: The most that it accepts.
        replicas: Classifiers on Ray Serve.
        precision: See :func:`kdh_ray.load_classifier`.
        batch_size: Texts per batch.
        local: Run the classifier in this process instead of on Ray.
        cluster: Address of a running Ray cluster; a local Ray is started if None.
        verbose: Show Ray's own log lines.
    """

    checkpoint: str
    address: Address
    limits: Limits = field(default_factory=Limits)
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
        UnavailableError: If the port is taken, the certificate can't be used, Ray Serve is missing, or Ray or its
            replicas don't start.
        KeyboardInterrupt: When it is interrupted.
    """
    check_certificate(service.address)
    about = describe(service.checkpoint)
    with open_socket(service.address) as listener, _classifier(service) as predict:
        address = service.address
        app = make_app(predict, about, service.limits, token=address.token, hosts=address.host_names)
        ready(address.url(listener.getsockname()[1]))
        run_server(app, listener, address)


def describe(checkpoint: str) -> ServiceInfo:
    """Return what a checkpoint's card says about it.

    Raises:
        CheckpointError: If it is not a checkpoint.
    """
    with fetched(checkpoint) as folder:
        card = load_card(folder)
    name = Path(checkpoint.rstrip("/")).name
    if "stage" in card.notes and "run" in card.notes:
        name = f"{card.notes['stage']} of {card.notes['run']}"
    return ServiceInfo(name, card.fingerprint, card.labels, card.thresholds, card.reading.to_json(), __version__)


@contextmanager
def _classifier(service: Service) -> Iterator[Predict]:
    """Yield a coroutine function that labels texts, in this process or on Ray."""
    if service.local:
        from kdh_ray.serving.batching import Batcher
        from kdh_ray.serving.loading import load_predict

        yield Batcher(load_predict(service.checkpoint, service.precision, service.batch_size), service.batch_size)
        return
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
