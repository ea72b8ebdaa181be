"""Tables of Hugging Face ``datasets``: saved folders, snapshots of hub datasets, and hub datasets by name."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdh_ray.data.class_names import name_classes
from kdh_ray.data.table import SPLIT_ALIASES, Table
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.storage import one_line

SAVED_DATASET_FILES = ("dataset_dict.json", "dataset_info.json", "state.json")
HUB = "hf://datasets/"
HUB_SECONDS = 5.0  # to wait for an answer
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?", re.ASCII)
_DATA = (".parquet", ".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".arrow")


def hub_name(path: str) -> str | None:
    """Return the name of the hub dataset that a path stands for; None if it is a file's or folder's.

    A dataset is named ``owner/name`` or ``hf://datasets/owner/name``, either with ``@revision``. Where a folder
    ``owner`` exists, ``owner/name`` is a file in it.
    """
    name = path.removeprefix(HUB)
    if not _HUB_NAME.fullmatch(name):
        return None
    is_hub = path.startswith(HUB) or not (Path(path).exists() or Path(path).parent.exists() or Path(path).suffix)
    return name if is_hub else None


def read_hub_dataset(name: str, subset: str | None) -> list[Table]:
    """Download a dataset, or read it from the cache of ``datasets``.

    Raises:
        UnavailableError: If it is neither on the hub nor in the cache.
        DataError: If it has no train, validation or test split, or several subsets and none is named.
    """
    import datasets

    name, _, revision = name.partition("@")
    if not (_is_cached(name) or _is_on_the_hub(name, revision or None)):
        raise UnavailableError(_out_of_reach(name, "not found, or the hub can't be reached"))
    try:
        loaded = datasets.load_dataset(name, subset, revision=revision or None)
    except ValueError as error:  # the names of its subsets, or that there is no such one
        raise DataError(f"{name}: name the dataset's subset as data.subset ({one_line(error)})") from None
    except Exception as error:  # whatever the hub's client, the network and the reader of its files raise
        raise UnavailableError(_out_of_reach(name, type(error).__name__)) from None
    return _tables(name, loaded)


def _is_cached(name: str) -> bool:
    import datasets

    return (Path(datasets.config.HF_DATASETS_CACHE) / name.replace("/", "___")).is_dir()


def _is_on_the_hub(name: str, revision: str | None) -> bool:
    """Ask the hub, within seconds: ``datasets`` itself spends half a minute on retries."""
    from huggingface_hub import HfApi

    try:
        HfApi().dataset_info(name, revision=revision, timeout=HUB_SECONDS)
    except Exception:  # whatever the client and the network raise
        return False
    return True


def _out_of_reach(name: str, reason: str) -> str:
    return f"{name}: no such file or folder, and neither the hub nor its cache has a dataset of that name ({reason})"


def is_snapshot(folder: Path) -> bool:
    """Return whether a folder has the files of a hub dataset below it."""
    return any(file.suffix.lower() in _DATA for file in folder.rglob("*") if file.is_file())


def read_snapshot(folder: Path, subset: str | None) -> list[Table]:
    """Read a folder that has the layout of a hub dataset. Nothing is copied into the cache of ``datasets``."""
    import datasets

    try:
        streams = datasets.load_dataset(str(folder), subset, streaming=True)
        return _tables(str(folder), streams)
    except (DataError, MemoryError):
        raise
    except Exception as error:  # as above
        raise DataError(
            f"{folder}: a folder holds train, validation and test files, or a dataset; it can't be read as one"
            f" ({type(error).__name__})"
        ) from None


def is_saved_dataset(folder: Path) -> bool:
    """Return whether ``save_to_disk`` wrote a folder."""
    return any((folder / name).is_file() for name in SAVED_DATASET_FILES)


def read_saved_dataset(path: Path) -> list[Table]:
    """Read a folder written by ``save_to_disk``: a Dataset, or a DatasetDict with named splits."""
    from datasets import DatasetDict, load_from_disk

    try:
        loaded = load_from_disk(str(path))
        parts = dict(loaded) if isinstance(loaded, DatasetDict) else {None: loaded}
        for name in parts:
            if name is not None and name.lower() not in SPLIT_ALIASES:
                raise DataError(f"{path}: splits are named train, validation and test; got {name!r}")
        tables = _tables(str(path), parts)
    except (OSError, ValueError, LookupError, TypeError) as error:  # of a damaged folder; ArrowInvalid is a ValueError
        raise DataError(f"{path}: is not a readable folder of a saved dataset ({type(error).__name__})") from None
    return tables


def _tables(source: str, parts: Mapping[str | None, Any]) -> list[Table]:
    """Return a table for each split. Splits of other names, such as ``unsupervised``, are left out."""
    tables = []
    for name, part in parts.items():
        if name is not None and str(name).lower() not in SPLIT_ALIASES:
            continue
        split = None if name is None else SPLIT_ALIASES[str(name).lower()]
        columns, rows = _content(part)
        place = f"{source}/{name}" if name else source
        if not rows:
            raise DataError(f"{place}: has no rows")
        tables.append(Table(place, split, columns, rows, understood="dataset"))
    if not tables:
        raise DataError(f"{source}: splits are named train, validation and test; got others")
    return tables


def _content(part: Any) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """Read the columns and rows of a Dataset, with the numbers of its classes turned into names."""
    rows = [name_classes(row, part.features or {}) for row in part.with_format(None)]
    return tuple(part.column_names or (rows[0] if rows else ())), rows
