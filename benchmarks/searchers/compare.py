"""Comparison of searchers at the budgets of real tuning, in simulated time.

    python -m benchmarks.searchers.compare OUT.json [--seeds 20] [--workers 8] [--tables FOLDER] [--only NAME ...]

The problems are all 24 functions of BBOB and of BBOB-mixint, one of their 11th to 13th instances each, and the tables
of ``tables.REPORTED``. The swarm's defaults were chosen on the first two instances and the tables of ``tables.TUNING``.
Finished cells are stored in OUT.json and skipped when the program is run again.
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
SUITES = ("bbob", "bbob-mixint")
OURS = "pso"  # its regret is reported as a share of each peer's


def problems(folder: str | None, dimensions: Iterable[int] = (5, 10, 20)) -> list[Problem]:
    """Return all functions of both suites, and the reported tables in ``folder``."""
    functions = range(1, 25)
    of_suites = [bbob(f, d, 11 + (f + d) % 3, suite) for suite in SUITES for d in dimensions for f in functions]
    names = sorted(path.stem for path in Path(folder).glob("*.npy")) if folder else []
    reported = [name for name in names if name.partition("-")[2] in ("digits", "cancer", "diabetes")]
    return of_suites + [table(name, str(folder)) for name in reported]


def main() -> None:
    """Run the cells that OUT.json lacks, and print the tables after each seed."""
    parser = argparse.ArgumentParser(allow_abbrev=False, description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument(
        "--dimensions", type=int, nargs="*", default=[5, 10, 20], help="dimensions of the suites; none: tables only"
    )
    parser.add_argument("--every", type=int, default=1, metavar="K", help="use only every K-th problem")
    parser.add_argument("--tables")
    parser.add_argument("--only", nargs="*", default=list(PEERS))
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    cells: dict[str, Any] = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    makers = peers(arguments.workers)
    budgets = [n for n in BUDGETS if n <= arguments.budget]
    for seed in range(arguments.seeds):  # seed by seed, so that an interrupted run has the same problems for all
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
            partial = arguments.out.with_suffix(".partial")
            partial.write_text(json.dumps(cells))
            partial.replace(arguments.out)  # atomic: a kill leaves a complete file
        print(f"seed {seed}\n{report(cells)}", flush=True)


def report(cells: dict[str, Any]) -> str:
    """Return Markdown tables of mean regret and mean rank over problems, with bootstrap 95 % intervals.

    Two more tables follow: the swarm's mean regret as a share of each peer's; and regret by the time in which workers
    that never wait make so many evaluations on average. There, regret before the first result is that of the median
    random configuration.
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
    complete = [pair for pair in pairs if all("|".join((name, *pair)) in cells for name in names)]
    problem_names = sorted({pair[0] for pair in complete})

    def by_problem(values: Array) -> Array:
        return np.array([values[[pair[0] == name for pair in complete]].mean(0) for name in problem_names])

    def gathered(what: str) -> Array:
        """Return the values ``what`` of all cells, (n_runs, n_searchers, n_budgets)."""
        return np.array([[cells["|".join((name, *pair))][what] for name in names] for pair in complete])

    regrets = gathered("regret")  # (n_runs, n_searchers, n_budgets)
    # Rank: 1 + number of better searchers + half the number of equal ones
    above = (regrets[:, :, None] > regrets[:, None]).sum(2)
    ranks = 1 + above + 0.5 * ((regrets[:, :, None] == regrets[:, None]).sum(2) - 1)
    budgets = BUDGETS[: regrets.shape[2]]
    regret = by_problem(regrets)  # (n_problems, n_searchers, n_budgets)
    order = np.argsort(regret[:, :, budgets.index(100) if 100 in budgets else -1].mean(0))
    lines = [f"{len(problem_names)} problems, {len(complete)} runs per searcher"]
    lines += _rows({"regret at": (regret, 3), "rank at": (by_problem(ranks), 2)}, names, order, budgets)
    if OURS in names:
        ours = np.repeat(regret[:, [names.index(OURS)]], len(names), axis=1)
        peers_order = np.array([i for i in order if names[i] != OURS], dtype=int)
        lines += ["", *_rows({f"{OURS}'s share of its regret at": (ours, 2)}, names, peers_order, budgets, of=regret)]
    lines += ["", *_rows({"regret by the time of": (by_problem(gathered("regret_by_time")), 3)}, names, order, budgets)]
    return "\n".join(lines)


def _rows(
    columns: dict[str, tuple[Array, int]],
    names: list[str],
    order: Array,
    budgets: tuple[int, ...],
    of: Array | None = None,
) -> list[str]:
    """Return the lines of a Markdown table of means over problems, one row per searcher.

    Args:
        columns: Heading -> values, (n_problems, n_searchers, n_budgets), and number of digits.
        names: Names of the searchers.
        order: Indices of the searchers, in the order of the rows.
        budgets: Numbers of evaluations.
        of: Values, of the same shape, of whose means the table shows shares; None for plain means.
    """
    heads = [f"{what} {n}" for what in columns for n in budgets]
    lines = [f"| searcher | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
    for i in order:
        texts = [
            _interval(values[:, i, b], digits, None if of is None else of[:, i, b])
            for values, digits in columns.values()
            for b in range(len(budgets))
        ]
        lines.append(f"| {names[i]} | {' | '.join(texts)} |")
    return lines


def _interval(values: Array, digits: int, of: Array | None = None) -> str:
    """Return a mean over problems, or its share of the mean of ``of``, and its bootstrap 95 % interval."""
    whole = np.ones(len(values)) if of is None else of
    draws = np.random.default_rng(0).integers(len(values), size=(2000, len(values)))
    with np.errstate(invalid="ignore", divide="ignore"):  # 0 / 0 where all problems of a draw are solved
        # Problems are resampled, the same ones in both means, for the interval of their ratio.
        low, high = np.nanquantile(values[draws].mean(1) / whole[draws].mean(1), [0.025, 0.975])
    return f"{values.mean() / whole.mean():.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


if __name__ == "__main__":
    main()
