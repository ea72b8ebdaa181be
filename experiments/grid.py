"""What the study's scripts share: a grid of cells as data, run in order, each once.

A cell is a method at a place: a pair of teacher and student, a corpus, a size and a seed. What one experiment has
trained in a place, the others find there: a teacher is trained once for all of them. A cell is finished when it has a
row; whatever was interrupted goes on where it stopped.

    <out>/<pair>/<corpus>-<size>-<seed>/    a place: run folders of the methods, their rows in them
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from kdh_ray.config import RunConfig, load_config
from kdh_ray.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

CONFIGS = Path(__file__).parent / "configs"
PRESETS = ("smoke", "cpu", "gpu")
# A Ray Train job takes longer to start than the stages of this preset take to train.
IN_THIS_PROCESS = ("smoke",)

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Where methods are compared.

    Attributes:
        config: Base configuration of the pair, with this place's size and seed. Its name is the pair's.
        folder: Of all that is trained here.
        local: Train in this process instead of on Ray Train workers.
        verbose: Show Ray's own log lines.
    """

    config: RunConfig
    folder: Path
    local: bool = False
    verbose: bool = False

    @property
    def key(self) -> str:
        data = self.config.data
        return f"{self.config.name}/{data.corpus}/{data.size}/{self.config.seed}"


@dataclass(frozen=True)
class Method:
    """One way to a classifier.

    Attributes:
        name: As in tables.
        perform: Trains or measures it, and writes its row with the given columns.
        needs: Methods whose checkpoints it reads.
        columns: Further columns of its row, such as ``variant``.
        on_ray: Whether it uses Ray even where stages are trained in this process.
    """

    name: str
    perform: Callable[[Place, Columns], object]
    needs: tuple[str, ...] = ()
    columns: Columns = field(default_factory=dict)
    on_ray: bool = False


@dataclass(frozen=True)
class Block:
    """Part of a grid: a pair (a base configuration) at some sizes, with seeds 0 to ``seeds`` - 1."""

    config: str
    sizes: tuple[str, ...]
    seeds: int


@dataclass(frozen=True)
class Experiment:
    """Methods and the grid they run on.

    Attributes:
        name: As in rows.
        methods: In an order in which each comes after what it needs.
        grid: Preset -> blocks.
        table: From rows to the table that is printed at the end.
    """

    name: str
    methods: tuple[Method, ...]
    grid: Mapping[str, tuple[Block, ...]]
    table: Callable[[pd.DataFrame], pd.DataFrame]


@dataclass(frozen=True)
class Cell:
    """A method at a place."""

    method: Method
    place: Place

    @property
    def key(self) -> str:
        return f"{self.place.key}/{self.method.name}"


def places(blocks: Sequence[Block], out: Path, overrides: Sequence[str], **how: bool) -> Iterator[Place]:
    """Seed by seed, so that a study that is cut short compares alike.

    Raises:
        ConfigError: If a base configuration with ``overrides`` is none, or differs from that of earlier calls.
    """
    for seed in range(max(block.seeds for block in blocks)):
        for block in (block for block in blocks if seed < block.seeds):
            for size in block.sizes:
                own = [f"seed={seed}", f"data.size={size}", f"data.sample_seed={seed}", "baselines.tfidf=false"]
                config = load_config(CONFIGS / block.config, [*overrides, *own])
                folder = out / config.name / f"{config.data.corpus}-{size}-{seed}"
                yield Place(config.model_copy(update={"cache": folder / "cache"}), folder, **how)


def select(experiment: Experiment, everywhere: Sequence[Place], patterns: Sequence[str]) -> list[Cell]:
    """Cells that match a pattern (all without patterns), and before each of them those that it needs.

    Raises:
        UserError: If a pattern matches no cell.
    """
    by_name = {method.name: method for method in experiment.methods}
    found: dict[str, Cell] = {}

    def add(cell: Cell) -> None:
        for name in cell.method.needs:
            add(Cell(by_name[name], cell.place))
        found.setdefault(cell.key, cell)

    keys = []
    for place in everywhere:
        for cell in (Cell(method, place) for method in experiment.methods):
            keys.append(cell.key)
            if not patterns or any(fnmatchcase(cell.key, pattern) for pattern in patterns):
                add(cell)
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in keys):
            raise UserError(f"--cells {pattern}: matches none of {len(keys)} cells, such as {keys[0]}")
    return list(found.values())


def rows_of(experiment: Experiment, folder: Path) -> pd.DataFrame:
    """The finished cells' rows at or below ``folder``; empty where there are none.

    Raises:
        DataError: If a row file is corrupt; names it.
    """
    import pandas as pd

    from kdh_ray.results import load_runs
    from kdh_ray.results import row_files as store

    empty = pd.DataFrame({"cell": [], "kind": []})
    if not folder.exists() or not store.find(folder)[1]:
        return empty
    frame = load_runs(folder)
    if "cell" not in frame:
        return empty
    ours = (frame["experiment"] == experiment.name) & frame["cell"].notna() & (frame["kind"] != "trial")
    return frame[ours & (frame["status"] == "ok")]


