"""Print how fast this machine runs what matters, as ratios to what else a user might pick: ``make bench``.

    python -m benchmarks [--parts start-up swarm step trial search]

A few minutes on idle cores. Both sides of a line run in this call, in turns or one after the other. Each part is a
small run of the benchmark that its line names, which has more options.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch: CPU time of several threads would count their waiting


class Line(NamedTuple):
    """A line of the table.

    Attributes:
        what: What was measured.
        ours: This project's value, with its unit.
        theirs: The other side's value; empty if there is none.
        ratio: How many times as fast this project is; None without another side.
        module: The benchmark.
    """

    what: str
    ours: str
    theirs: str
    ratio: float | None
    module: str


def main() -> None:
    """Measure each part and print its lines as soon as they are known."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), help="parts to measure; all if not given"
    )
    print(row("", "ours", "theirs", "times as fast", "python -m"))
    print("-" * 126, flush=True)
    for part in parser.parse_args().parts:
        for line in PARTS[part]():
            ratio = "" if line.ratio is None else f"{line.ratio:.2f}"
            print(row(line.what, line.ours, line.theirs, ratio, line.module), flush=True)


def row(what: str, ours: str, theirs: str, ratio: str, module: str) -> str:
    """Return the cells as a line of fixed columns."""
    return f"{what:44}  {ours:>12}  {theirs:>12}  {ratio:>13}  {module}".rstrip()


def start_up() -> Iterator[Line]:
    """Yield the CPU time of an import and of the help; Python alone is the limit."""
    from benchmarks.start_up import measure

    for what, (_, cpu) in measure(rounds=3).items():
        yield Line(f"{what}, CPU time", f"{cpu:.2f} s", "", None, "benchmarks.start_up")


def swarm() -> Iterator[Line]:
    """Yield the CPU time of a suggestion."""
    from benchmarks.searchers.busy import milliseconds

    for results in (1_000, 10_000):
        cost = milliseconds(results, 5, screening=True, rounds=5)
        yield Line(
            f"suggestion at {results:,} results, 5 settings", f"{cost:.0f} ms", "", None, "benchmarks.searchers.busy"
        )


def step() -> Iterator[Line]:
    """Yield the documents a second of training, beside Trainer in both number formats."""
    from benchmarks.training_step import DEVICE, abstracts, rates

    found = rates("embedded", abstracts(32).splits["train"], rounds=2)
    clock = "wall" if DEVICE == "cuda" else "CPU"
    (ours, *_), *peers = found[clock].items()
    name = "benchmarks.training_step"
    for peer, theirs in peers:
        mine = found[clock][ours]
        yield Line(f"training step beside {peer}", f"{mine:.1f} docs/s", f"{theirs:.1f} docs/s", mine / theirs, name)


def trial() -> Iterator[Line]:
    """Yield the fixed cost of a trial, beside a TorchTrainer that does nothing."""
    from benchmarks.trial_cost import fixed_costs

    ours, theirs = fixed_costs(trials=4, documents=80)
    what = "fixed cost of a trial, beside TorchTrainer"
    yield Line(what, f"{ours:.2f} s", f"{theirs:.1f} s", theirs / ours, "benchmarks.trial_cost")


def search() -> Iterator[Line]:
    """Yield the time of a small search, whole programs, beside each peer's."""
    from benchmarks.search_end_to_end import compare
    from benchmarks.search_sides import SIDES

    task = {"encoder": "embedded", "documents": 150, "tokens": 128, "epochs": 3, "trials": 6, "cores": 2, "seed": 0}
    (ours, *peers), *_ = compare(task, list(SIDES))
    for theirs in peers:
        what = f"6 trials, whole program, beside {theirs.side}"
        ratio = theirs.wall / ours.wall
        yield Line(what, f"{ours.wall:.0f} s", f"{theirs.wall:.0f} s", ratio, "benchmarks.search_end_to_end")


PARTS: dict[str, Callable[[], Iterator[Line]]] = {
    "start-up": start_up, "swarm": swarm, "step": step, "trial": trial, "search": search,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
