"""One row a stage of a run: written once, by whoever ran it, and read back as one frame.

Columns (others may follow):

* ``run_id``, ``stage``, ``kind`` (teacher, student, baseline, trial; ``step``: on the way to a method's own stage),
  ``experiment``, ``variant``, ``protocol``, ``size``, ``seed``; of a study's cells also ``method`` and ``pair`` (of
  teacher and student);
* ``status`` (ok, failed or stopped) and ``error``, one line;
* ``config_*``: the configuration, dotted below the first level (``config_loss.alpha``);
* ``metric``: the protocol's official metric; ``threshold``: tuned on validation;
* ``validation_*`` and ``test_*``: metrics at the tuned threshold, with ``_at_half`` at 0.5, with ``_per_label`` at the
  label thresholds; ``test_f1_label.NAME``: F1 of a label at the tuned threshold;
* ``seconds``, ``documents_per_second``, ``device``, ``precision``, ``parameters``, ``version_*``, ``commit``,
  ``started`` and ``written`` (UTC, ISO 8601).
"""

from __future__ import annotations

import json
import os
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from functools import partial
from itertools import count
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.results import row_files as store
from kdh_ray.storage import locate

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("ok", "failed", "stopped")
REQUIRED = ("run_id", "stage", "status")
_FIRST = (
    *("run_id", "stage", "kind", "experiment", "method", "variant", "pair"),
    *("protocol", "size", "seed", "status", "error", "metric"),
)
_LAST = ("started", "written")
_GROUPS = ("config_", "threshold", "validation_", "test_")  # in this order, between the first columns and the rest
_ERROR_LENGTH = 500
_LARGE = 1000  # rows of a file from which its columns are worth a thread each


def write_row(folder: str | os.PathLike[str], row: Mapping[str, Any]) -> Path:
    """Write one row as one Parquet file of its own; whole or not at all, safe with many writers.

    Where a folder has come to hold many such files, the writer merges them, so that reading stays quick.

    Args:
        folder: Made if it isn't there. A local path or a bucket (``s3://...``).
        row: Column to value. ``run_id``, ``stage`` and ``status`` are required. Values are numbers, strings, booleans,
            None, paths or dates; sequences are kept as JSON. ``written`` is filled in. An ``error`` is cut to its
            first line.

    Returns:
        The file.

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
    stem = "-".join(["row", _slug(row["run_id"]), _slug(row["stage"])])
    file = store.write(folder, stem, pa.table({name: [values[name]] for name in order_columns(values)}))
    _merge(folder, store.mergeable(folder))
    return Path(file)


def load_runs(
    path: str | os.PathLike[str], *more: str | os.PathLike[str], on_error: Literal["raise", "warn"] = "raise"
) -> pd.DataFrame:
    """Every row at or below the given files, folders and buckets, in the order in which they were started.

    Columns that some files lack are NaN (or None) in their rows. Where a run wrote a stage more than once (it failed,
    and was run again), the last one counts. Files that a writer left unfinished are named in a warning. Two tables of
    one name are two protocols: see :func:`tell_tables_apart`.

    Args:
        path: A folder of runs, one run, or a row file.
        more: Further ones.
        on_error: What to do about a file that can't be read: ``raise``, or ``warn`` with its name and go on.

    Raises:
        DataError: If a path doesn't exist, there is no row at all, or (unless ``warn``) a file is corrupt or foreign.
    """
    table = _latest(_unite([table for _, table in _read_rows([path, *more], on_error)]))
    return tell_tables_apart(table.select(order_columns(table.column_names)).to_pandas())


def recorded(folder: str | os.PathLike[str]) -> set[tuple[str, str]]:
    """(run_id, stage) of every row at or below ``folder``; empty where there is none. Corrupt files are left out."""
    try:
        tables = [table for _, table in _read_all([folder], "ignore", ["run_id", "stage"])]
    except DataError:  # no such folder
        return set()
    return {pair for table in tables for pair in zip(*(column.to_pylist() for column in table.columns), strict=True)}


def compact(folder: str | os.PathLike[str]) -> Path:
    """Merge all row files below ``folder`` into one. Readers and writers may go on meanwhile.

    Raises:
        DataError: If there is no row, or a file is corrupt: then nothing is changed.
    """
    read = dict(_read_rows([folder]))
    return Path(store.replace(folder, _latest(_unite(list(read.values()))), list(read)))


def copy_rows(
    sources: Sequence[str | os.PathLike[str]],
    target: str | os.PathLike[str],
    on_error: Literal["raise", "warn"] = "raise",
) -> int:
    """Write every row at or below ``sources`` into the folder ``target``, as one file; returns how many rows.

    A row that ``target`` has already counts once there, as any does that was written twice.

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
    """Row files by name, and at least one."""
    read = list(_read_all(paths, on_error))
    if not read:
        raise DataError(f"{', '.join(os.fspath(each) for each in paths)}: no result rows (row-*.parquet) here")
    return read


def _merge(folder: str | os.PathLike[str], names: list[str]) -> None:
    """Merge some row files of ``folder``; files that can't be read stay as they are, for readers to name."""
    if not names:
        return
    filesystem, _ = locate(folder)
    tables = {name: table for name, table in _read(filesystem, names) if not isinstance(table, Exception)}
    if len(tables) > 1:
        with suppress(UnavailableError, OSError):  # the row itself is safe; the next writer tries again
            store.replace(folder, _latest(_unite(list(tables.values()))), list(tables))


