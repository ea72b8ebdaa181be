"""``kdh-ray serve``: answer HTTP with a classifier, and show a page to try it."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kdh_ray.cli.classifying import add_checkpoint_argument, add_execution_arguments

MEBIBYTE = 2**20
EXAMPLES = """
examples:
  kdh-ray serve runs/my/stages/student/checkpoint
  curl http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{"texts": ["no fever since Monday"]}'
  kdh-ray serve s3://bucket/student --host 0.0.0.0 --token-file token --tls-certificate cert.pem --tls-key key.pem
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    add_checkpoint_argument(parser)
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="NAME",
        help="interface to listen on (default: %(default)s, this machine only; any other needs a token)",
    )  # fmt: skip
    parser.add_argument(
        "--port", type=int, default=8000, metavar="N", help="port (default: %(default)s; 0 takes a free one)"
    )
    parser.add_argument(
        "--token-file", type=Path, metavar="FILE",
        help="file with the token that clients must send (default: the environment variable KDH_RAY_TOKEN, if set)",
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
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help="classifiers (default: %(default)s)")
    add_execution_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
        UserError: If an option is out of range, or for the reasons of :func:`kdh_ray.serving.service.serve`.
    """
    from kdh_ray.errors import ConfigError, UnavailableError

    try:
        from kdh_ray.serving.app import Limits
        from kdh_ray.serving.server import Address, read_token
        from kdh_ray.serving.service import Service, serve
    except ImportError as error:
        raise UnavailableError(f"serving needs {error.name}: pip install 'kdh-ray[serve]'") from None

    for name in ("max_texts", "max_characters", "max_body", "max_waiting", "batch_size", "replicas"):
        if getattr(args, name) < 1:
            option = name.replace("_", "-")
            raise ConfigError([f"--{option} must be 1 or more; got {getattr(args, name)}"], "command line")
    token = read_token(args.token_file)
    address = Address(args.host, args.port, token, args.tls_certificate, args.tls_key)
    limits = Limits(args.max_body * MEBIBYTE, args.max_texts, args.max_characters, args.max_waiting)
    service = Service(
        args.checkpoint, address, limits, replicas=args.replicas, precision=args.precision,
        batch_size=args.batch_size, local=args.local, cluster=args.address, verbose=args.verbose,
    )  # fmt: skip
    serving = False

    def announce(url: str) -> None:
        nonlocal serving
        serving = True
        print(f"Serving {args.checkpoint} at {url} (Ctrl-C ends it)", flush=True)
        if address.opened():
            print(f"{address.opened()}.", file=sys.stderr, flush=True)

    try:
        serve(service, announce)
    except KeyboardInterrupt:
        if not serving:
            raise
    return 0
