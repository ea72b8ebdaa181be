"""Time a whole search for settings beside the searches that transformers and Ray offer, in one run.

    python -m benchmarks.search_end_to_end [--trials 12] [--epochs 4] [--documents 400] [--cores 2] [--rounds 1]
        [--sides SIDE ...] [--figure FILE.svg]

Each side is a program of its own, so that imports and the start of Ray count, and the sides run one after another.
``benchmarks.search_sides`` says what they share. kdh-ray also tests its best configuration, saves it, and trains a
TF-IDF baseline; the others end with the best configuration's values. Two times are compared:

* the whole program: ``trials`` configurations from the same space;
* to the same score: until a side first validated at the lower of the two sides' best scores.

CPU time is that of all processes, sampled twice a second; it holds on a machine that does other work, where wall time
doesn't. With ``--cores 1`` each side trains on one thread, a trial at a time. Needs ``accelerate`` and ``optuna``.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from benchmarks.search_sides import REPORTS, SIDES, add_task_arguments

OURS = "kdh-ray"
SAMPLE_SECONDS = 0.5
SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER of <sys/prctl.h>


@dataclass(frozen=True)
class Search:
    """One side's search.

    Attributes:
        side: Its name.
        wall: Seconds from the start of the program to its end.
        cpu: CPU seconds of all its processes.
        reports: (seconds since the start, CPU seconds so far, validation score) of each epoch, in order.
    """

    side: str
    wall: float
    cpu: float
    reports: Sequence[tuple[float, float, float]]

    @property
    def best(self) -> float:
        """Best validation score."""
        return max(score for _, _, score in self.reports)

    def until(self, score: float) -> tuple[float, float]:
        """Return wall and CPU seconds until an epoch first reached ``score``."""
        return next((wall, cpu) for wall, cpu, reached in self.reports if reached >= score)


def main() -> None:
    """Run every side and print a line for each."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_task_arguments(parser)
    parser.add_argument("--rounds", type=int, default=1, help="searches of each side, each with the next seed")
    parser.add_argument("--sides", nargs="+", default=list(SIDES), choices=SIDES, metavar="SIDE", help=", ".join(SIDES))
    parser.add_argument("--figure", type=Path, help="SVG file for the best score against time, of the first round")
    args = vars(parser.parse_args())
    rounds, sides, figure = args.pop("rounds"), args.pop("sides"), args.pop("figure")
    searches = compare(args, sides, rounds)
    print(table(searches))
    if figure is not None:
        figure.write_text(drawing(searches[0]), encoding="utf-8")


def compare(task: dict[str, Any], sides: Sequence[str], rounds: int = 1) -> list[list[Search]]:
    """Return each round's searches, in the order of ``sides``, which take turns.

    Args:
        task: Attributes of :class:`benchmarks.search_sides.Task` but the folder.
        sides: Names from ``SIDES``.
        rounds: Number of searches of each side.
    """
    rounds_done = []
    for seed in range(task["seed"], task["seed"] + rounds):
        done = []
        for side in sides:
            done.append(search := run_side(side, {**task, "seed": seed}))
            print(
                f"seed {seed}  {side:18} {search.wall:6.0f} s  {search.cpu:6.0f} s of CPU time "
                f" {len(search.reports):3} epochs  best validation micro F1 {100 * search.best:.1f}",
                file=sys.stderr, flush=True,
            )  # fmt: skip
        rounds_done.append(done)
    return rounds_done


def run_side(side: str, task: dict[str, Any]) -> Search:
    """Run a side's program to its end.

    Raises:
        subprocess.CalledProcessError: If it failed; its output is on stderr.
    """
    own = {name: value for name, value in os.environ.items() if name not in ("RAY_ADDRESS", "OMP_NUM_THREADS")}
    options = [f"--{name}={value}" for name, value in task.items()]
    with tempfile.TemporaryDirectory(prefix="search-") as folder, tempfile.TemporaryFile("w+") as output:
        command = [sys.executable, "-m", "benchmarks.search_sides", side, folder, *options]
        started = time.time()
        with orphans_adopted():
            program = subprocess.Popen(command, env=own, stdout=output, stderr=subprocess.STDOUT)
            samples = cpu_samples(program, started)
        wall = time.time() - started
        if program.returncode:
            output.seek(0)
            print(output.read()[-4000:], file=sys.stderr)
            raise subprocess.CalledProcessError(program.returncode, command)
        reports = sorted(
            (float(moment) - started, float(score))
            for moment, score in map(str.split, (Path(folder) / REPORTS).read_text(encoding="utf-8").splitlines())
        )
    return Search(side, wall, samples[-1][1], [(moment, _at(samples, moment), score) for moment, score in reports])


