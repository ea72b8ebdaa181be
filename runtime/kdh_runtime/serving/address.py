"""Where a service listens: hosts, ports, certificates."""

from __future__ import annotations

import errno
import ipaddress
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from kdh_runtime.errors import ServiceError
from kdh_runtime.serving.tokens import TOKEN_VARIABLE

LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Address:
    """Where a service listens, and who may use it.

    Attributes:
        host: Name or address of an interface of this machine.
        port: 0 takes a free one.
        tokens: Token -> name of who has it, or "". Needed for any other host than this machine's own.
        certificate: PEM file of a TLS certificate; plain HTTP if None.
        key: PEM file of its private key.

    Raises:
        ServiceError: If the host needs a token and there is none, or a certificate has no key.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    tokens: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificate: Path | None = None
    key: Path | None = None

    def __post_init__(self) -> None:
        faults = []
        if not self.is_loopback and not self.tokens:
            faults.append(
                f"--host {self.host} can be reached from other machines and needs a token: give --token-file or set"
                f" {TOKEN_VARIABLE}"
            )
        if (self.certificate is None) != (self.key is None):
            faults.append("--tls-certificate and --tls-key must be given together")
        if not 0 <= self.port < 2**16:
            faults.append(f"--port must be from 0 to {2**16 - 1}; got {self.port}")
        if faults:
            raise ServiceError("; ".join(faults))

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
        return None if self.tokens else LOOPBACK_NAMES | {self.host}

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


def check_certificate(address: Address) -> None:
    """Load the certificate and its key, if there are any.

    Raises:
        ServiceError: If they can't be read, or don't belong together.
    """
    if address.certificate is None:
        return
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(address.certificate, address.key)
    except ssl.SSLError:
        raise ServiceError(
            f"{address.certificate} and {address.key} must be PEM files of a certificate and its private key"
        ) from None
    except OSError as error:
        raise ServiceError(f"the certificate or its key can't be read ({error.strerror})") from None


def open_socket(address: Address) -> socket.socket:
    """Return a bound socket.

    Raises:
        ServiceError: If the port is taken or the host is not one of this machine's.
    """
    try:
        family = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((address.host, address.port), family=family, backlog=2048)
    except OSError as error:
        where = f"port {address.port} of {address.host}"
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(f"{where} is in use; choose another with --port") from None
        raise ServiceError(f"{where} can't be opened ({error.strerror})") from None
