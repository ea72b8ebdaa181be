"""Ablation: methods that change one thing, against the full method, paired by seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.results.columns import normalise_rows
from kdh_ray.results.method_rows import SETTINGS, STUDENT, method_rows, score_title
from kdh_ray.results.notes import repetitions
from kdh_ray.results.tables.methods import MISSING, spread_cell
from kdh_ray.results.tables.significance import scores_by_seed

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = "full"
"""Name of the full method in an ablation."""
_COMPARED_WITHIN = (*SETTINGS, "pair")


def ablation(frame: pd.DataFrame, reference: str = REFERENCE, score: str = "official") -> pd.DataFrame:
    """Return a line per change, as text: :func:`changes` for reading.

    Returns:
        Text columns ``protocol``, ``size``, ``pair``, ``changed``, ``method``, ``score`` as ``mean ± sd (n)`` in %, and
        ``difference`` with its 95 % interval, in points. ``attrs["best"]`` marks the highest score of each protocol,
        size and pair.

    Raises:
        DataError: See :func:`changes`.
    """
    import pandas as pd

    table = changes(frame, reference, score)
    text = table[[*_COMPARED_WITHIN, "changed", "method"]].assign(
        score=[spread_cell(line, "score") for line in table.to_dict("records")],
        difference=table["difference"].map(lambda points: MISSING if pd.isna(points) else f"{points:+.1f}"),
        interval=[
            f"{low:+.1f} to {high:+.1f}" if low == low else MISSING
            for low, high in zip(table["low"], table["high"], strict=True)
        ],
    )
    highest = table["score"] == table.groupby(list(_COMPARED_WITHIN), dropna=False)["score"].transform("max")
    text.attrs = {
        "best": [[name == "score" and is_best for name in text.columns] for is_best in highest],
        "caption": f"{table.attrs['scored']} in %, mean ± standard deviation over seeds (n); difference: to the first"
        " line, in points, over the seeds that both have, with Student's 95 % interval",
        "note": "; ".join(repetitions(_students_of_ablations(frame, reference))),
    }
    return text.rename(columns={"interval": "95 %"})


def changes(frame: pd.DataFrame, reference: str = REFERENCE, score: str = "official") -> pd.DataFrame:
    """Compare the students of an ablation with the full method, and the full method with itself at other thresholds.

    The difference of a change is the mean over seeds s of d(s) = 100 (score(s) - full(s)), with Student's 95 %
    interval of that mean.

    Args:
        frame: From ``load_runs`` or ``normalise_rows``: rows of a study, whose ``variant`` says what was changed.
            Experiments without the reference are left out.
        reference: Name of the full method.
        score: A column, or ``official``.

    Returns:
        ``protocol``, ``size``, ``pair``, ``changed``, ``method``, ``score`` (mean, a fraction) with ``score_sd`` and
        ``n``, and ``difference`` in points over the ``shared`` seeds, with ``low`` and ``high``. The reference comes
        first, without a difference.

    Raises:
        DataError: If no row has the reference, or two experiments have a method of one name.
    """
    import pandas as pd

    if frame["method"].isna().all():
        raise DataError("an ablation's rows have a method; these are no study's rows")
    rows = method_rows(frame if score == "official" else normalise_rows(frame, score))
    # The plain name of a method: its pair is a column of its own here.
    rows = _students_of_ablations(rows.assign(method=rows["study_method"]), reference)
    rows = pd.concat([rows, *_at_other_thresholds(rows[rows["method"] == reference], score)])
    rows = rows[rows[score].notna() & rows["seed"].notna()]
    lines = [
        dict(zip(_COMPARED_WITHIN, key, strict=True)) | line
        for key, group in rows.groupby(list(_COMPARED_WITHIN), sort=False, dropna=False)
        for line in _compare_changes(group, reference, score)
    ]
    if not lines:
        raise DataError(f"no protocol and size has the reference {reference!r}")
    table = pd.DataFrame(lines)
    table.attrs["scored"] = score_title(rows, score)
    return table


def _compare_changes(group: pd.DataFrame, reference: str, score: str) -> list[dict[str, Any]]:
    """Return the lines of one protocol, size and pair, the reference first; none without the reference."""
    import pandas as pd

    from kdh_ray.evaluation.statistics import student_interval

    scores = {name: pd.Series(own) for name, own in scores_by_seed(group, score).items()}
    if reference not in scores:
        return []
    lines = []
    for name in sorted(scores, key=lambda name: name != reference):
        own = scores[name]
        is_change = name != reference
        differences = 100 * (own - scores[reference]).dropna() if is_change else own.iloc[:0]  # a point per shared seed
        low, high = student_interval(differences.to_numpy())
        lines.append(
            {
                "changed": group.loc[group["method"] == name, "variant"].iloc[0],
                "method": name,
                "score": own.mean(),
                "score_sd": own.std(ddof=1),
                "n": len(own),
                "shared": len(differences),
                "difference": differences.mean(),
                "low": low,
                "high": high,
            }
        )
    return lines


def _students_of_ablations(rows: pd.DataFrame, reference: str) -> pd.DataFrame:
    """Return the finished students of the experiments that have the reference."""
    rows = rows[(rows["kind"] == STUDENT) & (rows["status"] == "ok") & rows["method"].notna()]
    return rows[rows["experiment"].isin(rows.loc[rows["method"] == reference, "experiment"])]


def _at_other_thresholds(rows: pd.DataFrame, score: str) -> list[pd.DataFrame]:
    """Return the same models scored at threshold 0.5 and at label thresholds, as methods of their own."""
    metric = next(iter(rows["metric"].dropna()), "f1_micro")
    column = f"test_{metric}" if score == "official" else score
    return [
        rows.assign(method=name, variant="thresholds", **{score: rows[f"{column}{suffix}"]})
        for name, suffix in (("threshold-0.5", "_at_half"), ("label-thresholds", "_per_label"))
        if f"{column}{suffix}" in rows
    ]
