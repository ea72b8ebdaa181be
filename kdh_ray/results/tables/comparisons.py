"""Methods against a reference, paired by seed: significance and ablations."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.results.tables.means import MISSING, spread_cell
from kdh_ray.results.tables.method_rows import (
    GROUP,
    NO_METHOD,
    SETTINGS,
    in_order,
    is_repeated,
    method_names,
    official_scores,
    own_rows,
    repetitions,
    scored,
    seed_name,
    with_columns,
)

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "full"
"""What an ablation's full method is called."""
_TESTED = ("n", "difference", "low", "high", "p", "p_holm", "effect", "note")


class NothingToCompareError(DataError):
    """The reference, or a method beside it, is not there."""


def within_pairs(compare: Callable[[pd.DataFrame], pd.DataFrame], frame: pd.DataFrame, reference: str) -> pd.DataFrame:
    """A comparison with ``reference``, where rows are of several pairs of teacher and student: in each pair by itself.

    A reference that names its pair (``teacher, mpnet-minilm``) is one for the methods of all pairs. Runs of no pair are
    compared with each other. ``attrs["note"]`` names the pairs that have no reference.

    Raises:
        DataError: If no pair has the reference and something to compare with it, or a pair's rows don't compare.
    """
    import pandas as pd

    frame = frame if "kind" not in frame else frame[~frame["kind"].isin(NO_METHOD)]
    pairs = [] if "pair" not in frame else [str(pair) for pair in frame["pair"].dropna().unique()]
    if len(pairs) < 2 or any(reference.endswith(f", {pair}") for pair in pairs):
        return compare(frame)
    parts: list[pd.DataFrame] = []
    without: dict[str, NothingToCompareError] = {}
    for pair, rows in frame.groupby("pair", sort=False, dropna=False):
        named = None if pd.isna(pair) else str(pair)
        try:
            part = compare(rows)
        except NothingToCompareError as error:
            without[named or "runs of no pair"] = error
            continue
        part.insert(0, "pair", named)
        parts.append(part)
    if not parts:
        raise next(iter(without.values()), NothingToCompareError("no pair has rows"))
    table = pd.concat(parts, ignore_index=True)
    notes = [*dict.fromkeys(part.attrs.get("note") for part in parts)]
    if without:
        notes.append(f"no {reference!r} to compare with among {', '.join(without)}")
    table.attrs = {**parts[0].attrs, "note": "; ".join(filter(None, notes))}
    return table


def significance(frame: pd.DataFrame, reference: str, score: str = "official") -> pd.DataFrame:
    """Every method against ``reference``, paired by seed, within each protocol and size (see :func:`within_pairs`).

    Holm's correction is over the methods of one protocol and size. Sizes are nested samples of one corpus, so they are
    never pooled.

    Args:
        frame: From ``load_runs``.
        reference: A method: a stage, or ``stage (variant)`` where rows have variants.
        score: A column, or ``official``.

    Returns:
        pair (where there are several), protocol, size, method, reference, n, difference (mean over shared seeds, as a
        fraction) with ``low`` and ``high`` (Student's 95 % interval), p, p_holm, effect (rank-biserial, -1..1), and a
        note where there are too few seeds. Rows that don't name their seed are left aside.

    Raises:
        DataError: If the reference is nowhere, two experiments have a method of one name, or no method shares a seed
            with it.
    """
    return within_pairs(lambda rows: _significance(rows, reference, score), frame, reference)


def _significance(frame: pd.DataFrame, reference: str, score: str) -> pd.DataFrame:
    import pandas as pd

    from kdh_ray.evaluation.statistics import compare_over_seeds

    rows = with_columns(own_rows(frame), [*GROUP, "metric", "seed", score])
    rows["official"] = official_scores(rows)
    rows = rows.assign(method=method_names(rows.drop(columns="method", errors="ignore")))[
        (rows["status"] == "ok") & rows[score].notna() & rows["seed"].notna()
    ]
    lines, apart = [], []
    for (protocol, size), group in rows.groupby(list(SETTINGS), sort=False, dropna=False):
        if reference not in set(group["method"]):
            continue
        scores = _scores_by_seed(group, score)
        if not any(own.keys() & scores[reference].keys() for name, own in scores.items() if name != reference):
            apart.append(" ".join(str(name) for name in (protocol, size) if name == name and name is not None))
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
        f"difference: mean of {scored(rows, score)} less the reference's, as a fraction, over the n seeds that both"
        " have; low, high: Student's 95 % interval; p: Wilcoxon signed-rank; p_holm: corrected after Holm for the"
        " methods tested in a protocol and size; effect: rank-biserial correlation"
    )
    alone = [f"nothing shares a seed with {reference!r} on {', '.join(apart)}"] if apart else []
    table.attrs["note"] = "; ".join([*repetitions(frame), *alone])
    return table


