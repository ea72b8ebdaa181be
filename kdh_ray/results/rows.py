"""One row a stage of a run: written once, by whoever ran it, and read back as one frame.

Columns (others may follow):

* ``run_id``, ``stage``, ``kind`` (teacher, student or baseline), ``experiment``, ``variant``, ``protocol``, ``size``,
  ``seed``;
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
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdh_ray.errors import DataError
from kdh_ray.results import store

if TYPE_CHECKING:
    import pandas as pd

STATUSES = ("ok", "failed", "stopped")
REQUIRED = ("run_id", "stage", "status")
_FIRST = ("run_id", "stage", "kind", "experiment", "variant", "protocol", "size", "seed", "status", "error", "metric")
_LAST = ("started", "written")
_GROUPS = ("config_", "threshold", "validation_", "test_")  # in this order, between the first columns and the rest
_ERROR_LENGTH = 500


def write_row(folder: str | os.PathLike[str], row: Mapping[str, Any]) -> Path:
    """Write one row as one Parquet file of its own; whole or not at all, safe with many writers.

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
    return Path(store.write(folder, stem, pa.table({name: [values[name]] for name in order_columns(values)})))


def load_runs(
    path: str | os.PathLike[str], *more: str | os.PathLike[str], on_error: Literal["raise", "warn"] = "raise"
) -> pd.DataFrame:
    """Every row at or below the given files, folders and buckets, in the order in which they were started.

    Columns that some files lack are NaN (or None) in their rows. Where a run wrote a stage more than once (it failed,
    and was run again), the last one counts. Files that a writer left unfinished are named in a warning.

    Args:
        path: A folder of runs, one run, or a row file.
        more: Further ones.
        on_error: What to do about a file that can't be read: ``raise``, or ``warn`` with its name and go on.

    Raises:
        DataError: If a path doesn't exist, there is no row at all, or (unless ``warn``) a file is corrupt or foreign.
    """
    paths = [path, *more]
    tables = [table for _, table in _read_all(paths, on_error)]
    if not tables:
        raise DataError(f"{', '.join(os.fspath(each) for each in paths)}: no result rows (row-*.parquet) here")
    frame: pd.DataFrame = _unite(tables).to_pandas()
    keys = [name for name in ("written", "started") if name in frame]
    frame = frame.sort_values(keys, kind="stable", na_position="first") if keys else frame
    frame = frame.drop_duplicates(["run_id", "stage"], keep="last")
    if "started" in frame:
        frame = frame.sort_values("started", kind="stable")
    return frame[order_columns(frame.columns)].reset_index(drop=True)


def compact(folder: str | os.PathLike[str]) -> Path:
    """Merge the row files below ``folder`` into one, which reads a hundred times faster. Readers may go on meanwhile.

    Raises:
        DataError: If there is no row, or a file is corrupt: then nothing is changed.
    """
    filesystem, _ = store.locate(folder)
    read = list(_read_all([folder], "raise"))
    if not read:
        raise DataError(f"{os.fspath(folder)}: no result rows (row-*.parquet) here")
    merged = store.write(folder, "rows", _unite([table for _, table in read]))
    for name, _ in read:
        filesystem.delete_file(name)
    return Path(merged)


def flatten(tree: Mapping[str, Any], prefix: str = "config_") -> dict[str, Any]:
    """Nested settings as columns: ``{"loss": {"alpha": 0.5}}`` gives ``{"config_loss.alpha": 0.5}``."""

    def leaves(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
        for key, value in node.items():
            if isinstance(value, Mapping):
                yield from leaves(value, f"{path}{key}.")
            else:
                yield f"{path}{key}", value

    return dict(leaves(tree, prefix))


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


def _read_all(paths: list[str | os.PathLike[str]], on_error: Literal["raise", "warn"]) -> Iterator[tuple[str, Any]]:
    """Each row file and its table, every file once."""
    seen: set[str] = set()
    for path in paths:
        filesystem, names, left = store.find(path)
        if left:
            warnings.warn(f"rows that were never finished: {', '.join(left)}", RuntimeWarning, stacklevel=3)
        names = [name for name in names if name not in seen]
        seen.update(names)
        with ThreadPoolExecutor(max_workers=min(16, 2 * (os.cpu_count() or 1))) as threads:
            for name, result in zip(names, threads.map(partial(_read, filesystem), names), strict=True):
                if isinstance(result, DataError):
                    if on_error == "raise":
                        raise result
                    warnings.warn(str(result), RuntimeWarning, stacklevel=3)
                else:
                    yield name, result


def _read(filesystem: Any, name: str) -> Any:
    """The table, or the DataError that names the file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with filesystem.open_input_file(name) as file:
            table = pq.ParquetFile(file).read(use_threads=False)
    except FileNotFoundError:
        return DataError(f"{name}: vanished while it was being read (compacted?); read again")
    except (pa.ArrowException, OSError) as error:
        return DataError(f"{name}: corrupt or half-written result row ({' '.join(str(error).split())[:120]})")
    absent = [column for column in REQUIRED if column not in table.column_names]
    return DataError(f"{name}: not a result row: no column {', '.join(absent)}") if absent else table


def _unite(tables: list[Any]) -> Any:
    """One table with the union of all columns; a column that is text in some files and numbers in others is text."""
    import pyarrow as pa

    alike: dict[Any, list[Any]] = {}  # many small tables have few schemas; concatenation is fast within one
    for table in tables:
        alike.setdefault(tuple((field.name, str(field.type)) for field in table.schema), []).append(table)
    united = [pa.concat_tables(group).combine_chunks().replace_schema_metadata(None) for group in alike.values()]
    try:
        return pa.concat_tables(united, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return pa.concat_tables([_as_text(table, _mixed(united)) for table in united], promote_options="permissive")


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
        place = table.column_names.index(name)
        table = table.set_column(place, name, table.column(name).cast(pa.string()))
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