def _latest(table: Any) -> Any:
    """One row a stage of a run, the one written last, in the order in which they were started."""
    import numpy as np

    keys = table.select([name for name in ("run_id", "stage", "written", "started") if name in table.column_names])
    frame = keys.to_pandas()
    written = [name for name in ("written", "started") if name in frame]
    if written:
        frame = frame.sort_values(written, kind="stable", na_position="first")
    frame = frame.drop_duplicates(["run_id", "stage"], keep="last")
    if "started" in frame:
        frame = frame.sort_values("started", kind="stable")
    order = frame.index.to_numpy()
    return table if np.array_equal(order, np.arange(table.num_rows)) else table.take(order)


def order_columns(names: Iterable[str]) -> list[str]:
    """Identity, configuration, scores, circumstances; sorted by name within settings and circumstances."""

    def place(name: str) -> tuple[int, int, str]:
        if name in _FIRST:
            return 0, _FIRST.index(name), name
        if name in _LAST:
            return 3, _LAST.index(name), name
        group = next((index for index, prefix in enumerate(_GROUPS) if name.startswith(prefix)), None)
        return (2, 0, name) if group is None else (1, group, name)

    return sorted(names, key=place)


def _read_all(
    paths: Sequence[str | os.PathLike[str]],
    on_error: Literal["raise", "warn", "ignore"],
    columns: list[str] | None = None,
) -> Iterator[tuple[str, Any]]:
    """Each row file and its table, every file once."""
    seen: set[str] = set()
    for path in paths:
        vanished = True
        while vanished:  # files that were merged while they were being read have their rows in one that is new
            vanished = False
            filesystem, names, left = store.find(path)
            if left and on_error != "ignore":
                warnings.warn(f"rows that were never finished: {', '.join(left)}", RuntimeWarning, stacklevel=3)
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
    """Each file's table, or the error that names it: FileNotFoundError, or DataError where it can't be used."""
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
            return file.read(columns=columns, use_threads=file.metadata.num_rows > _LARGE)
    except FileNotFoundError as error:
        return error
    except (pa.ArrowException, OSError, ValueError) as error:  # ValueError: a name that is no text any more
        return DataError(f"{name}: corrupt or half-written result row ({' '.join(str(error).split())[:120]})")


def _unite(tables: list[Any]) -> Any:
    """One table with the union of all columns; a column that is text in some files and numbers in others is text."""
    import pyarrow as pa

    alike: dict[Any, list[Any]] = {}  # many small tables have few schemas; concatenation is fast within one
    for table in sorted(tables, key=_begun):  # a file's rows are of one time: there is little left to sort then
        alike.setdefault(tuple((field.name, str(field.type)) for field in table.schema), []).append(table)
    united = [pa.concat_tables(group).replace_schema_metadata(None) for group in alike.values()]
    try:
        return pa.concat_tables(united, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.concat_tables([_as_text(table, _mixed(united)) for table in united], promote_options="permissive")


def _begun(table: Any) -> str:
    """When the first row's stage was started; empty where that isn't told."""
    first = table.column("started")[0].as_py() if "started" in table.column_names and table.num_rows else None
    return "" if first is None else str(first)


def _mixed(tables: list[Any]) -> set[str]:
    import pyarrow as pa

    kinds: dict[str, set[str]] = {}
    for field in (field for table in tables for field in table.schema):
        numeric = pa.types.is_integer(field.type) or pa.types.is_floating(field.type)
        if not pa.types.is_null(field.type):
            kinds.setdefault(field.name, set()).add("number" if numeric else str(field.type))
    return {name for name, found in kinds.items() if len(found) > 1}


def _as_text(table: Any, names: set[str]) -> Any:
    import pyarrow as pa

    for name in names.intersection(table.column_names):
        place, column = table.column_names.index(name), table.column(name)
        if pa.types.is_nested(column.type):  # other programs' rows; ours keep sequences as JSON
            values = [None if value is None else json.dumps(value, default=str) for value in column.to_pylist()]
            column = pa.array(values, pa.string())
        table = table.set_column(place, name, column.cast(pa.string()))
    return table


def _plain(name: str, value: Any) -> Any:
    """``value`` as Parquet keeps it."""
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


def tell_tables_apart(frame: pd.DataFrame) -> pd.DataFrame:
    """Users' tables of one name in several folders, as protocols of their own: ``notes (ward-a/notes.csv)``.

    A relative path stands for the only longer one that ends like it. Where all rows are of one file, nothing changes.
    """
    if not {"protocol", "config_data.corpus", "config_data.path"} <= set(frame):
        return frame
    is_table = (frame["config_data.corpus"] == "table") & frame["config_data.path"].notna()
    parts = frame.loc[is_table, "config_data.path"].map(_named_parts)
    protocols = frame["protocol"].copy()
    for protocol, own in parts.groupby(frame.loc[is_table, "protocol"]):
        known = set(own)
        whole = {path for path in known if not _longer(path, known)}
        same = {path: longer[0] if len(longer := _longer(path, whole)) == 1 else path for path in known}
        files = set(same.values())
        if len(files) > 1:
            length = next(n for n in count(1) if len({path[-n:] for path in files}) == len(files))
            protocols[own.index] = [f"{protocol} ({'/'.join(same[path][-length:])})" for path in own]
    return frame.assign(protocol=protocols)


def _named_parts(path: str) -> tuple[str, ...]:
    return tuple(part for part in PurePath(path).parts if part not in ("/", "..", "~"))


def _longer(path: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Those that end like ``path``."""
    return [other for other in others if other != path and other[-len(path) :] == path]
