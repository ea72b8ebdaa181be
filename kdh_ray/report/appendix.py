"""Sections at the end of a report: ranks over corpora, configurations, published numbers, what failed."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.report.figures import LeftOut, attempt, ranks
from kdh_ray.report.parts import Section, Table
from kdh_ray.report.published import PUBLISHED
from kdh_ray.results.columns import setting_name
from kdh_ray.results.method_rows import BASELINE, TRIAL, finished_rows, largest_size, ranked_methods, sizes
from kdh_ray.results.tables import run_table

if TYPE_CHECKING:
    import pandas as pd

_MOST_UNFINISHED = 50  # rows
_MOST_NOTES = 5  # more are folded
_WHOLE = "large"  # the whole training split, which publications use
_LONG_PATH = re.compile(r"""[^/"',\s]*/{1,2}(?:[^/"',]+/)+([^/"',]+/[^/"',]+/[^/"',]+)""")
_NO_SETTINGS = ("config_cache", "config_job.address")


def corpora(frame: pd.DataFrame) -> Section:
    """Return the section with ranks over several corpora."""
    section = Section("Across corpora")
    section.figures, section.left_out = attempt([ranks], frame)
    return section


def configurations(frame: pd.DataFrame, label: str = "") -> Section:
    """Return the section about settings: those in which methods differ, and those that all share."""
    import pandas as pd

    section = Section(f"Configurations{label}")
    try:
        rows = largest_size(finished_rows(frame))
    except DataError as error:
        section.left_out.append(LeftOut("Configurations", str(error)))
        return section
    names = [
        name
        for name in map(str, rows)
        if name.startswith("config_") and name not in _NO_SETTINGS and rows[name].notna().any()
    ]
    rows = rows.assign(**{name: rows[name].map(_plain) for name in names})
    # (n_methods, n_settings): the first run's, since seeds share their settings but for what a search found
    first = rows[rows["kind"] != BASELINE].groupby("method", sort=False)[names].first().astype(object)
    if first.empty:
        section.left_out.append(LeftOut("Configurations", "only baselines were run, which have no settings"))
        return section
    differ = [name for name in names if first[name].map(str).nunique() > 1]
    section.intro = (
        "Settings of each method's first run at its largest size. The settings that a search tried are with its trials."
    )
    varied = first[differ].T.rename(index=setting_name).rename_axis("setting").reset_index()
    shared = [{"setting": setting_name(name), "value": first[name].iloc[0]} for name in names if name not in differ]
    section.tables = [
        Table("Where methods differ", varied),
        Table(f"The {len(shared)} settings that are the same in all", pd.DataFrame(shared), folded=True),
    ]
    section.tables = [table for table in section.tables if len(table.frame)]
    return section


def _without_folders(value: Any) -> Any:
    """Return a text with paths cut to their last three parts: a report must not reveal where its author keeps files."""
    return _LONG_PATH.sub(r"\1", value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """Return a setting for reading: a list, which rows store as JSON, as its items; None if it is empty."""
    value = _without_folders(value)
    try:
        parsed = json.loads(value) if isinstance(value, str) and value[:1] == "[" else value
    except ValueError:  # a word in brackets
        return value
    return ", ".join(map(str, parsed)) or None if isinstance(parsed, list) else parsed


def published_results(frame: pd.DataFrame) -> Section:
    """Return the section with published scores on the same corpus, next to ours where the protocol is the same."""
    import pandas as pd

    section = Section("Published results")
    protocols = {str(name) for name in frame["protocol"].dropna()}
    if not any(name.startswith("hoc") for name in protocols):
        reason = "this report only knows those on Hallmarks of Cancer, which is not among these rows"
        section.left_out.append(LeftOut("Published results", reason))
        return section
    section.intro = (
        "A table for each protocol, in the order of its source. Scores of different protocols do not compare, nor do"
        " those of models that were trained on a part of the training split."
    )
    for source in PUBLISHED:
        lines = [{"model": model, "score in %": score, "by": "publication"} for model, score in source.scores.items()]
        ours = _ours(frame, source.protocol) if source.protocol in protocols else []
        note = f"{source.conditions} Source: {source.reference}."
        section.tables.append(Table(source.title, pd.DataFrame([*ours, *lines]), note))
    return section


def _ours(frame: pd.DataFrame, protocol: str | None) -> list[dict[str, Any]]:
    """Return lines with the mean scores of our methods under a protocol."""
    try:
        rows = largest_size(finished_rows(frame[frame["protocol"] == protocol]))
    except DataError:
        return []
    size = (sizes(rows) or [_WHOLE])[-1]
    # Publications train on the whole split; a smaller size must say so.
    by = "these rows" + ("" if size == _WHOLE else f", size {size} only")
    lines = []
    for line in ranked_methods(rows).to_dict("records"):
        spread = f" ± {100 * line['score_sd']:.1f}" if line["n"] > 1 else ""
        score = f"{100 * line['score']:.1f}{spread} ({line['n']})"
        lines.append({"model": line["method"], "score in %": score, "by": by})
    return lines


def unfinished(frame: pd.DataFrame, notes: Sequence[str]) -> Section:
    """Return the section about rows without a result and files that could not be used: nothing is dropped silently."""
    import pandas as pd

    section = Section("Failures and notes")
    is_trial = frame["kind"] == TRIAL
    failed = frame[is_trial & (frame["status"] == "failed")]
    if len(failed):
        counts = failed["error"].fillna("no reason given").map(_without_folders).value_counts()
        table = counts.rename_axis("error").reset_index(name="trials")[["trials", "error"]]
        section.tables.append(Table("Trials that failed", table.head(_MOST_UNFINISHED)))
    rows = frame[~is_trial]
    rows = rows[rows["status"] != "ok"]
    if len(rows):
        columns = ["run_id", "stage", "variant", "size", "seed", "status", "error"]
        note = f"The first {_MOST_UNFINISHED} of {len(rows)}." if len(rows) > _MOST_UNFINISHED else ""
        table = run_table(rows)[columns].head(_MOST_UNFINISHED).dropna(axis="columns", how="all")
        section.tables.append(Table("Rows without a result", table, note))
    if notes:
        table = pd.DataFrame({"note": [_without_folders(note) for note in notes]})
        section.tables.append(Table(f"Notes ({len(notes)})", table, folded=len(notes) > _MOST_NOTES))
    return section