def ablation(frame: pd.DataFrame, reference: str = REFERENCE, score: str = "official") -> pd.DataFrame:
    """One change a line: :func:`changes` in words.

    Returns:
        Text columns ``protocol``, ``size``, ``pair``, ``changed``, ``method``, ``score`` as
        ``mean ± sd (n)`` in %, and ``difference`` with its 95 % interval, in points. ``attrs["best"]`` marks the
        highest score of each protocol, size and pair.

    Raises:
        DataError: See :func:`changes`.
    """
    import pandas as pd

    table = changes(frame, reference, score)
    words = table[[*SETTINGS, "pair", "changed", "method"]].assign(
        score=[spread_cell(line, "score") for line in table.to_dict("records")],
        difference=table["difference"].map(lambda points: MISSING if pd.isna(points) else f"{points:+.1f}"),
        interval=[
            f"{low:+.1f} to {high:+.1f}" if low == low else MISSING
            for low, high in zip(table["low"], table["high"], strict=True)
        ],
    )
    highest = table["score"] == table.groupby([*SETTINGS, "pair"], dropna=False)["score"].transform("max")
    words.attrs = {
        "best": [[False] * 5 + [each, False, False] for each in highest],
        "caption": f"{table.attrs['scored']} in %, mean ± standard deviation over seeds (n); difference: to the first"
        " line, in points, over the seeds that both have, with Student's 95 % interval",
        "note": "; ".join(repetitions(_of_ablations(frame, reference))),
    }
    return words.rename(columns={"interval": "95 %"})


def changes(frame: pd.DataFrame, reference: str = REFERENCE, score: str = "official") -> pd.DataFrame:
    """A study's ablation as numbers: its students against the full method, and that at other thresholds.

    Args:
        frame: From ``load_runs``; rows with ``method``, and in ``variant`` what was changed. Experiments without the
            reference are left aside.
        reference: The full method.
        score: A column, or ``official``.

    Returns:
        ``protocol``, ``size``, ``pair``, ``changed``, ``method``, ``score`` (mean, a fraction) with ``score_sd`` and
        ``n``, and ``difference`` in points over the ``shared`` seeds, with ``low`` and ``high`` (Student's 95 %
        interval). The reference stands first, without a difference.

    Raises:
        DataError: If the reference is nowhere, or two experiments have a method of one name.
    """
    import pandas as pd

    from kdh_ray.evaluation.statistics import student_interval

    if "method" not in frame:
        raise DataError("an ablation's rows have a method; these are no study's rows")
    rows = with_columns(in_order(frame[~is_repeated(frame)]), [*GROUP, "pair", "metric", "seed", score])
    rows["official"] = official_scores(rows)
    rows = _of_ablations(rows, reference)
    rows = pd.concat([rows, *_at_other_thresholds(rows[rows["method"] == reference], score)])
    rows = rows[rows[score].notna() & rows["seed"].notna()]
    lines = []
    for place, group in rows.groupby([*SETTINGS, "pair"], sort=False, dropna=False):
        scores = _scores_by_seed(group, score)
        if reference not in scores:
            continue
        full = scores[reference]
        for name in sorted(scores, key=lambda name: name != reference):
            own = pd.Series(scores[name])
            paired = 100 * (own - pd.Series(full)).dropna() if name != reference else own.iloc[:0]
            low, high = student_interval(paired.to_numpy())
            lines.append(
                {**dict(zip((*SETTINGS, "pair"), place, strict=True)),
                 "changed": group.loc[group["method"] == name, "variant"].iloc[0], "method": name,
                 "score": own.mean(), "score_sd": own.std(ddof=1), "n": len(own),
                 "shared": len(paired), "difference": paired.mean(), "low": low, "high": high}
            )  # fmt: skip
    if not lines:
        raise DataError(f"no protocol and size has the reference {reference!r}")
    table = pd.DataFrame(lines)
    table.attrs["scored"] = scored(rows, score)
    return table


def _of_ablations(frame: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Finished students of the experiments that have the reference."""
    rows = with_columns(frame, ["kind", "experiment", "method"])
    rows = rows[(rows["kind"] == "student") & (rows["status"] == "ok") & rows["method"].notna()]
    return rows[rows["experiment"].isin(rows.loc[rows["method"] == reference, "experiment"])]


def _at_other_thresholds(rows: pd.DataFrame, score: str) -> list[pd.DataFrame]:
    """The same models at 0.5 and at label thresholds, as methods of their own."""
    metric = next(iter(rows["metric"].dropna()), "f1_micro")
    column = f"test_{metric}" if score == "official" else score
    return [
        rows.assign(method=name, variant="thresholds", **{score: rows[f"{column}{suffix}"]})
        for name, suffix in (("threshold-0.5", "_at_half"), ("label-thresholds", "_per_label"))
        if f"{column}{suffix}" in rows
    ]


def _scores_by_seed(rows: pd.DataFrame, score: str) -> dict[str, dict[Any, float]]:
    several = rows[rows.duplicated(["method", "seed"])]
    if len(several):
        method, seed = several.iloc[0][["method", "seed"]]
        raise DataError(
            f"{method!r} has more than one row of seed {seed_name(seed)}: choose one experiment first (--experiment)"
        )
    return {
        str(method): {seed_name(seed): float(value) for seed, value in zip(group["seed"], group[score], strict=True)}
        for method, group in rows.groupby("method", sort=False)
    }
