"""A whole run, for a machine without a network: teacher, search, student, export, prediction, service.

python loopback_only.py FOLDER RAY_FOLDER
"""

from __future__ import annotations

import errno
import json
import socket
import sys
from pathlib import Path

from workplace import Workplace, ask, write_inputs

from kdh_ray.run_folder import RunFolder

LOOPBACK = {"0100007F", f"{0:016X}FFFF00000100007F", f"{0:024X}01000000"}  # 127.0.0.1, the same in IPv6, ::1
LISTEN = "0A"
CALL = "/ray.serve.ASGIService/HandleRequest"
OUTSIDE = ("192.0.2.1", 443)  # of the addresses for documentation


def open_ports() -> set[int]:
    """Return the ports of this network on which a process listens at other addresses than its own machine's."""
    sockets = [line.split() for file in ("tcp", "tcp6") for line in Path("/proc/net", file).read_text().splitlines()]
    places = [local.split(":") for _, local, _, state, *_ in sockets if state == LISTEN]
    return {int(port, 16) for address, port in places if address not in LOOPBACK}


def asks_for_token(port: int) -> bool:
    """Return True if the port of a replica on Ray Serve refuses a call without Ray's token."""
    import grpc

    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            channel.unary_unary(CALL)(b"", timeout=60)
        except grpc.RpcError as error:
            return error.code() is grpc.StatusCode.UNAUTHENTICATED
    return False


def main(folder: Path, ray: Path) -> None:
    """Do it all in ``folder``; an AssertionError has the output of the verb that failed."""
    with socket.socket() as outside:
        assert outside.connect_ex(OUTSIDE) == errno.ENETUNREACH, "this machine has a network"
    place = Workplace(folder, ray)
    write_inputs(folder)
    place.run("tune", "tune", "my.yaml", "--out", "run", "--set", "tune.trials=2")
    checkpoint = str(RunFolder(folder / "run").best.stage("student").checkpoint)
    place.run("predict", "predict", checkpoint, "--input", "more.jsonl", "--output", "predictions")
    place.run("report", "report", "run", "-o", "report.html")
    place.run("export", "export", checkpoint, "student", "--int8")
    for name, command in {
        "ray": ("kdh_ray.cli.main", "serve", checkpoint),
        "local": ("kdh_ray.cli.main", "serve", checkpoint, "--local"),
        "runtime": ("kdh_runtime", "serve", "student"),
    }.items():
        with place.serve(f"serve-{name}", *command) as url:
            status, answer = ask(url, {"texts": ["pain today .", "seen in clinic ."]})
            assert (status, len(answer["predictions"])) == (200, 2)
            ports = open_ports()  # Ray Serve opens one for each replica, whatever its options
            assert len(ports) == (name == "ray"), f"{name}: {ports}"
            assert all(map(asks_for_token, ports))
    print(json.dumps({"labelled": len(answer["predictions"])}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
