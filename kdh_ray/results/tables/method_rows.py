"""What tables read of result rows: which rows count, in what order, and what methods and scores are called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

GROUP = ("protocol", "size", "experiment", "variant", "stage", "kind")
"""What makes two rows one thing with different seeds, or, with one seed, the same run twice."""
NO_METHOD = ("trial", "step", "searcher")
"""Kinds of rows that are no result of a method: trials of a search, a method's stages before its last, and searchers
on replayed trials."""
SIZES = ("small", "medium", "large")
METRIC_NAMES = {"f1_micro": "micro F1", "f1_blue": "F1 (BLUE)", "f1_macro": "macro F1", "f1_samples": "samples F1"}
SETTINGS = ("protocol", "size")


def own_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of methods themselves, each seed's last; a study's method stands as the stage. Sizes go from small on."""
    frame = in_order(frame[~is_repeated(frame)])
    if "kind" in frame:
        frame = frame[~frame["kind"].isin(NO_METHOD)]
    if "method" not in frame:
        return frame
    named = with_columns(frame, ["variant"])
    return named.assign(
        stage=named["stage"].where(named["method"].isna(), method_names(named)),
        variant=named["variant"].where(named["method"].isna()),
    )


def is_repeated(frame: pd.DataFrame) -> pd.Series[bool]:
    """Which finished rows a later one stands for: the same method on the same data, run again with the same seed."""
    same = [*GROUP, "method", "pair", "seed"]
    rows = with_columns(frame, [*same, "status"])
    counted = (rows["status"] == "ok") & ~rows["kind"].isin(NO_METHOD) & rows["seed"].notna()
    return counted & rows[same].assign(counted=counted).duplicated(keep="last")


def repetitions(frame: pd.DataFrame) -> list[str]:
    """What :func:`is_repeated` finds, in words, since neither a mean nor its n counts it."""
    rows = with_columns(frame, ["size", "seed", "variant"])
    rows = rows.assign(method=method_names(rows), size=rows["size"].fillna(""))[is_repeated(frame)]
    notes = []
    for (size, method), group in rows.groupby(["size", "method"], sort=False):
        seeds = ", ".join(str(seed_name(seed)) for seed in sorted(group["seed"].unique()))
        where = f" at size {size}" if size else ""
        notes.append(
            f"{method}{where} was run again with seed {seeds}: the last run counts, not the {len(group)} before"
        )
    return notes


def seed_name(seed: Any) -> Any:
    """A seed as it was set: a column in which some rows lack theirs holds fractions."""
    return int(seed) if isinstance(seed, float) and seed.is_integer() else seed


def in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """By protocol and pair as they come and by size, small first; a study runs them seed by seed."""
    import pandas as pd

    rows = with_columns(frame, ["protocol", "pair", "size"])
    places = {name: pd.factorize(rows[name])[0] for name in ("protocol", "pair")}
    order = pd.DataFrame({**places, "size": [size_order(size) for size in rows["size"]]})
    return frame.iloc[order.sort_values(["protocol", "pair", "size"], kind="stable").index]


def size_order(size: Any) -> int:
    """Place of a size among :data:`SIZES`; others follow."""
    return SIZES.index(size) if size in SIZES else len(SIZES)


def with_columns(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """A copy that has every named column, None where the rows have none."""
    return frame.assign(**{name: None for name in names if name not in frame})


def official_scores(frame: pd.DataFrame) -> pd.Series[float]:
    """Each row's test score in its protocol's official metric; micro F1 where the row names none."""
    import pandas as pd

    result = pd.Series(float("nan"), index=frame.index)
    names = frame["metric"].where(frame["metric"].notna(), "f1_micro")
    for metric in names.unique():
        column = f"test_{metric}"
        if column in frame:
            result = result.where(names != metric, pd.to_numeric(frame[column], errors="coerce"))
    return result


def scored(rows: pd.DataFrame, score: str) -> str:
    """What ``score`` is called: ``test micro F1``, or the protocols' official metrics."""
    metrics = rows["metric"].fillna("f1_micro").unique().tolist() if score == "official" else [score]
    return "test " + " or ".join(
        METRIC_NAMES.get(name, name) for name in (each.removeprefix("test_") for each in metrics)
    )


def method_names(rows: pd.DataFrame) -> pd.Series[str]:
    """What is compared: a study's method (and its pair, if there are several), else a stage and its variant, if any.

    Rows of a study from before pairs were told are not those of the pair that has a name.
    """
    stages, variants = rows["stage"].astype(str), rows["variant"]
    names = stages.where(variants.isna(), stages + " (" + variants.astype(str) + ")")
    if "method" not in rows:
        return names
    own = rows["method"].astype(str)
    if "pair" in rows and rows.loc[rows["method"].notna(), "pair"].nunique(dropna=False) > 1:
        own = own.where(rows["pair"].isna(), own + ", " + rows["pair"].astype(str))
    return own.where(rows["method"].notna(), names)
