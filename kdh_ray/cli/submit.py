"""``kdh-ray submit``: run or tune a configuration on a cluster, and follow it from here."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from kdh_ray.errors import UnavailableError, UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument("config", metavar="CONFIG", help="a YAML file; its paths are the cluster's")
    parser.add_argument("--tune", action="store_true", help="search for its best settings instead of running it")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="the run's folder, on storage that the cluster's machines share"
    )
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting")
    parser.add_argument("--resume", action="store_true", help="go on with the search in --out (with --tune)")
    parser.add_argument("--cluster", type=Path, default=Path("cluster.yaml"), metavar="FILE",
                        help="what `ray up` was given (default: cluster.yaml)")  # fmt: skip
    parser.add_argument("--address", metavar="URL", help="of the dashboard, if it is within reach without SSH")
    parser.add_argument("--working-dir", type=Path, metavar="DIR",
                        help="send this folder along, code in it is used before what is installed there"
                        " (default: CONFIG alone)")  # fmt: skip
    parser.add_argument("--no-wait", action="store_true", help="don't follow the job")


def execute(args: argparse.Namespace) -> int:
    """Submit, follow, and say how to watch, stop and fetch; 1 if the job failed."""
    from kdh_ray.cluster.submission import connect, follow, head_address, submit

    if args.resume and not args.tune:
        raise UserError("--resume goes with --tune; a run goes on by itself where it stopped")
    if not Path(args.config).is_file():
        raise UserError(f"{args.config}: no such file")
    with (
        head_address(args.address, args.cluster) as address,
        _files(Path(args.config), args.working_dir) as (folder, config),
    ):
        client = connect(address)
        job = submit(client, entrypoint(args, config), folder)
        _tell(args, job, address if args.address or not args.cluster.is_file() else None)
        if args.no_wait:
            return 0
        try:
            status = follow(client, job, lambda chunk: print(chunk, end="", flush=True))
        except KeyboardInterrupt:
            print(f"kdh-ray: no longer following; {job} goes on", file=sys.stderr)
            return 130
        except UnavailableError as error:
            raise UnavailableError(f"{error}; the same command{resumption(args)} goes on when it is back") from None
    print(f"kdh-ray: {job}: {status.lower()}", file=sys.stderr)
    return 0 if status == "SUCCEEDED" else 1


def entrypoint(args: argparse.Namespace, config: str) -> str:
    """The command that the head runs."""
    settings = [word for setting in args.set for word in ("--set", setting)]
    resume = ["--resume"] if args.resume else []
    return shlex.join(["kdh-ray", "tune" if args.tune else "run", config, "--out", args.out, *settings, *resume])


def resumption(args: argparse.Namespace) -> str:
    """What to add to a command that was interrupted."""
    return " with --resume" if args.tune and not args.resume else ""


@contextmanager
def _files(config: Path, folder: Path | None) -> Iterator[tuple[Path, str]]:
    """The folder to send, and the configuration's path in it."""
    if folder is None:
        with TemporaryDirectory() as temporary:
            shutil.copy(config, temporary)
            yield Path(temporary), config.name
        return
    try:
        yield folder, str(config.resolve().relative_to(folder.resolve()))
    except ValueError:
        raise UserError(f"{config} must be in --working-dir {folder}") from None


def _tell(args: argparse.Namespace, job: str, address: str | None) -> None:
    """How to watch and stop a job and to fetch what it gives, on stderr; through SSH where there is no ``address``."""
    if address:
        target = f"--address {address} "
        log, stop, watch = f"ray job logs {target}--follow {job}", f"ray job stop {target}{job}", address
        fetch = f"copy {args.out} from the shared storage"
    else:
        on_head = f"ray exec {args.cluster} "
        log, stop = f"{on_head}'ray job logs --follow {job}'", f"{on_head}'ray job stop {job}'"
        watch = f"ray dashboard {args.cluster}, then http://localhost:8265"
        here = f"runs/{Path(args.out).name}"
        fetch = f"mkdir -p {here} && ray rsync-down {args.cluster} {args.out}/ {here}/ && kdh-ray results {here}"
    print(f"kdh-ray: submitted {job}", file=sys.stderr)
    for name, how in (("watch", watch), ("log", log), ("stop", stop), ("fetch", fetch)):
        print(f"  {name:<6} {how}", file=sys.stderr)
