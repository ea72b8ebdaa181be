"""Efficiency of classifiers where they run, and the front of score against cost of a search."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from kdh_ray.errors import DataError
from kdh_ray.results.columns import LATENCY, normalise_rows, setting_name
from kdh_ray.results.method_rows import TRIAL, is_repeated, method_names, official_scores
from kdh_ray.results.notes import repetitions

if TYPE_CHECKING:
    import pandas as pd


class Measure(NamedTuple):
    """How a column of a row is shown.

    Attributes:
        name: Title without the unit.
        factor: From the unit of the row to the unit shown.
        unit: Unit shown; empty for a rate.
        higher_is_better: Whether more of it is better.
    """

    name: str
    factor: float
    unit: str
    higher_is_better: bool = False

    @property
    def title(self) -> str:
        """Title of the column, with the unit."""
        return f"{self.name} {self.unit}".strip()


EFFICIENCY = {
    "parameters": Measure("parameters", 1e-6, "M"),
    "disk_bytes": Measure("on disk", 2**-20, "MiB"),
    "flops_per_document": Measure("FLOPs/document", 1e-9, "G"),
    "peak_memory_bytes": Measure("peak memory", 2**-20, "MiB"),
    LATENCY: Measure("p50", 1.0, "ms"),
    "latency_p95_ms": Measure("p95", 1.0, "ms"),
    "inference_documents_per_second": Measure("documents/s", 1.0, "", higher_is_better=True),
    "joules_per_document": Measure("energy/document", 1.0, "J"),
    "official": Measure("F1", 100.0, "%", higher_is_better=True),
}
"""Columns of a row that the table of efficiency shows."""


def efficiency(frame: pd.DataFrame) -> pd.DataFrame:
    """Return what classifiers cost where they run: a line per method and number format, means over rows.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``; rows without a measured latency are left out.

    Returns:
        ``protocol``, ``method``, ``format``, ``size`` of the training split, ``machine`` (its processor) and number of
        ``threads`` where they differ, ``n`` rows, and those of :data:`EFFICIENCY` that were measured, in the units of
        their titles, with standard deviations (``TITLE sd``) where they vary. ``attrs["best"]`` marks the best of each
        column within a protocol.

    Raises:
        DataError: If no finished row has a measured latency.
    """
    import pandas as pd

    measured_rows = frame[frame[LATENCY].notna()]
    rows = measured_rows[(measured_rows["status"] == "ok") & ~is_repeated(measured_rows)]
    if rows.empty:
        raise DataError(f"no row has a measured latency ({LATENCY})")
    rows = rows.assign(official=official_scores(rows), method=method_names(rows.assign(method=rows["model"])))
    rows = rows.rename(columns={"number_format": "format"})
    measured = [name for name in EFFICIENCY if rows[name].notna().any()]
    rows = rows.astype(dict.fromkeys(measured, float))
    # Machine, threads and training size change what is measured, so their rows are not averaged together.
    separate = [name for name in ("size", "machine", "threads") if rows[name].nunique(dropna=False) > 1]
    keys = ["protocol", "method", "format", *separate]
    groups = rows.groupby(keys, sort=False, dropna=False)
    means, spreads = groups[measured].mean().reset_index(), groups[measured].std(ddof=1).reset_index()
    table = means[keys].assign(n=groups.size().to_numpy())
    best = pd.DataFrame(False, index=table.index, columns=table.columns)
    for name in measured:
        measure = EFFICIENCY[name]
        # Scores of different protocols do not compare, and neither do costs on their documents.
        best_of_protocol = means.groupby("protocol", dropna=False)[name].transform(
            "max" if measure.higher_is_better else "min"
        )
        table[measure.title] = means[name] * measure.factor
        best[measure.title] = means[name] == best_of_protocol
        if bool((spreads[name] > 0).any()):
            table[f"{measure.title} sd"] = spreads[name] * measure.factor
            best[f"{measure.title} sd"] = False
    has_spread = bool((table["n"] > 1).any())
    caption = ("mean ± standard deviation over n seeds; " if has_spread else "") + "p50, p95: latency of one document"
    table.attrs |= {"spreads": has_spread, "measured": True, "best": best.to_numpy().tolist()}
    table.attrs |= {"caption": caption, "note": "; ".join(repetitions(measured_rows))}
    return table


def pareto(
    frame: pd.DataFrame, score: str = "validation_f1_micro", cost: str = "latency_ms", mode: str = "max"
) -> pd.DataFrame:
    """Return the Pareto front of a search: finished trials that no other trial beats in both score and cost.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``.
        score: Column of the score.
        cost: Column of which less is better: ``latency_ms`` or ``parameters``.
        mode: ``max`` if more of the score is better, ``min`` if less is.

    Returns:
        ``trial``, the columns ``score`` and ``cost``, and the settings in which the trials differ, without their prefix
        ``config_``; cheapest first, so that the score is better from line to line.

    Raises:
        DataError: If no finished trial has both a score and a cost.

    Example:
        >>> pareto(load_runs("runs/search"), cost="parameters")
    """
    import pandas as pd

    rows = normalise_rows(frame, score, cost)
    rows = rows[(rows["kind"] == TRIAL) & (rows["status"] == "ok")]
    rows = rows.assign(**{name: pd.to_numeric(rows[name], errors="coerce") for name in (score, cost)})
    sign = 1.0 if mode == "max" else -1.0
    rows = rows.assign(merit=sign * rows[score]).dropna(subset=[score, cost])
    rows = rows.sort_values([cost, "merit"], ascending=[True, False], kind="stable")
    if rows.empty:
        raise DataError(f"no finished trial has both {score} and {cost}")
    best_so_far = rows["merit"].cummax().shift(fill_value=float("-inf"))  # of all cheaper trials
    columns = [str(name) for name in rows if str(name).startswith("config_")]
    settings = [name for name in columns if rows[name].astype(str).nunique() > 1]
    front = rows.loc[rows["merit"] > best_so_far, ["trial", score, cost, *settings]]
    return front.rename(columns=setting_name).reset_index(drop=True)
