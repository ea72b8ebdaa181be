"""Options of the commands that serve: ``kdh-runtime serve`` and ``kdh-ray serve``.

It imports neither FastAPI nor uvicorn before they are needed, so that a command can show its help without them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from kdh_runtime.errors import ServiceError

if TYPE_CHECKING:
    from kdh_runtime.serving.server import ServerOptions

MEBIBYTE = 2**20


def add_service_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options for address, token, certificate, limits and audit."""
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="NAME",
        help="interface to listen on (default: %(default)s, this machine only; any other needs a token)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="port (default: %(default)s; 0 takes a free one)"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE",
        help="file with the token that clients must send, or a line NAME TOKEN for each client (default: the"
        " environment variable KDH_RAY_TOKEN, if set)",
    )  # fmt: skip
    parser.add_argument("--tls-certificate", type=Path, metavar="FILE", help="PEM file: answer HTTPS")
    parser.add_argument("--tls-key", type=Path, metavar="FILE", help="PEM file of the certificate's private key")
    parser.add_argument(
        "--max-texts", type=int, default=256, metavar="N", help="texts per request (default: %(default)s)"
    )
    parser.add_argument(
        "--max-characters", type=int, default=1_000_000, metavar="N", help="characters per text (default: %(default)s)"
    )
    parser.add_argument(
        "--max-body", type=int, default=16, metavar="MIB", help="mebibytes per request (default: %(default)s)"
    )
    parser.add_argument(
        "--max-waiting", type=int, default=2048, metavar="N",
        help="texts of all clients that wait; more are refused (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument(
        "--batch-size", type=int, default=32, metavar="N", help="texts per forward pass (default: %(default)s)"
    )
    parser.add_argument(
        "--audit", type=Path, metavar="FILE",
        help="append a JSON line per labelled request: time, client, classifier, ids and counts of labels; no text",
    )  # fmt: skip


def service_options(args: argparse.Namespace) -> ServerOptions:
    """Return what the options of :func:`add_service_arguments` say.

    Raises:
        ServiceError: If an option is out of range, or a token can't be used.
        ImportError: If a package for serving is missing.
    """
    from kdh_runtime.serving.address import Address
    from kdh_runtime.serving.interface import Limits
    from kdh_runtime.serving.server import ServerOptions
    from kdh_runtime.serving.tokens import read_tokens

    check_positive(args, "max_texts", "max_characters", "max_body", "max_waiting", "batch_size")
    tokens = read_tokens(args.token_file)
    address = Address(args.host, args.port, tokens, args.tls_certificate, args.tls_key)
    limits = Limits(args.max_body * MEBIBYTE, args.max_texts, args.max_characters, args.max_waiting)
    return ServerOptions(address, limits, args.audit)


def check_positive(args: argparse.Namespace, *names: str) -> None:
    """Check that options are 1 or more, if they are given.

    Raises:
        ServiceError: Names the option.
    """
    for name in names:
        value = getattr(args, name)
        if value is not None and value < 1:
            raise ServiceError(f"--{name.replace('_', '-')} must be 1 or more; got {value}")


def announced(what: str, opened: str, serve: Callable[[Callable[[str], None]], None]) -> None:
    """Serve until Ctrl-C, and say where and to whom.

    Args:
        what: The classifier, as the user named it.
        opened: A line about what other machines can do; empty if they can do nothing.
        serve: Serves, and calls its argument with the page's address once requests are answered.

    Raises:
        KeyboardInterrupt: If Ctrl-C comes before that.
    """
    serving = False

    def announce(url: str) -> None:
        nonlocal serving
        serving = True
        print(f"Serving {what} at {url} (Ctrl-C ends it)", flush=True)
        if opened:
            print(f"{opened}.", file=sys.stderr, flush=True)

    try:
        serve(announce)
    except KeyboardInterrupt:
        if not serving:
            raise
