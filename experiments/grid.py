"""Grid of the study: cells as data, run in order and once each. All scripts of the study share it.

A cell is a method at a place, and a place is a pair of teacher and student, a corpus, a size and a seed. Experiments
share what is trained at a place: one teacher serves all of them. A cell is finished when it has a row, and an
interrupted cell resumes where it stopped.

    <out>/<pair>/<corpus>-<size>-<seed>/    a place: the run folders of its methods, with their rows
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
from kdh_ray.results.method_rows import STEP, TRIAL

if TYPE_CHECKING:
    import pandas as pd

CONFIGS = Path(__file__).parent / "configs"
PRESETS = ("smoke", "cpu", "gpu")
# A Ray Train job takes longer to start than the stages of this preset take to train.
IN_THIS_PROCESS = ("smoke",)

Columns = Mapping[str, Any]


@dataclass(frozen=True)
class Place:
    """Pair, corpus, size and seed at which methods are compared.

    Attributes:
        config: Base configuration of the pair, with the size and seed of this place. Its name is that of the pair.
        folder: Folder of everything that is trained here.
        local: Train in this process instead of on Ray Train workers.
        verbose: Show Ray's own log lines.
    """

    config: RunConfig
    folder: Path
    local: bool = False
    verbose: bool = False

    @property
    def key(self) -> str:
        """``PAIR/CORPUS/SIZE/SEED``."""
        data = self.config.data
        return f"{self.config.name}/{data.corpus}/{data.size}/{self.config.seed}"


@dataclass(frozen=True)
class Method:
    """Method that makes or measures a classifier.

    Attributes:
        name: Name in tables.
        perform: Function that trains or measures it and writes its row with the given columns.
        needs: Methods whose checkpoints it reads.
        columns: Further columns of its row, such as ``variant``.
        on_ray: Whether it uses Ray even if stages are trained in this process.
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
    """Methods and the grid that they run on.

    Attributes:
        name: Name in rows.
        methods: Methods, each after those that it needs.
        grid: Preset -> blocks.
        table: Function from rows to the table that is printed at the end.
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
        """``PAIR/CORPUS/SIZE/SEED/METHOD``, which ``--cells`` matches and the row stores."""
        return f"{self.place.key}/{self.method.name}"


def places(blocks: Sequence[Block], out: Path, overrides: Sequence[str], **how: bool) -> Iterator[Place]:
    """Yield the places of a grid, seed by seed, so that an unfinished study has the same seeds everywhere.

    Args:
        blocks: Parts of the grid.
        out: Folder of the study.
        overrides: Settings as ``SECTION.KEY=VALUE``, applied to every place.
        how: ``local`` and ``verbose`` of each place.

    Raises:
        ConfigError: If a base configuration with ``overrides`` is not valid.
    """
    for seed in range(max(block.seeds for block in blocks)):
        for block in (block for block in blocks if seed < block.seeds):
            for size in block.sizes:
                own = [f"seed={seed}", f"data.size={size}", f"data.sample_seed={seed}", "baselines.tfidf=false"]
                config = load_config(CONFIGS / block.config, [*overrides, *own])
                folder = out / config.name / f"{config.data.corpus}-{size}-{seed}"
                yield Place(config.model_copy(update={"cache": folder / "cache"}), folder, **how)


def select(experiment: Experiment, everywhere: Sequence[Place], patterns: Sequence[str]) -> list[Cell]:
    """Return the cells that match a pattern (all without patterns), each after those that it needs.

    Args:
        experiment: Experiment whose methods make the cells.
        everywhere: Places of the grid.
        patterns: Keys of cells with ``*`` and ``?``.

    Raises:
        UserError: If a pattern matches no cell.
    """
    by_name = {method.name: method for method in experiment.methods}
    chosen: dict[str, Cell] = {}

    def add(cell: Cell) -> None:
        for name in cell.method.needs:
            add(Cell(by_name[name], cell.place))
        chosen.setdefault(cell.key, cell)

    keys = []
    for place in everywhere:
        for cell in (Cell(method, place) for method in experiment.methods):
            keys.append(cell.key)
            if not patterns or any(fnmatchcase(cell.key, pattern) for pattern in patterns):
                add(cell)
    for pattern in patterns:
        if not any(fnmatchcase(key, pattern) for key in keys):
            raise UserError(f"--cells {pattern}: matches none of {len(keys)} cells, such as {keys[0]}")
    return list(chosen.values())


def rows_of(experiment: Experiment, folder: Path) -> pd.DataFrame:
    """Return the rows of an experiment's finished cells at or below ``folder``; empty without rows.

    Raises:
        DataError: If a row file is corrupt; names it.
    """
    import pandas as pd

    from kdh_ray.results import load_runs
    from kdh_ray.results import row_files as store

    if not folder.exists() or not store.find(folder)[1]:
        return pd.DataFrame({"cell": [], "kind": []})
    frame = load_runs(folder)
    if "cell" not in frame:  # rows of ordinary runs only
        return pd.DataFrame({"cell": [], "kind": []})
    ours = (frame["experiment"] == experiment.name) & frame["cell"].notna() & (frame["kind"] != TRIAL)
    return frame[ours & (frame["status"] == "ok")]


def run_cells(experiment: Experiment, cells: Sequence[Cell], out: Path) -> int:
    """Run the cells that have no row yet, report them on stderr, and return how many failed."""
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
    """Refuse settings that differ from those of earlier calls, since cells with a row are not run again.

    Raises:
        ConfigError: If settings of a pair differ; names them.
    """
    from kdh_ray.jobs.claim import write_or_check_config

    for config in {cell.place.config.name: cell.place.config for cell in cells}.values():
        # Seeds, sizes and caches differ between the cells of a study; all other settings must agree.
        data = config.data.model_copy(update={"size": "large", "sample_seed": 0})
        folder = out / config.name
        folder.mkdir(parents=True, exist_ok=True)
        write_or_check_config(folder / "study.yaml", config.model_copy(update={"seed": 0, "cache": None, "data": data}))


def _outcome(experiment: Experiment, cell: Cell) -> str:
    """Return the score of a cell in words."""
    rows = rows_of(experiment, cell.place.folder)
    rows = rows[rows["cell"] == cell.key]
    if rows.empty:
        return "wrote no row"
    score = rows.iloc[-1].get("test_f1_micro")
    return "done" if score is None or score != score else f"test micro F1 {100 * score:.1f}"


def _session(cells: Sequence[Cell]) -> AbstractContextManager[Any]:
    """Start one Ray session for all cells if any of them needs it."""
    if not any(cell.method.on_ray or not cell.place.local for cell in cells):
        return nullcontext()
    from kdh_ray.cluster.session import ray_session

    return ray_session(cells[0].place.config.job, cells[0].place.verbose)


def main(experiment: Experiment, doc: str | None, argv: Sequence[str] | None = None) -> int:
    """Run the command line of a script and return its exit code: 0 done, 1 a cell failed, 2 bad input.

    Args:
        experiment: Experiment of the script.
        doc: Docstring of the script, shown in its help.
        argv: Arguments; those of the process if None.
    """
    args = _parser(experiment, doc).parse_args(argv)
    out = (args.out or Path("runs") / f"study-{args.preset}").expanduser()
    local = args.local or args.preset in IN_THIS_PROCESS
    if args.preset in IN_THIS_PROCESS:
        os.environ.setdefault("OMP_NUM_THREADS", "1")  # batches are so small that a second thread mostly waits
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
        print(f"{experiment.name}: interrupted; run the same command again to continue", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader has closed the pipe, as in `--list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return int(failed > 0)


def _print(experiment: Experiment, out: Path) -> None:
    """Print the table of the experiment."""
    from kdh_ray.results import render

    rows = rows_of(experiment, out)
    rows = rows[rows["kind"] != STEP]
    if not rows.empty:
        print(render.to_plain(experiment.table(rows)))


def _parser(experiment: Experiment, doc: str | None) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{experiment.name}",
        allow_abbrev=False,
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
        help="run only cells like PAIR/CORPUS/SIZE/SEED/METHOD, with * and ?, and what they need; may be repeated",
    )  # fmt: skip
    parser.add_argument("--list", action="store_true", help="print the cells and do nothing")
    parser.add_argument("--local", action="store_true", help="train in this process instead of on Ray Train workers")
    parser.add_argument("-v", "--verbose", action="store_true", help="show Ray's own log lines")
    return parser
