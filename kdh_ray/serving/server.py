"""Sockets, tokens and uvicorn: the process that answers HTTP."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import ConfigError, UnavailableError
from kdh_ray.serving.app import LOOPBACK_NAMES

if TYPE_CHECKING:
    from starlette.types import ASGIApp

TOKEN_VARIABLE = "KDH_RAY_TOKEN"
SHORTEST_TOKEN = 16  # characters
_CONNECTIONS = 256  # at a time: each may hold a whole body in memory
_SHUTDOWN_SECONDS = 10  # for requests that are being answered when the service ends


@dataclass(frozen=True)
class Address:
    """Where a service listens, and who may use it.

    Attributes:
        host: Name or address of an interface of this machine.
        port: 0 takes a free one.
        token: Needed for any other host than this machine's own.
        certificate: PEM file of a TLS certificate; plain HTTP if None.
        key: PEM file of its private key.

    Raises:
        ConfigError: If the host needs a token and there is none, or a certificate has no key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        faults = []
        if not self.is_loopback and self.token is None:
            faults.append(
                f"--host {self.host} can be reached from other machines and needs a token: give --token-file or set"
                f" {TOKEN_VARIABLE}"
            )
        if (self.certificate is None) != (self.key is None):
            faults.append("--tls-certificate and --tls-key must be given together")
        if not 0 <= self.port < 2**16:
            faults.append(f"--port must be from 0 to {2**16 - 1}; got {self.port}")
        if faults:
            raise ConfigError(faults, "command line")

    @property
    def is_loopback(self) -> bool:
        """True if only this machine can reach the address."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def host_names(self) -> frozenset[str] | None:
        """Names to answer to, None for any: without a token only the machine's own."""
        return LOOPBACK_NAMES | {self.host} if self.token is None else None

    def url(self, port: int) -> str:
        """Return the address of the page."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'https' if self.certificate else 'http'}://{host}:{port}"

    def opened(self) -> str:
        """Return one line about what other machines can do now; empty if they can't reach the service."""
        if self.is_loopback:
            return ""
        line = f"Any machine that can reach {self.host} and has the token can send texts"
        return line if self.certificate else f"{line}, which travel unencrypted (--tls-certificate encrypts them)"


def read_token(file: Path | None) -> str | None:
    """Return the token in a file, else in the environment variable; None if neither is given.

    Raises:
        UnavailableError: If the file can't be read.
        ConfigError: If the token is short, or is not printable ASCII.
    """
    source = TOKEN_VARIABLE
    token = os.environ.get(TOKEN_VARIABLE)
    if file is not None:
        source = str(file)
        try:
            token = file.read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise ConfigError(["a token must be printable ASCII"], source) from None
        except OSError as error:
            raise UnavailableError(f"{file}: the token can't be read ({error.strerror})") from None
    if token is None:
        return None
    if len(token) < SHORTEST_TOKEN:
        raise ConfigError([f"a token must have {SHORTEST_TOKEN} characters or more; got {len(token)}"], source)
    if not (token.isascii() and token.isprintable() and " " not in token):
        raise ConfigError(["a token must be printable ASCII without spaces"], source)
    return token


def check_certificate(address: Address) -> None:
    """Load the certificate and its key, if there are any.

    Raises:
        UnavailableError: If they can't be read, or don't belong together.
    """
    if address.certificate is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(address.certificate, address.key)
    except ssl.SSLError:
        raise UnavailableError(
            f"{address.certificate} and {address.key} must be PEM files of a certificate and its private key"
        ) from None
    except OSError as error:
        raise UnavailableError(f"the certificate or its key can't be read ({error.strerror})") from None


def open_socket(address: Address) -> socket.socket:
    """Return a bound socket.

    Raises:
        UnavailableError: If the port is taken or the host is not one of this machine's.
    """
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((address.host, address.port), family=family, backlog=2048)
    except OSError as error:
        where = f"port {address.port} of {address.host}"
        if error.errno == errno.EADDRINUSE:
            raise UnavailableError(f"{where} is in use; choose another with --port") from None
        raise UnavailableError(f"{where} can't be opened ({error.strerror})") from None


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
        limit_concurrency=_CONNECTIONS, timeout_graceful_shutdown=_SHUTDOWN_SECONDS, **settings,
    )  # fmt: skip
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # malformed requests, and its own start and end
    asyncio.run(uvicorn.Server(config).serve(sockets=[listener]))
