"""Significance: methods against a reference, paired by seed, in each pair of encoders by itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.results.columns import normalise_rows
from kdh_ray.results.method_rows import (
    NO_METHOD,
    SETTINGS,
    method_rows,
    score_title,
    seed_name,
)
from kdh_ray.results.notes import repetitions

if TYPE_CHECKING:
    import pandas as pd

_TESTED = ("n", "difference", "low", "high", "p", "p_holm", "effect", "note")  # attributes of SeedComparison


class NothingToCompareError(DataError):
    """The rows have no reference, or no other method to compare with it."""


def within_pairs(compare: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Compare methods with ``reference`` in each pair of teacher and student by itself.

    Rows of a single pair, or of none, are compared as they are. A reference that names its pair
    (``teacher, mpnet-minilm``) serves the methods of all pairs. Runs without a pair are compared with each other.

    Args:
        compare: Comparison of one pair's rows with the reference.
        frame: From ``load_runs`` or ``normalise_rows``.
        reference: A method.

    Returns:
        The tables of ``compare`` below each other, with a first column ``pair`` where there are several.
        ``attrs["note"]`` names the pairs without a reference.

    Raises:
        DataError: If no pair has the reference and something to compare with it, or a pair's rows don't compare.
    """
    import pandas as pd

    frame = frame[~frame["kind"].isin(NO_METHOD)]
    pairs = [str(pair) for pair in frame["pair"].dropna().unique()]
    if len(pairs) < 2 or any(reference.endswith(f", {pair}") for pair in pairs):
        return compare(frame)
    parts: list[pd.DataFrame] = []
    without: dict[str, NothingToCompareError] = {}
    for pair, rows in frame.groupby("pair", sort=False, dropna=False):
        name = None if pd.isna(pair) else str(pair)
        try:
            part = compare(rows)
        except NothingToCompareError as error:
            without[name or "runs of no pair"] = error
            continue
        part.insert(0, "pair", name)
        parts.append(part)
    if not parts:
        raise next(iter(without.values()), NothingToCompareError("no pair has rows"))
    table = pd.concat(parts, ignore_index=True)
    # pandas keeps the attributes of a concatenation only where all parts agree.
    notes = [*dict.fromkeys(part.attrs.get("note") for part in parts)]
    if without:
        notes.append(f"no {reference!r} to compare with among {', '.join(without)}")
    table.attrs = {**parts[0].attrs, "note": "; ".join(filter(None, notes))}
    return table


def significance(frame: pd.DataFrame, reference: str, score: str = "official") -> pd.DataFrame:
    """Compare every method with ``reference``, paired by seed, within each protocol and size.

    Each pair of encoders is compared by itself (see :func:`within_pairs`). Holm's correction is over the methods of one
    protocol and size. Sizes are nested samples of one corpus and thus not independent, so they are never pooled.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``. Rows without a seed are left out.
        reference: A method: a stage, or ``stage (variant)`` where rows have variants.
        score: A column, or ``official``: the test score in the protocol's official metric.

    Returns:
        ``pair`` (where there are several), ``protocol``, ``size``, ``method``, ``reference``, ``n`` (seeds that both
        have), ``difference`` (mean over those seeds, a fraction) with ``low`` and ``high`` (Student's 95 % interval),
        ``p`` (Wilcoxon's signed-rank test), ``p_holm``, ``effect`` (rank-biserial correlation, -1 to 1), and ``note``
        where there are too few seeds.

    Raises:
        DataError: If no row has the reference, two experiments have a method of one name, or no method shares a seed
            with the reference.

    Example:
        >>> significance(load_runs("runs"), "plain-student")
    """
    return within_pairs(lambda rows: _significance(rows, reference, score), frame, reference)


def _significance(frame: pd.DataFrame, reference: str, score: str) -> pd.DataFrame:
    import pandas as pd

    from kdh_ray.evaluation.statistics import compare_over_seeds

    rows = method_rows(frame if score == "official" else normalise_rows(frame, score))
    rows = rows[(rows["status"] == "ok") & rows[score].notna() & rows["seed"].notna()]
    lines = []
    without_shared_seed = []
    for (protocol, size), group in rows.groupby(list(SETTINGS), sort=False, dropna=False):
        if reference not in set(group["method"]):
            continue
        scores = scores_by_seed(group, score)
        # Differences are paired by seed: without a shared seed there is nothing to test.
        if not any(own.keys() & scores[reference].keys() for name, own in scores.items() if name != reference):
            without_shared_seed.append(" ".join(name for name in (protocol, size) if isinstance(name, str)))
            continue
        for comparison in compare_over_seeds(scores, reference):
            line = {"protocol": protocol, "size": size, "method": comparison.method, "reference": reference}
            lines.append(line | {name: getattr(comparison, name) for name in _TESTED})
    if not lines:
        raise NothingToCompareError(
            f"no protocol and size has {reference!r} and another method to compare with it, with a seed that both have"
        )
    table = pd.DataFrame(lines)
    table.attrs["caption"] = (
        f"difference: mean of {score_title(rows, score)} less the reference's, as a fraction, over the n seeds that"
        " both have; low, high: Student's 95 % interval; p: Wilcoxon signed-rank; p_holm: corrected after Holm for the"
        " methods tested in a protocol and size; effect: rank-biserial correlation"
    )
    notes = repetitions(frame)
    if without_shared_seed:
        notes.append(f"nothing shares a seed with {reference!r} on {', '.join(without_shared_seed)}")
    table.attrs["note"] = "; ".join(notes)
    return table


def scores_by_seed(rows: pd.DataFrame, score: str) -> dict[str, dict[Any, float]]:
    """Return method -> seed -> score.

    Raises:
        DataError: If a method has two rows of one seed, for instance from two experiments.
    """
    repeated = rows[rows.duplicated(["method", "seed"])]
    if len(repeated):
        method, seed = repeated.iloc[0][["method", "seed"]]
        raise DataError(
            f"{method!r} has more than one row of seed {seed_name(seed)}: choose one experiment first (--experiment)"
        )
    return {
        str(method): {seed_name(seed): float(value) for seed, value in zip(group["seed"], group[score], strict=True)}
        for method, group in rows.groupby("method", sort=False)
    }
