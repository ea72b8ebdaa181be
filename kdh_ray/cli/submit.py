"""``kdh-ray submit``: run or tune a configuration on a cluster, and follow its output here."""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from kdh_ray.cli.running import add_changed_data_argument
from kdh_ray.errors import UnavailableError, UserError

EXAMPLES = """
examples:
  kdh-ray submit my.yaml --out /mnt/runs/my
  kdh-ray submit my.yaml --tune --out /mnt/runs/my-search --cluster deploy/aws.yaml --set tune.trials=40
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the verb."""
    parser.epilog = EXAMPLES
    parser.add_argument("config", metavar="CONFIG", help="configuration, a YAML file; its paths are on the cluster")
    parser.add_argument("--tune", action="store_true", help="search for the best settings instead of running")
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the run, on storage that the cluster's machines share"
    )
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting; may be repeated"
    )
    parser.add_argument("--resume", action="store_true", help="resume the search in --out (with --tune)")
    parser.add_argument(
        "--cluster", type=Path, default=Path("cluster.yaml"), metavar="FILE",
        help="file that `ray up` was given (default: %(default)s)",
    )  # fmt: skip
    parser.add_argument("--address", metavar="URL", help="URL of the dashboard, if it is reachable without SSH")
    parser.add_argument(
        "--working-dir", type=Path, metavar="DIR",
        help="folder to send along; its code takes precedence over installed code (default: send only CONFIG)",
    )  # fmt: skip
    add_changed_data_argument(parser)
    parser.add_argument("--no-wait", action="store_true", help="return as soon as the job is submitted")


def execute(args: argparse.Namespace) -> int:
    """Submit the job, print how to watch, stop and fetch it, and follow it; return 1 if it fails."""
    from kdh_ray.cluster.submission import connect, follow, head_address, submit

    if args.resume and not args.tune:
        raise UserError("--resume needs --tune; a run resumes without it")
    if not Path(args.config).is_file():
        raise UserError(f"{args.config}: no such file")
    with (
        head_address(args.address, args.cluster) as address,
        _files(Path(args.config), args.working_dir) as (folder, config),
    ):
        client = connect(address)
        job = submit(client, entrypoint(args, config), folder)
        _print_hints(args, job, address if args.address or not args.cluster.is_file() else None)
        if args.no_wait:
            return 0
        try:
            status = follow(client, job, lambda chunk: print(chunk, end="", flush=True))
        except KeyboardInterrupt:
            print(f"kdh-ray: no longer following; {job} is still running", file=sys.stderr)
            return 130
        except UnavailableError as error:
            raise UnavailableError(f"{error}; {resume_hint(args)}") from None
    print(f"kdh-ray: {job}: {status.lower()}", file=sys.stderr)
    return 0 if status == "SUCCEEDED" else 1


def entrypoint(args: argparse.Namespace, config: str) -> str:
    """Return the command that the head runs."""
    settings = [word for setting in args.set for word in ("--set", setting)]
    resume = ["--resume"] if args.resume else []
    changed = ["--allow-changed-data"] if args.allow_changed_data else []
    verb = "tune" if args.tune else "run"
    return shlex.join(["kdh-ray", verb, config, "--out", args.out, *settings, *resume, *changed])


def resume_hint(args: argparse.Namespace) -> str:
    """Return what to do to resume an interrupted job."""
    return f"to resume, run the same command {'with --resume' if args.tune and not args.resume else 'again'}"


@contextmanager
def _files(config: Path, folder: Path | None) -> Iterator[tuple[Path, str]]:
    """Yield the folder to send, and the configuration's path in it."""
    if folder is None:
        with TemporaryDirectory() as temporary:
            shutil.copy(config, temporary)
            yield Path(temporary), config.name
        return
    try:
        yield folder, str(config.resolve().relative_to(folder.resolve()))
    except ValueError:
        raise UserError(f"{config} must be in --working-dir {folder}") from None


def _print_hints(args: argparse.Namespace, job: str, address: str | None) -> None:
    """Print on stderr how to watch, stop and fetch a job; through SSH if there is no ``address``."""
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
