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

OUTSIDE = ("192.0.2.1", 443)  # of the addresses for documentation


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
        "local": ("kdh_ray.cli.main", "serve", checkpoint, "--local"),
        "runtime": ("kdh_runtime", "serve", "student"),
    }.items():
        with place.serve(f"serve-{name}", *command) as url:
            status, answer = ask(url, {"texts": ["pain today .", "seen in clinic ."]})
            assert (status, len(answer["predictions"])) == (200, 2)
    print(json.dumps({"labelled": len(answer["predictions"])}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
