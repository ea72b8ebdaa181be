"""Time what a user waits for before anything happens: importing the package, and the help of the command.

    python -m benchmarks.start_up [--rounds 5]

Each is a new process; Python without any import is the limit. Prints medians of wall time and of CPU time.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
from statistics import median
from time import perf_counter

COMMANDS = {
    "Python alone": ["-c", "pass"],
    "import kdh_ray": ["-c", "import kdh_ray"],
    "kdh-ray --help": ["-m", "kdh_ray.cli.main", "--help"],
}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="number of measured rounds")
    for name, (wall, cpu) in measure(parser.parse_args().rounds).items():
        print(f"{name:28} {wall:6.2f} s of wall time, {cpu:6.2f} s of CPU time")


def measure(rounds: int) -> dict[str, tuple[float, float]]:
    """Return the median (wall, CPU) seconds of each command; a round that warms the file cache up is not counted."""
    times = [{name: timed(arguments) for name, arguments in COMMANDS.items()} for _ in range(rounds + 1)][1:]
    return {
        name: (median(each[name][0] for each in times), median(each[name][1] for each in times)) for name in COMMANDS
    }


def timed(arguments: list[str]) -> tuple[float, float]:
    """Return the wall and CPU seconds of a Python process with these arguments."""
    started, before = perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return perf_counter() - started, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


if __name__ == "__main__":
    main()