@contextmanager
def orphans_adopted() -> Iterator[None]:
    """Keep processes whose parent ends among this process's descendants, where their CPU time is found."""
    linux = sys.platform == "linux"
    if linux:
        ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    try:
        yield
    finally:
        if linux:
            ctypes.CDLL(None).prctl(SUBREAPER, 0, 0, 0, 0)


def cpu_samples(program: subprocess.Popen[bytes], started: float) -> list[tuple[float, float]]:
    """Wait for a program to end; return (seconds since ``started``, CPU seconds of all processes) samples."""
    seconds: dict[tuple[int, float], float] = {}
    samples = [(0.0, 0.0)]
    earlier = {each.pid for each in psutil.Process().children(recursive=True)} - {program.pid}
    ended = False
    while not ended:
        ended = program.poll() is not None
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if process.pid not in earlier:
                    used = process.cpu_times()
                    seconds[process.pid, process.create_time()] = used.user + used.system
        samples.append((time.time() - started, sum(seconds.values())))
        with suppress(subprocess.TimeoutExpired):
            program.wait(SAMPLE_SECONDS)
    _end_rest(earlier)
    return samples


def _end_rest(earlier: set[int]) -> None:
    """End what a program has left running, and collect it."""
    rest = [each for each in psutil.Process().children(recursive=True) if each.pid not in earlier]
    _, alive = psutil.wait_procs(rest, timeout=10)
    for process in alive:
        with suppress(psutil.Error):
            process.send_signal(signal.SIGKILL)
    psutil.wait_procs(alive, timeout=10)


def _at(samples: Sequence[tuple[float, float]], moment: float) -> float:
    """Return the CPU seconds of the last sample before a moment."""
    return max(cpu for when, cpu in samples if when <= moment)


def table(rounds: Sequence[Sequence[Search]]) -> str:
    """Return a Markdown table of the medians over rounds, with each side's times as multiples of this project's."""
    lines = [
        "| side | whole, s | CPU s | times ours | CPU | to the same score: times ours | CPU | best micro F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for index, search in enumerate(rounds[0]):
        own = [done[index] for done in rounds]
        pairs = [(each, done[0]) for each, done in zip(own, rounds, strict=True)]
        whole, cpu = (median(ratio[i] for ratio in (ratios(*pair) for pair in pairs)) for i in (0, 1))
        same, same_cpu = (median(ratio[i] for ratio in (ratios(*pair) for pair in pairs)) for i in (2, 3))
        lines.append(
            f"| {search.side} | {median(each.wall for each in own):.0f} | {median(each.cpu for each in own):.0f} |"
            f" {whole:.2f} | {cpu:.2f} | {same:.2f} | {same_cpu:.2f} | {100 * median(each.best for each in own):.1f} |"
        )
    return "\n".join(lines)


def ratios(theirs: Search, ours: Search) -> tuple[float, float, float, float]:
    """Return their wall and CPU time divided by ours: of the whole program, and until the score that both reached."""
    score = min(theirs.best, ours.best)
    (wall, cpu), (our_wall, our_cpu) = theirs.until(score), ours.until(score)
    return theirs.wall / ours.wall, theirs.cpu / ours.cpu, wall / our_wall, cpu / our_cpu


def drawing(searches: Sequence[Search]) -> str:
    """Return an SVG of the best score so far against CPU time, in colours that follow the reader's theme."""
    import pandas as pd

    from kdh_ray.report.figures.drawing import Plot, canvas, css, figure, legend, look

    @figure("search-end-to-end", "Whole searches: best score against CPU time")
    def best_so_far(_: Any) -> Plot:
        drawn, (axes,) = canvas(2.9)
        for index, search in enumerate(searches):
            times = [0.0, *(cpu for _, cpu, _ in search.reports), search.cpu]
            best = pd.Series([float("nan"), *(100 * score for _, _, score in search.reports)]).cummax().tolist()
            axes.plot(
                times, [*best, best[-1]], label=search.side, drawstyle="steps-post", markevery=[-1], **look(index)
            )
        axes.set(xlabel="CPU seconds of all processes, from the start", ylabel="best validation micro F1, %")
        axes.set_xlim(left=0)
        legend(drawn, axes)
        ends = "; ".join(f"{each.side} {100 * each.best:.1f} after {each.cpu:.0f} s" for each in searches)
        return Plot(f"Best validation micro F1 of each search, at its end: {ends}.", pd.DataFrame(), drawn)

    light, dark = css()
    svg = best_so_far(None).svg(themed=True)
    style = f"<style>:root{{{light}}} @media (prefers-color-scheme: dark){{:root{{{dark}}}}}</style>"
    return svg.replace(">", f">\n{style}", 1)


if __name__ == "__main__":
    main()
