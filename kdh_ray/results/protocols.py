"""Protocols of users' corpora that share a name: different tables, and different states of one table.

Scores on different documents don't compare, so they must neither replace each other nor be averaged.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import count
from pathlib import PurePath
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_DIGITS = 8  # of a fingerprint, enough to tell the states of a table apart
_STATE = re.compile(rf"@[0-9a-f]{{{_DIGITS}}}$")


def distinguish_tables(frame: pd.DataFrame) -> pd.DataFrame:
    """Give users' tables that share a name but not a folder protocols of their own: ``notes (ward-a/notes.csv)``.

    Different tables must not be averaged. A relative path counts as the only longer path that ends with it. Where all
    rows of a protocol are of one file, its name does not change.
    """
    if not {"protocol", "config_data.corpus", "config_data.path"} <= set(frame):
        return frame
    is_table = (frame["config_data.corpus"] == "table") & frame["config_data.path"].notna()
    parts = frame.loc[is_table, "config_data.path"].map(_folders_and_file)
    protocols = frame["protocol"].copy()
    for protocol, own in parts.groupby(frame.loc[is_table, "protocol"]):
        paths = set(own)
        longest = {path for path in paths if not _longer(path, paths)}
        file_of = {path: longer[0] if len(longer := _longer(path, longest)) == 1 else path for path in paths}
        files = set(file_of.values())
        if len(files) > 1:
            # As many folders as it takes to make every name unique.
            length = next(n for n in count(1) if len({path[-n:] for path in files}) == len(files))
            protocols[own.index] = [f"{protocol} ({'/'.join(file_of[path][-length:])})" for path in own]
    return frame.assign(protocol=protocols)


def _folders_and_file(path: str) -> tuple[str, ...]:
    return tuple(part for part in PurePath(path).parts if part not in ("/", "..", "~"))


def _longer(path: tuple[str, ...], others: Iterable[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Return the longer paths that end with ``path``."""
    return [other for other in others if other != path and other[-len(path) :] == path]


def distinguish_data(frame: pd.DataFrame) -> pd.DataFrame:
    """Tell runs on several states of a corpus apart: by protocol, ``notes (65 documents)``, and by run id.

    Where states have as many documents, the beginning of the fingerprint follows. Another seed of splits or samples is
    no other state. Rows that don't name their data, of earlier versions, keep their names.
    """
    known = frame[frame["data_fingerprint"].notna() & frame["protocol"].notna()]
    seeds = known["config_data.sample_seed"].fillna(0) if "config_data.sample_seed" in frame else 0
    known = known.assign(seeds=seeds, prints=known["data_fingerprint"].str[:_DIGITS])
    protocols, run_ids = frame["protocol"].copy(), frame["run_id"].copy()
    for protocol, own in known.groupby("protocol"):
        if own.groupby("seeds")["prints"].nunique().max() < 2:
            continue
        documents = own["data_documents"].map("{:.0f} documents".format)
        if own.groupby(["seeds", documents])["prints"].nunique().max() > 1:
            documents += ", data " + own["prints"]
        protocols[own.index] = f"{protocol} (" + documents + ")"
        is_shared = own.groupby("run_id")["prints"].transform("nunique") > 1
        run_ids[own.index] = own["run_id"].where(~is_shared, own["run_id"].astype(str) + "@" + own["prints"])
    return frame.assign(protocol=protocols, run_id=run_ids)


def written_run_id(run_id: str) -> str:
    """Return the run id that a row has on disk, without what :func:`distinguish_data` added."""
    return _STATE.sub("", run_id)