def run_cells(experiment: Experiment, cells: Sequence[Cell], out: Path) -> int:
    """Run the cells that have no row, as stderr tells; returns how many failed."""
    from kdh_ray.jobs.ray_train import JobError

    _hold_to_settings(cells, out)
    done = set(rows_of(experiment, out)["cell"])
    waiting = [cell for cell in cells if cell.key not in done]
    print(f"{experiment.name}: {len(cells)} cells, {len(cells) - len(waiting)} have a row", file=sys.stderr)
    failed = 0
    with _session(waiting):
        for number, cell in enumerate(waiting, start=1):
            started = perf_counter()
            print(f"[{number}/{len(waiting)}] {cell.key}", file=sys.stderr, flush=True)
            columns = {"experiment": experiment.name, "cell": cell.key, "pair": cell.place.config.name}
            try:
                cell.method.perform(cell.place, {**columns, "method": cell.method.name, **cell.method.columns})
                outcome = _outcome(experiment, cell)
            except JobError as error:
                failed, outcome = failed + 1, f"failed: {error}"
            seconds = perf_counter() - started
            print(f"    {outcome}, {seconds:.0f} s", file=sys.stderr, flush=True)
    return failed


def _hold_to_settings(cells: Sequence[Cell], out: Path) -> None:
    """Refuse other settings than those of the rows that are there: a cell with a row is not looked at again.

    Raises:
        ConfigError: Says which settings of a pair differ.
    """
    from kdh_ray.jobs.claim import write_or_check_config

    for config in {cell.place.config.name: cell.place.config for cell in cells}.values():
        data = config.data.model_copy(update={"size": "large", "sample_seed": 0})
        folder = out / config.name
        folder.mkdir(parents=True, exist_ok=True)
        write_or_check_config(folder / "study.yaml", config.model_copy(update={"seed": 0, "cache": None, "data": data}))


def _outcome(experiment: Experiment, cell: Cell) -> str:
    rows = rows_of(experiment, cell.place.folder)
    rows = rows[rows["cell"] == cell.key]
    if rows.empty:
        return "wrote no row"
    score = rows.iloc[-1].get("test_f1_micro")
    return "done" if score is None or score != score else f"test micro F1 {100 * score:.1f}"


def _session(cells: Sequence[Cell]) -> AbstractContextManager[Any]:
    """One Ray for all cells, if any of them needs it."""
    if not any(cell.method.on_ray or not cell.place.local for cell in cells):
        return nullcontext()
    from kdh_ray.cluster.session import ray_session

    return ray_session(cells[0].place.config.job, cells[0].place.verbose)


def main(experiment: Experiment, doc: str | None, argv: Sequence[str] | None = None) -> int:
    """The command line of every script; returns the exit code (0 done, 1 a cell failed, 2 bad input)."""
    args = _parser(experiment, doc).parse_args(argv)
    out = (args.out or Path("runs") / f"study-{args.preset}").expanduser()
    local = args.local or args.preset in IN_THIS_PROCESS
    if args.preset in IN_THIS_PROCESS:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # on batches so small a second thread mostly waits
    try:
        everywhere = list(places(experiment.grid[args.preset], out, args.set, local=local, verbose=args.verbose))
        cells = select(experiment, everywhere, args.cells)
        if args.list:
            print("\n".join(cell.key for cell in cells))
            return 0
        failed = run_cells(experiment, cells, out)
        _print(experiment, out)
    except UserError as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{experiment.name}: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `--list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(failed > 0)


def _print(experiment: Experiment, out: Path) -> None:
    from kdh_ray.results import render

    rows = rows_of(experiment, out)
    rows = rows[rows["kind"] != "step"]
    if not rows.empty:
        print(render.to_plain(experiment.table(rows)))


def _parser(experiment: Experiment, doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{experiment.name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--preset", choices=PRESETS, required=True, help="smoke: minutes; cpu: days; gpu: the paper's")
    parser.add_argument("--out", type=Path, metavar="DIR", help="shared by all scripts (default: runs/study-PRESET)")
    parser.add_argument(
        "--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting of every cell"
    )
    parser.add_argument(
        "--cells", action="append", default=[], metavar="PATTERN",
        help="only cells like PAIR/CORPUS/SIZE/SEED/METHOD, with * and ?, and what they need; may be repeated",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the cells and do nothing")
    parser.add_argument("--local", action="store_true", help="train in this process instead of on Ray Train workers")
    parser.add_argument("-v", "--verbose", action="store_true", help="show Ray's own log lines")
    return parser
