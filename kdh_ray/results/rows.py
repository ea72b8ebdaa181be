"""Result rows: one per stage of a run, written once by whoever ran the stage, and read back as one frame.

:mod:`kdh_ray.results.columns` describes the columns.
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.results import row_files as store
from kdh_ray.results.columns import normalise_rows, order_columns
from kdh_ray.results.fronts import mark_fronts
from kdh_ray.results.method_rows import TRIAL
from kdh_ray.results.protocols import distinguish_data, distinguish_tables
from kdh_ray.storage import locate

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("ok", "failed", "stopped")
REQUIRED = ("run_id", "stage", "status")
_STAGE = ("run_id", "stage")
_TRAINING = (*_STAGE, "started", "seconds", "machine")  # of one training or measurement; the same on all its copies
_DATA = "data_fingerprint"
_KEYS = (*_TRAINING, _DATA, "status", "kind", "written")
_ERROR_LENGTH = 500  # characters
_MANY_ROWS = 1000  # in one file: above, its columns are read in threads


def write_row(folder: str | os.PathLike[str], row: Mapping[str, Any]) -> Path:
    """Write one row as a Parquet file of its own, whole or not at all. Many writers may do so at once.

    When the folder holds many such files, the writer merges some of them, so that reading stays quick.

    Args:
        folder: A local path or a bucket (``s3://...``), created if it does not exist.
        row: Column to value. ``run_id``, ``stage`` and ``status`` are required. Values are numbers, strings, booleans,
            None, paths or dates; sequences are stored as JSON. ``written`` is filled in. An ``error`` is cut to its
            first line.

    Returns:
        Path of the file.

    Raises:
        DataError: If a required column is missing or the status is not one of :data:`STATUSES`.
        TypeError: If a value is of another kind, such as an array.
        UnavailableError: If the folder can't be written.
    """
    import pyarrow as pa

    missing = [name for name in REQUIRED if row.get(name) in (None, "")]
    if missing:
        raise DataError(f"a result row must have {', '.join(REQUIRED)}; missing: {', '.join(missing)}")
    if row["status"] not in STATUSES:
        raise DataError(f"a result row's status is one of {', '.join(STATUSES)}; got {row['status']!r}")
    values = {name: _plain(name, value) for name, value in row.items()}
    if values.get("error"):
        values["error"] = next(iter(str(values["error"]).strip().splitlines()), "")[:_ERROR_LENGTH]
    values.setdefault("written", datetime.now(UTC).isoformat(timespec="microseconds"))
    # The name helps people; a unique suffix, added on writing, keeps writers apart.
    stem = "-".join(["row", _slug(row["run_id"]), _slug(row["stage"])])
    file = store.write(folder, stem, pa.table({name: [values[name]] for name in order_columns(values)}))
    _merge(folder, store.mergeable(folder))
    return Path(file)


def load_runs(
    path: str | os.PathLike[str], *more: str | os.PathLike[str], on_error: Literal["raise", "warn"] = "raise"
) -> pd.DataFrame:
    """Return every row at or below the given files, folders and buckets, in the order in which stages started.

    Where a run wrote a stage more than once, because it failed and was run again, the last row counts. A configuration
    that was trained twice, in two folders or on two machines, has a row for each training. Files that a writer left
    unfinished are named in a warning. Two tables with one name are two protocols, as are two states of a table that
    changed between runs; see :mod:`kdh_ray.results.protocols`.

    Args:
        path: A folder of runs, one run, a row file, or a bucket.
        more: Further paths.
        on_error: What to do about a file that can't be read: ``raise``, or ``warn`` with its name and skip it.

    Returns:
        One row per stage of a run. The columns of :mod:`kdh_ray.results.columns` are always there, as None or NaN in
        rows without a value; other columns are there if any row has them.

    Raises:
        DataError: If a path doesn't exist, no row is found, or (unless ``warn``) a file is corrupt or foreign.

    Example:
        >>> rows = load_runs("runs")
        >>> sorted(rows["stage"].unique())
        ['student', 'teacher', 'tf-idf']
        >>> means = rows.groupby("stage")["test_f1_micro"].mean()
    """
    frame = _latest(_unite([table for _, table in _read_rows([path, *more], on_error)])).to_pandas()
    frame = mark_fronts(distinguish_data(distinguish_tables(normalise_rows(frame))))
    return frame[order_columns(map(str, frame))]


def recorded(folder: str | os.PathLike[str], data: str | None = None) -> set[tuple[str, str]]:
    """Return (run_id, stage) of every row at or below ``folder``; empty without rows. Corrupt files are skipped.

    Args:
        folder: A local path or a bucket.
        data: Fingerprint of a corpus: leaves out the rows of others. Rows that don't name their data are kept.
    """
    rows = _keys(folder, "data_fingerprint")
    return {(row["run_id"], row["stage"]) for row in rows if data is None or row["data_fingerprint"] in (None, data)}


def executions(folder: str | os.PathLike[str]) -> set[tuple[str, str, str | None]]:
    """Return (run_id, stage, start) of the finished rows at or below ``folder``. Corrupt files are skipped."""
    rows = _keys(folder, "status", "started")
    return {(row["run_id"], row["stage"], row["started"]) for row in rows if row["status"] == "ok"}


def _keys(folder: str | os.PathLike[str], *more: str) -> Iterator[dict[str, Any]]:
    """Yield ``run_id``, ``stage`` and ``more`` columns of every row; those that a file lacks are None."""
    names = ["run_id", "stage", *more]
    try:
        for _, table in _read_all([folder], "ignore", names):
            yield from ({**dict.fromkeys(names), **row} for row in table.to_pylist())
    except DataError:  # no such folder
        return


def compact(folder: str | os.PathLike[str]) -> Path:
    """Merge all row files below ``folder`` into one, while others may read and write.

    Returns:
        Path of the merged file.

    Raises:
        DataError: If there is no row, or a file is corrupt; nothing is changed then.
    """
    read = dict(_read_rows([folder]))
    return Path(store.replace(folder, _latest(_unite(list(read.values()))), list(read)))


def copy_rows(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    on_error: Literal["raise", "warn"] = "raise",
) -> int:
    """Write every row at or below ``sources`` into the folder ``target``, as one file.

    A row that ``target`` already has counts once there, as does any row that was written twice.

    Returns:
        Number of rows.

    Raises:
        DataError: If a file is corrupt, unless ``on_error`` is ``warn``.
        UnavailableError: If ``target`` can't be written.
    """
    tables = [table for _, table in _read_all(sources, on_error)]
    if not tables:
        return 0
    table = _latest(_unite(tables))
    store.write(target, f"rows-{table.num_rows}", table)
    _merge(target, store.mergeable(target))
    return int(table.num_rows)


def _read_rows(
    paths: Sequence[str | os.PathLike[str]], on_error: Literal["raise", "warn"] = "raise"
) -> list[tuple[str, Any]]:
    """Return the name and table of each row file, and at least one."""
    read = list(_read_all(paths, on_error))
    if not read:
        raise DataError(f"{', '.join(os.fspath(each) for each in paths)}: no result rows (row-*.parquet) here")
    return read


def _merge(folder: str | os.PathLike[str], names: list[str]) -> None:
    """Merge some row files of ``folder``. Files that can't be read stay as they are, for readers to report."""
    if not names:
        return
    filesystem, _ = locate(folder)
    tables = {name: table for name, table in _read(filesystem, names) if not isinstance(table, Exception)}
    if len(tables) > 1:
        with suppress(UnavailableError, OSError):  # the row itself is safe; the next writer tries again
            store.replace(folder, _latest(_unite(list(tables.values()))), list(tables))


def _latest(table: Any) -> Any:
    """Return one row per training, the one written last, in the order in which stages started.

    A training is known by its run id and stage, the data, and when and how long it ran. A failed one counts only if
    no row of its stage follows.
    """
    import numpy as np

    frame = table.select([name for name in _KEYS if name in table.column_names]).to_pandas()
    written = [name for name in ("written", "started") if name in frame]
    if written:
        frame = frame.sort_values(written, kind="stable", na_position="first")
    is_stage = frame["kind"] != TRIAL if "kind" in frame else True
    is_replaced = (frame["status"] != "ok") & is_stage & frame.duplicated(list(_STAGE), keep="last")
    training = [name for name in _TRAINING if name in frame]
    if _DATA in frame:  # only a later version's copy of a row names the data
        is_replaced |= frame[_DATA].isna() & frame.duplicated(training, keep="last")
        training.append(_DATA)
    # The index still has each row's position.
    frame = frame[~is_replaced].drop_duplicates(training, keep="last")
    if "started" in frame:
        frame = frame.sort_values("started", kind="stable")
    order = frame.index.to_numpy()
    return table if np.array_equal(order, np.arange(table.num_rows)) else table.take(order)


def _read_all(
    paths: Sequence[str | os.PathLike[str]],
    on_error: Literal["raise", "warn", "ignore"],
    columns: list[str] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Yield the name and table of each row file, every file once."""
    seen: set[str] = set()
    for path in paths:
        vanished = True
        while vanished:  # a file that was merged while we read has its rows in a new one: list the folder again
            vanished = False
            filesystem, names, unfinished = store.find(path)
            if unfinished and on_error != "ignore":
                warnings.warn(f"rows that were never finished: {', '.join(unfinished)}", RuntimeWarning, stacklevel=3)
            names = [name for name in names if name not in seen]
            seen.update(names)
            for name, result in _read(filesystem, names, columns):
                if isinstance(result, FileNotFoundError):
                    vanished = True
                elif not isinstance(result, DataError):
                    yield name, result
                elif on_error == "raise":
                    raise result
                elif on_error == "warn":
                    warnings.warn(str(result), RuntimeWarning, stacklevel=3)


def _read(filesystem: Any, names: Sequence[str], columns: list[str] | None = None) -> Iterator[tuple[str, Any]]:
    """Yield the name of each file with its table, or with its error: FileNotFoundError, or DataError if it is bad."""
    with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as threads:
        yield from zip(names, threads.map(partial(_read_file, filesystem, columns=columns), names), strict=True)


def _read_file(filesystem: Any, name: str, columns: list[str] | None = None) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with filesystem.open_input_file(name) as source:
            file = pq.ParquetFile(source, page_checksum_verification=True)
            absent = [column for column in REQUIRED if column not in file.schema_arrow.names]
            if absent:
                return DataError(f"{name}: not a result row: no column {', '.join(absent)}")
            if len(set(file.schema_arrow.names)) < len(file.schema_arrow.names):
                return DataError(f"{name}: not a result row: two columns of one name")
            return file.read(columns=columns, use_threads=file.metadata.num_rows > _MANY_ROWS)
    except FileNotFoundError as error:
        return error
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a column name that is not UTF-8
        if not name.endswith(".parquet"):
            return DataError(f"{name}: not a result row: name a run's folder, or a Parquet file of its rows")
        return DataError(f"{name}: corrupt or half-written result row ({' '.join(str(error).split())[:120]})")


def _unite(tables: list[Any]) -> Any:
    """Return one table with the union of all columns; a column that is text in any file becomes text."""
    import pyarrow as pa

    by_schema: dict[Any, list[Any]] = {}  # many small tables have few schemas, and concatenate fast within one
    for table in sorted(tables, key=_started):  # nearly the final order, which leaves little to sort
        by_schema.setdefault(tuple((field.name, str(field.type)) for field in table.schema), []).append(table)
    united = [pa.concat_tables(group).replace_schema_metadata(None) for group in by_schema.values()]
    try:
        return pa.concat_tables(united, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        mixed = _mixed_columns(united)
        return pa.concat_tables([_as_text(table, mixed) for table in united], promote_options="permissive")


def _started(table: Any) -> str:
    """Return when the first row's stage started; empty if unknown."""
    first = table.column("started")[0].as_py() if "started" in table.column_names and table.num_rows else None
    return "" if first is None else str(first)


def _mixed_columns(tables: list[Any]) -> set[str]:
    """Return the columns that are numbers in some tables and something else in others."""
    import pyarrow as pa

    kinds: dict[str, set[str]] = {}
    for field in (field for table in tables for field in table.schema):
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        if not pa.types.is_null(field.type):
            kinds.setdefault(field.name, set()).add("number" if numeric else str(field.type))
    return {name for name, types in kinds.items() if len(types) > 1}


def _as_text(table: Any, names: set[str]) -> Any:
    """Return the table with the columns ``names`` cast to text."""
    import pyarrow as pa

    for name in names.intersection(table.column_names):
        column = table.column(name)
        if pa.types.is_nested(column.type):  # another program's row: ours store sequences as JSON
            values = [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
            column = pa.array(values, pa.string())
        table = table.set_column(table.column_names.index(name), name, column.cast(pa.string()))
    return table


def _plain(name: str, value: Any) -> Any:
    """Return a value that Parquet can store."""
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy or torch scalar
        value = value.item()
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, list | tuple | dict):
        return json.dumps(value, default=str)
    raise TypeError(f"column {name!r} of a result row can't hold a {type(value).__name__}")


def _slug(value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", str(value))[:60]
