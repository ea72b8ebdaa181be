"""From a loaded classifier to a process that answers HTTP until it is interrupted."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_runtime.audit import Audit
from kdh_runtime.errors import ServiceError
from kdh_runtime.serving.address import Address, check_certificate, open_socket
from kdh_runtime.serving.app import make_app
from kdh_runtime.serving.interface import Limits, Predict, ServiceInfo

if TYPE_CHECKING:
    from starlette.types import ASGIApp

_CONNECTIONS = 256  # at a time: each may hold a whole body in memory
_SHUTDOWN_SECONDS = 10  # for requests that are being answered when the service ends


@dataclass(frozen=True)
class ServerOptions:
    """How any classifier is served.

    Attributes:
        address: Where the service listens, and who may use it.
        limits: The most that it accepts.
        audit: File to which a line per labelled request is appended; none if None.
    """

    address: Address = field(default_factory=Address)
    limits: Limits = field(default_factory=Limits)
    audit: Path | None = None


def serve_classifier(
    start: Callable[[], AbstractContextManager[Predict]],
    about: ServiceInfo,
    precision: str,
    options: ServerOptions,
    ready: Callable[[str], None],
) -> None:
    """Serve until the process is interrupted.

    Args:
        start: Returns a context in which there is a function that labels texts. It is entered once the port is open.
        about: The classifier.
        precision: Its number format, for the audit.
        options: Address, limits and audit.
        ready: Called with the page's address once requests are answered.

    Raises:
        ServiceError: If the port is taken, or the certificate or the audit file can't be used.
        KeyboardInterrupt: When it is interrupted.
    """
    address = options.address
    check_certificate(address)
    audit = _checked(None if options.audit is None else Audit(options.audit, about.fingerprint, precision))
    with open_socket(address) as listener, start() as predict:
        app = make_app(
            predict, about, options.limits, tokens=address.tokens, hosts=address.host_names, audit=audit
        )  # fmt: skip
        ready(address.url(listener.getsockname()[1]))
        run_server(app, listener, address)


def run_server(app: ASGIApp, listener: socket.socket, address: Address) -> None:
    """Answer requests until SIGINT or SIGTERM, and those that are being answered then.

    Raises:
        KeyboardInterrupt: After SIGINT.
    """
    import uvicorn

    settings: dict[str, Any] = {"ssl_certfile": address.certificate, "ssl_keyfile": address.key}
    # No access log: a mistaken client may put a text into a query string.
    config = uvicorn.Config(
        app, access_log=False, log_config=None, lifespan="off", server_header=False, ws="none",
        proxy_headers=False,  # the audit has the address of the connection, not the one that a client claims
        limit_concurrency=_CONNECTIONS, timeout_graceful_shutdown=_SHUTDOWN_SECONDS, **settings,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # malformed requests, and its own start and end
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))


def _checked(audit: Audit | None) -> Audit | None:
    if audit is not None:
        try:
            audit.check()
        except OSError as error:
            raise ServiceError(f"--audit {audit.file} can't be written ({error.strerror})") from None
    return audit
