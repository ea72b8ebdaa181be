"""What classifiers cost: efficiency where they run, and the front of score against cost of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kdh_ray.errors import DataError
from kdh_ray.results.tables.method_rows import (
    GROUP,
    is_repeated,
    method_names,
    official_scores,
    repetitions,
    with_columns,
)

if TYPE_CHECKING:
    import pandas as pd

EFFICIENCY = {
    "parameters": ("parameters", 1e-6, "M", False),
    "disk_bytes": ("on disk", 2**-20, "MiB", False),
    "flops_per_document": ("FLOPs/document", 1e-9, "G", False),
    "peak_memory_bytes": ("peak memory", 2**-20, "MiB", False),
    "latency_p50_ms": ("p50", 1.0, "ms", False),
    "latency_p95_ms": ("p95", 1.0, "ms", False),
    "inference_documents_per_second": ("documents/s", 1.0, "", True),
    "joules_per_document": ("energy/document", 1.0, "J", False),
    "official": ("F1", 100.0, "%", True),
}
"""Column of a row: its title, factor, unit, and whether more is better."""


def efficiency(frame: pd.DataFrame) -> pd.DataFrame:
    """What classifiers cost where they run: a line a method and number format, means over rows.

    Args:
        frame: From ``load_runs``; rows of ``experiments.efficiency``.

    Returns:
        ``protocol``, ``method``, ``format``, ``size`` of the training split and number of ``threads`` where they
        differ, ``n``, and those of :data:`EFFICIENCY` that were measured, in the units of their titles, with their
        standard deviations (``TITLE sd``) where they vary. ``attrs["best"]`` marks the best of each column within a
        protocol.

    Raises:
        DataError: If there is no such row.
    """
    measured_rows = frame[frame["latency_p50_ms"].notna()] if "latency_p50_ms" in frame else frame.head(0)
    rows = measured_rows[(measured_rows["status"] == "ok") & ~is_repeated(measured_rows)]
    if rows.empty:
        raise DataError("no row has measured latencies: run experiments.efficiency")
    rows = with_columns(rows, [*GROUP, "metric", "model", "number_format", "threads", *EFFICIENCY])
    rows = rows.assign(official=official_scores(rows), method=method_names(rows.assign(method=rows["model"])))
    rows = rows.rename(columns={"number_format": "format"})
    measured = [name for name in EFFICIENCY if rows[name].notna().any()]
    rows = rows.astype(dict.fromkeys(measured, float))
    keys = ["protocol", "method", "format", *(name for name in ("size", "threads") if rows[name].nunique() > 1)]
    groups = rows.groupby(keys, sort=False, dropna=False)
    means, spreads = groups[measured].mean().reset_index(), groups[measured].std(ddof=1).reset_index()
    table = means[keys].assign(n=groups.size().to_numpy())
    best = [[False] * len(table.columns) for _ in range(len(table))]
    for name in measured:
        title, factor, unit, more = EFFICIENCY[name]
        wins = means[name] == means.groupby("protocol", dropna=False)[name].transform("max" if more else "min")
        table[f"{title} {unit}".strip()] = means[name] * factor
        varies = bool((spreads[name] > 0).any())
        if varies:
            table[f"{title} {unit}".strip() + " sd"] = spreads[name] * factor
        best = [[*line, bool(won), *[False] * varies] for line, won in zip(best, wins, strict=True)]
    several = bool((table["n"] > 1).any())
    caption = ("mean ± standard deviation over n seeds; " if several else "") + "p50, p95: latency of one document"
    table.attrs |= {"spreads": several, "measured": True, "best": best}
    table.attrs |= {"caption": caption, "note": "; ".join(repetitions(measured_rows))}
    return table


def pareto(frame: pd.DataFrame, score: str = "validation_f1_micro", cost: str = "latency_ms") -> pd.DataFrame:
    """The front of score against cost: finished trials that no other beats in one without losing in the other.

    Args:
        frame: From ``load_runs``.
        score: Column that is better high.
        cost: Column that is better low: ``latency_ms`` or ``parameters``.

    Returns:
        ``trial``, ``score``, ``cost`` under their own names, and the settings in which the trials differ, without their
        prefix ``config_``; cheapest first, so that the score rises from line to line.

    Raises:
        DataError: If no finished trial has both.
    """
    import pandas as pd

    rows = with_columns(frame, ["trial", "kind", score, cost])
    rows = rows[(rows["kind"] == "trial") & (rows["status"] == "ok")]
    rows = rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in (score, cost)})
    rows = rows.dropna(subset=[score, cost]).sort_values([cost, score], ascending=[True, False], kind="stable")
    if rows.empty:
        raise DataError(f"no finished trial has both {score} and {cost}")
    highest = rows[score].cummax().shift(fill_value=float("-inf"))
    columns = [str(name) for name in rows if str(name).startswith("config_")]
    settings = [name for name in columns if rows[name].astype(str).nunique() > 1]
    front = rows.loc[rows[score] > highest, ["trial", score, cost, *settings]]
    return front.rename(columns=lambda name: name.removeprefix("config_")).reset_index(drop=True)
