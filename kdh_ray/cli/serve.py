"""``kdh-ray serve``: answer HTTP with a classifier, and show a page to try it."""

from __future__ import annotations

import argparse

from kdh_ray.cli.classifying import add_checkpoint_argument, add_execution_arguments

EXAMPLES = """
examples:
  kdh-ray serve runs/my/stages/student/checkpoint
  curl http://127.0.0.1:8000/predict -H 'Content-Type: application/json' -d '{"texts": ["no fever since Monday"]}'
  kdh-ray serve s3://bucket/student --host 0.0.0.0 --token-file token --tls-certificate cert.pem --tls-key key.pem
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    from kdh_runtime.serving.options import add_service_arguments

    parser.epilog = EXAMPLES
    add_checkpoint_argument(parser)
    add_service_arguments(parser)
    parser.add_argument("--replicas", type=int, default=1, metavar="N", help="classifiers (default: %(default)s)")
    add_execution_arguments(parser)


def execute(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C.

    Raises:
        UserError: If an option is out of range, or for the reasons of :func:`kdh_ray.serving.service.serve`.
    """
    from kdh_runtime.errors import ServiceError
    from kdh_runtime.serving.options import announced, check_positive, service_options

    from kdh_ray.errors import UnavailableError

    try:
        from kdh_ray.serving.service import Service, serve
    except ImportError as error:
        raise UnavailableError(f"serving needs {error.name}: pip install 'kdh-ray[serve]'") from None
    try:
        check_positive(args, "replicas")
        options = service_options(args)
        service = Service(
            args.checkpoint, options, replicas=args.replicas, precision=args.precision, batch_size=args.batch_size,
            local=args.local, cluster=args.address, verbose=args.verbose,
        )  # fmt: skip
        announced(args.checkpoint, options.address.opened(), lambda ready: serve(service, ready))
    except ServiceError as error:
        raise UnavailableError(str(error)) from None
    return 0
