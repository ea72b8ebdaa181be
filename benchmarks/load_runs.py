"""Time ``load_runs`` on a folder that many writers have filled, one row after another.

    python -m benchmarks.load_runs [--rows 100000] [--like ROW.parquet] [--folder DIR]

The folder has the files that ``write_row`` would leave after as many rows. Its merging of files is simulated on their
numbers of rows, because 100,000 real writes take a while. Each row has all columns of a real one (``--like``), with
random numbers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from kdh_ray.results import load_runs
from kdh_ray.results import row_files as store

LIKE = "experiments/results/2026-11-22-hoc-small"


def sizes(rows: int) -> list[int]:
    """Return the number of rows of each file after ``rows`` writes."""
    files: dict[str, int] = {}
    for number in range(rows):
        files[f"row-{number}"] = 1
        merged = store.due(files)
        if merged:
            files[f"rows-{number}"] = sum(files.pop(name) for name in merged)
    return list(files.values())


def rows_like(row: dict[str, Any], start: int, count: int, generator: np.random.Generator) -> Any:
    """Return a table of ``count`` rows like ``row``, with distinct names and times and with random scores."""
    import pyarrow as pa

    columns: dict[str, Any] = {}
    for name, value in row.items():
        if name in ("run_id", "started", "written"):
            columns[name] = [f"{value}-{start + i:07d}" for i in range(count)]
        elif isinstance(value, float):
            columns[name] = generator.random(count)
        else:
            columns[name] = [value] * count
    return pa.table(columns)


def fill(folder: Path, row: dict[str, Any], rows: int) -> int:
    """Write the files and return their number."""
    generator, counts = np.random.default_rng(0), sizes(rows)
    done = 0
    for count in counts:
        stem = "row" if count == 1 else f"rows-{count}"
        store.write(folder, stem, rows_like(row, done, count, generator))
        done += count
    return len(counts)


def main() -> None:
    """Fill the folder and load it three times."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000, help="number of rows")
    parser.add_argument("--like", default=LIKE, help="row file or folder whose first row is the model")
    parser.add_argument("--folder", type=Path, help="empty folder to fill (default: a temporary one)")
    args = parser.parse_args()
    row = load_runs(args.like).iloc[0].dropna().to_dict()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        files = fill(folder, row, args.rows)
        size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
        print(f"{args.rows} rows of {len(row)} columns, {files} files, {size:.0f} MiB, {os.cpu_count()} CPUs")
        for attempt in ("first", "second", "third"):
            wall, cpu = time.perf_counter(), time.process_time()
            found = len(load_runs(folder))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            print(f"{attempt:<6} {found} rows: {wall:5.2f} s of wall time, {cpu:5.2f} s of CPU time", flush=True)


if __name__ == "__main__":
    main()
