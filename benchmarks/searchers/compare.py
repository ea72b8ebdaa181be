"""Compare searchers at the budgets of real tuning, in simulated time.

    python -m benchmarks.searchers.compare OUT.json [--seeds 20] [--workers 8] [--tables FOLDER] [--only NAME ...]

BBOB and BBOB-mixint, the 11th to 13th instance of each function, and the tables of ``tables.REPORTED``; the swarm's
defaults were chosen on the first two instances and the tables of ``tables.TUNING``. Finished cells are kept in OUT.json
and skipped.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.searchers.problems import Problem, bbob, table
from benchmarks.searchers.simulate import PEERS, peers, run
from searchers.parameters import Array

BUDGETS = (25, 50, 100, 200)


def problems(folder: str | None, dimensions: Iterable[int] = (5, 10, 20)) -> list[Problem]:
    """Two or three functions of each of BBOB's five groups, four of BBOB-mixint, and whatever tables there are."""
    found = [bbob(f, d, 11 + (f + d) % 3) for d in dimensions for f in (2, 4, 6, 9, 11, 14, 16, 18, 19, 22, 24)]
    found += [bbob(f, d, 11 + (f + d) % 3, "bbob-mixint") for d in dimensions if d != 20 for f in (2, 6, 16, 22)]
    names = sorted(path.stem for path in Path(folder).glob("*.npy")) if folder else []
    reported = [name for name in names if name.partition("-")[2] in ("digits", "cancer", "diabetes")]
    return found + [table(name, str(folder)) for name in reported]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--dimensions", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--every", type=int, default=1, metavar="K", help="take each K-th problem of the list")
    parser.add_argument("--tables")
    parser.add_argument("--only", nargs="*", default=list(PEERS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cells: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    makers = peers(arguments.workers)
    budgets = [n for n in BUDGETS if n <= arguments.budget]
    for seed in range(arguments.seeds):  # seed by seed, so that a run cut short compares alike
        for problem in problems(arguments.tables, arguments.dimensions)[:: arguments.every]:
            for name in arguments.only:
                key = f"{name}|{problem.name}|{seed}"
                if key in cells:
                    continue
                started = time.process_time()
                searcher = makers[name](problem.space, seed, arguments.budget)
                done = run(searcher, problem.function, arguments.budget, arguments.workers, seed)
                cells[key] = {
                    "regret": [problem.regret(done.best_after(n)) for n in budgets],
                    "regret_by_time": [
                        problem.regret(min(done.best_by(n / arguments.workers), problem.typical)) for n in budgets
                    ],
                    "busy": done.busy,
                    "cpu_seconds": time.process_time() - started,
                }
            arguments.out.write_text(json.dumps(cells))
        print(f"seed {seed}\n{report(cells)}", flush=True)


def report(cells: dict[str, Any]) -> str:
    """Mean normalised regret and mean rank over problems at each budget, with bootstrap 95 % intervals of the mean.

    Below, regret by the time in which as many workers that never wait do as many evaluations on average; a random
    configuration's median before anything has landed.
    """
    names = sorted({key.split("|")[0] for key in cells})
    lines: list[str] = []
    for group in ("bbob", "bbob-mixint", "tables", ""):
        chosen = {key: cell for key, cell in cells.items() if not group or _group(key.split("|")[1]) == group}
        if chosen:
            lines += ["", f"{group or 'all'}: {_table(chosen, names)}"]
    return "\n".join(lines)


def _group(problem: str) -> str:
    suite = problem.partition("_")[0]
    return suite if suite.startswith("bbob") else "tables"


def _table(cells: dict[str, Any], names: list[str]) -> str:
    pairs = sorted({tuple(key.split("|")[1:]) for key in cells})
    whole = [pair for pair in pairs if all("|".join((name, *pair)) in cells for name in names)]
    problem_names = sorted({pair[0] for pair in whole})

    def by_problem(values: Array) -> Array:
        return np.array([values[[pair[0] == name for pair in whole]].mean(0) for name in problem_names])

    def gathered(what: str) -> Array:
        """(runs, searchers, budgets)"""
        return np.array([[cells["|".join((name, *pair))][what] for name in names] for pair in whole])

    regrets = gathered("regret")
    above = (regrets[:, :, None] > regrets[:, None]).sum(2)
    ranks = 1 + above + 0.5 * ((regrets[:, :, None] == regrets[:, None]).sum(2) - 1)
    budgets = BUDGETS[: regrets.shape[2]]
    order = np.argsort(by_problem(regrets)[:, :, budgets.index(100) if 100 in budgets else -1].mean(0))
    lines = [f"{len(problem_names)} problems, {len(whole)} runs a searcher"]
    columns = {"regret at": (by_problem(regrets), 3), "rank at": (by_problem(ranks), 2)}
    lines += _rows(columns, names, order, budgets)
    lines += ["", *_rows({"regret by the time of": (by_problem(gathered("regret_by_time")), 3)}, names, order, budgets)]
    return "\n".join(lines)


def _rows(columns: dict[str, tuple[Array, int]], names: list[str], order: Array, budgets: tuple[int, ...]) -> list[str]:
    """A Markdown table. ``columns``: what they say -> values (problems, searchers, budgets) and digits."""
    heads = [f"{what} {n}" for what in columns for n in budgets]
    lines = [f"| searcher | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for i in order:
        texts = [_interval(values[:, i, b], digits) for values, digits in columns.values() for b in range(len(budgets))]
        lines.append(f"| {names[i]} | {' | '.join(texts)} |")
    return lines


def _interval(values: Array, digits: int) -> str:
    """The mean over problems and its bootstrap 95 % interval."""
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    low, high = np.quantile(values[draws].mean(1), [0.025, 0.975])
    return f"{values.mean():.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


if __name__ == "__main__":
    main()
