"""Frames of rows -> frames that people read: means over seeds, with their spread.

A table holds numbers; ``kdh_ray.results.render`` turns them into text. Results of different protocols don't compare:
they stand in lines of their own, and the best is marked within one protocol and size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

SCORES = ("test_f1_micro", "test_f1_macro", "test_precision_micro", "test_recall_micro", "official")
COSTS = ("parameters", "seconds", "documents_per_second")
GROUP = ("protocol", "size", "experiment", "variant", "stage", "kind")
"""What makes two rows one thing with different seeds, or, with one seed, the same run twice."""
NO_METHOD = ("trial", "step", "searcher")
"""Kinds of rows that are no result of a method: trials of a search, a method's stages before its last, and searchers
on replayed trials."""
SIZES = ("small", "medium", "large")
KINDS = ("student", "teacher", "baseline")
REFERENCE = "full"
"""What an ablation's full method is called."""
MISSING = "–"
METRIC_NAMES = {"f1_micro": "micro F1", "f1_blue": "F1 (BLUE)", "f1_macro": "macro F1", "f1_samples": "samples F1"}
_SETTINGS = ("protocol", "size")


def stage_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES) -> pd.DataFrame:
    """One line a stage or baseline: means over seeds, sample standard deviations (``_sd``), and how many.

    Args:
        frame: From ``load_runs``.
        scores: Columns to average; ``official`` is the test score in the protocol's own metric.

    Returns:
        The columns of :data:`GROUP`, ``metric``, ``n`` (finished rows averaged), ``unfinished`` (failed or stopped
        rows, left out of the means), each score and cost with its ``_sd`` (NaN where n is 1), and ``best``: whether
        this student has the highest official score of its protocol and size, where there is another line to compare
        it with. Lines stand by protocol, pair and size, else in the order of the rows. ``attrs["note"]`` says which
        runs were repeated: the last one counts.

    Raises:
        DataError: If the frame is empty.
    """
    import pandas as pd

    if frame.empty:
        raise DataError("there are no result rows to make a table of")
    rows = _with_columns(_own_rows(frame), [*GROUP, "metric", *scores, *COSTS])
    if rows.empty:
        raise DataError("there are no result rows to make a table of, but trials of searches: see --all")
    rows["official"] = official_scores(rows)
    groups = rows.groupby(list(GROUP), sort=False, dropna=False)
    lines = []
    for key, group in groups:
        finished = group[group["status"] == "ok"]
        line = {**dict(zip(GROUP, key, strict=True)), "metric": next(iter(group["metric"].dropna()), None)}
        line |= {"n": len(finished), "unfinished": len(group) - len(finished)}
        for name in (*scores, *COSTS):
            values = pd.to_numeric(finished[name], errors="coerce")
            line |= {name: values.mean(), f"{name}_sd": values.std(ddof=1)}
        lines.append(line)
    table = pd.DataFrame(lines)
    table["best"] = _best(table)
    table.attrs["note"] = "; ".join(repetitions(frame))
    return table


def run_table(frame: pd.DataFrame, scores: Sequence[str] = SCORES) -> pd.DataFrame:
    """One line a row, nothing averaged: identity, status, error, scores and costs."""
    identity = ["run_id", *GROUP, "seed", "status", "error", "metric"]
    rows = _with_columns(frame, [*identity, *scores, *COSTS])
    rows["official"] = official_scores(rows)
    return rows[[*identity, *scores, *COSTS]]


def _own_rows(frame: pd.DataFrame) -> pd.DataFrame:
    """Rows of methods themselves, each seed's last; a study's method stands as the stage. Sizes go from small on."""
    frame = _in_order(frame[~is_repeated(frame)])
    if "kind" in frame:
        frame = frame[~frame["kind"].isin(NO_METHOD)]
    if "method" not in frame:
        return frame
    named = _with_columns(frame, ["variant"])
    return named.assign(
        stage=named["stage"].where(named["method"].isna(), method_names(named)),
        variant=named["variant"].where(named["method"].isna()),
    )


def is_repeated(frame: pd.DataFrame) -> pd.Series[bool]:
    """Which finished rows a later one stands for: the same method on the same data, run again with the same seed."""
    same = [*GROUP, "method", "pair", "seed"]
    rows = _with_columns(frame, [*same, "status"])
    counted = (rows["status"] == "ok") & ~rows["kind"].isin(NO_METHOD) & rows["seed"].notna()
    return counted & rows[same].assign(counted=counted).duplicated(keep="last")


def repetitions(frame: pd.DataFrame) -> list[str]:
    """What :func:`is_repeated` finds, in words, since neither a mean nor its n counts it."""
    rows = _with_columns(frame, ["size", "seed", "variant"])
    rows = rows.assign(method=method_names(rows), size=rows["size"].fillna(""))[is_repeated(frame)]
    notes = []
    for (size, method), group in rows.groupby(["size", "method"], sort=False):
        seeds = ", ".join(str(int(seed)) for seed in sorted(group["seed"].unique()))
        where = f" at size {size}" if size else ""
        notes.append(
            f"{method}{where} was run again with seed {seeds}: the last run counts, not the {len(group)} before"
        )
    return notes


def _in_order(frame: pd.DataFrame) -> pd.DataFrame:
    """By protocol and pair as they come and by size, small first; a study runs them seed by seed."""
    import pandas as pd

    rows = _with_columns(frame, ["protocol", "pair", "size"])
    places = {name: pd.factorize(rows[name])[0] for name in ("protocol", "pair")}
    order = pd.DataFrame({**places, "size": [size_order(size) for size in rows["size"]]})
    return frame.iloc[order.sort_values(["protocol", "pair", "size"], kind="stable").index]


def size_order(size: Any) -> int:
    """Place of a size among :data:`SIZES`; others follow."""
    return SIZES.index(size) if size in SIZES else len(SIZES)


def _with_columns(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
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


def _best(table: pd.DataFrame) -> pd.Series[bool]:
    """Whether a line is a student with the highest official score among those of its protocol and size.

    Where no row says what kind it is, all lines that have parameters are compared: encoders, not baselines.
    """
    kinds = table["kind"]
    students = kinds == "student" if kinds.notna().any() else table["parameters"].notna()
    candidates = table["official"].where(students)
    places = [table[name] for name in _SETTINGS]
    highest = candidates.groupby(places, dropna=False).transform("max")
    compared = table["official"].groupby(places, dropna=False).transform("count") > 1
    return candidates.notna() & (candidates == highest) & compared


def by_size(frame: pd.DataFrame, score: str = "official") -> pd.DataFrame:
    """Methods down, dataset sizes across: ``mean ± sd (n)`` in % of the finished rows.

    Args:
        frame: From ``load_runs``.
        score: A column, or ``official``: the test score in the protocol's own metric.

    Raises:
        DataError: If a method has more than one line of a size, as from two experiments.

    Returns:
        Text columns ``protocol``, ``method`` and the sizes that there are, small first. ``attrs["best"]`` holds, a list
        a line, which cells are the best student's of their protocol and size.
    """
    import pandas as pd

    table = stage_table(frame, tuple(dict.fromkeys(("official", score))))
    table = table.assign(method=method_names(table))
    sizes = [size for size in SIZES if (table["size"] == size).any()]
    lines, best = [], []
    for (protocol, method), group in table.groupby(["protocol", "method"], sort=False, dropna=False):
        cells = {line["size"]: line for line in group.to_dict("records")}
        if len(cells) < len(group):
            raise DataError(
                f"{method!r} has several lines of one size on {protocol}: choose one experiment first (--experiment)"
            )
        lines.append(
            {"protocol": protocol, "method": method}
            | {size: spread_cell(cells[size], score) if size in cells else MISSING for size in sizes}
        )
        best.append([False, False, *(size in cells and bool(cells[size]["best"]) for size in sizes)])
    result = pd.DataFrame(lines, columns=["protocol", "method", *sizes])
    caption = f"{_scored(table, score)} in %, mean ± standard deviation over seeds (n)"
    result.attrs |= {"best": best, "caption": caption, "note": table.attrs["note"]}
    return result


def _scored(rows: pd.DataFrame, score: str) -> str:
    """What ``score`` is called: ``test micro F1``, or the protocols' official metrics."""
    metrics = rows["metric"].fillna("f1_micro").unique().tolist() if score == "official" else [score]
    return "test " + " or ".join(
        METRIC_NAMES.get(name, name) for name in (each.removeprefix("test_") for each in metrics)
    )


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

    rows = _with_columns(frame, ["trial", "kind", score, cost])
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


def significance(frame: pd.DataFrame, reference: str, score: str = "official") -> pd.DataFrame:
    """Every method against ``reference``, paired by seed, within each protocol and size.

    Holm's correction is over the methods of one protocol and size. Sizes are nested samples of one corpus, so they are
    never pooled.

    Args:
        frame: From ``load_runs``.
        reference: A method: a stage, or ``stage (variant)`` where rows have variants.
        score: A column, or ``official``.

    Returns:
        protocol, size, method, reference, n, difference (mean over shared seeds, as a fraction) with ``low`` and
        ``high`` (Student's 95 % interval), p, p_holm, effect (rank-biserial, -1..1), and a note where there are too few
        seeds.

    Raises:
        DataError: If the reference is nowhere, two experiments have a method of one name, or no method shares a seed
            with it.
    """
    import pandas as pd

    from kdh_ray.evaluation.statistics import compare_over_seeds

    rows = _with_columns(_own_rows(frame), [*GROUP, "metric", score])
    rows["official"] = official_scores(rows)
    rows = rows.assign(method=method_names(rows.drop(columns="method", errors="ignore")))[
        (rows["status"] == "ok") & rows[score].notna()
    ]
    lines = []
    for (protocol, size), group in rows.groupby(list(_SETTINGS), sort=False, dropna=False):
        if reference not in set(group["method"]):
            continue
        for comparison in compare_over_seeds(_scores_by_seed(group, score), reference):
            line = {"protocol": protocol, "size": size, "method": comparison.method, "reference": reference}
            lines.append(line | {name: getattr(comparison, name) for name in _TESTED})
    if not lines:
        raise DataError(f"no protocol and size has {reference!r} and another method to compare with it")
    table = pd.DataFrame(lines)
    table.attrs["caption"] = (
        f"difference: mean of {_scored(rows, score)} less the reference's, as a fraction, over the n seeds that both"
        " have; low, high: Student's 95 % interval; p: Wilcoxon signed-rank; p_holm: corrected after Holm for the"
        " methods tested in a protocol and size; effect: rank-biserial correlation"
    )
    table.attrs["note"] = "; ".join(repetitions(frame))
    return table


_TESTED = ("n", "difference", "low", "high", "p", "p_holm", "effect", "note")


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
    words = table[[*_SETTINGS, "pair", "changed", "method"]].assign(
        score=[spread_cell(line, "score") for line in table.to_dict("records")],
        difference=table["difference"].map(lambda points: MISSING if pd.isna(points) else f"{points:+.1f}"),
        interval=[
            f"{low:+.1f} to {high:+.1f}" if low == low else MISSING
            for low, high in zip(table["low"], table["high"], strict=True)
        ],
    )
    highest = table["score"] == table.groupby([*_SETTINGS, "pair"], dropna=False)["score"].transform("max")
    words.attrs = {
        "best": [[False] * 5 + [each, False, False] for each in highest],
        "caption": f"{table.attrs['scored']} in %, mean ± standard deviation over seeds (n); difference: to the first"
        " line, in points, over the seeds that both have, with Student's 95 % interval",
        "note": "; ".join(repetitions(frame)),
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
    rows = _with_columns(_in_order(frame[~is_repeated(frame)]), [*GROUP, "pair", "metric", score])
    rows["official"] = official_scores(rows)
    rows = rows[(rows["kind"] == "student") & (rows["status"] == "ok") & rows["method"].notna()]
    rows = rows[rows["experiment"].isin(rows.loc[rows["method"] == reference, "experiment"])]
    rows = pd.concat([rows, *_at_other_thresholds(rows[rows["method"] == reference], score)])
    rows = rows[rows[score].notna()]
    lines = []
    for place, group in rows.groupby([*_SETTINGS, "pair"], sort=False, dropna=False):
        scores = _scores_by_seed(group, score)
        if reference not in scores:
            continue
        full = scores[reference]
        for name in sorted(scores, key=lambda name: name != reference):
            own = pd.Series(scores[name])
            paired = 100 * (own - pd.Series(full)).dropna() if name != reference else own.iloc[:0]
            low, high = student_interval(paired.to_numpy())
            lines.append(
                {**dict(zip((*_SETTINGS, "pair"), place, strict=True)),
                 "changed": group.loc[group["method"] == name, "variant"].iloc[0], "method": name,
                 "score": own.mean(), "score_sd": own.std(ddof=1), "n": len(own),
                 "shared": len(paired), "difference": paired.mean(), "low": low, "high": high}
            )  # fmt: skip
    if not lines:
        raise DataError(f"no protocol and size has the reference {reference!r}")
    table = pd.DataFrame(lines)
    table.attrs["scored"] = _scored(rows, score)
    return table


def _at_other_thresholds(rows: pd.DataFrame, score: str) -> list[pd.DataFrame]:
    """The same models at 0.5 and at label thresholds, as methods of their own."""
    metric = next(iter(rows["metric"].dropna()), "f1_micro")
    column = f"test_{metric}" if score == "official" else score
    return [
        rows.assign(method=name, variant="thresholds", **{score: rows[f"{column}{suffix}"]})
        for name, suffix in (("threshold-0.5", "_at_half"), ("label-thresholds", "_per_label"))
        if f"{column}{suffix}" in rows
    ]


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
        ``protocol``, ``method``, ``format``, and those of :data:`EFFICIENCY` that were measured, in the units of their
        titles. ``attrs["best"]`` marks the best of each column within a protocol.

    Raises:
        DataError: If there is no such row.
    """
    if "latency_p50_ms" not in frame:
        raise DataError("no row has measured latencies: run experiments.efficiency")
    rows = frame[frame["latency_p50_ms"].notna() & (frame["status"] == "ok") & ~is_repeated(frame)]
    rows = _with_columns(rows, [*GROUP, "metric", "model", "number_format", *EFFICIENCY])
    rows = rows.assign(official=official_scores(rows), method=method_names(rows.assign(method=rows["model"])))
    rows = rows.rename(columns={"number_format": "format"})
    measured = [name for name in EFFICIENCY if rows[name].notna().any()]
    rows = rows.astype(dict.fromkeys(measured, float))
    means = rows.groupby(["protocol", "method", "format"], sort=False, dropna=False)[measured].mean().reset_index()
    best = [[False] * 3 for _ in range(len(means))]
    for name in measured:
        title, factor, unit, more = EFFICIENCY[name]
        groups = means.groupby("protocol", dropna=False)[name]
        winners = means[name] == groups.transform("max" if more else "min")
        best = [[*line, bool(wins)] for line, wins in zip(best, winners, strict=True)]
        means = means.assign(**{name: means[name] * factor}).rename(columns={name: f"{title} {unit}".strip()})
    caption = "means over seeds; p50, p95: latency of one document"
    means.attrs |= {"best": best, "caption": caption, "note": "; ".join(repetitions(frame))}
    return means


_REGRET = "regret_at_"


def searchers(frame: pd.DataFrame) -> pd.DataFrame:
    """Searchers on replayed trials: :func:`regrets` in words, the best searcher of each table first.

    Returns:
        ``table``, ``searcher``, ``n`` and, as ``mean ± sd``, the regret at each number of trials. ``attrs["best"]``
        marks the lowest of each table.

    Raises:
        DataError: See :func:`regrets`.
    """
    import pandas as pd

    lines, best = [], []
    for table, group in regrets(frame).groupby("table", sort=False):
        lowest = group["regret"] == group.groupby("trials")["regret"].transform("min")
        for searcher, own in group.assign(lowest=lowest).groupby("searcher", sort=False):
            cells = {
                f"regret at {line['trials']}": f"{line['regret']:.3f}"
                + (f" ± {line['sd']:.3f}" if line["n"] > 1 else "")
                for line in own.to_dict("records")
            }
            lines.append({"table": table, "searcher": searcher, "n": own["n"].max(), **cells})
            best.append([False, False, False, *own["lowest"].tolist()])
    found = pd.DataFrame(lines)
    caption = "mean regret ± standard deviation over n seeds; 0: the best of the table's trials, 1: their median"
    found.attrs |= {"best": best, "caption": caption}
    return found


def regrets(frame: pd.DataFrame) -> pd.DataFrame:
    """What searchers had found after so many replayed trials.

    Args:
        frame: From ``load_runs``; rows of ``experiments.searchers``.

    Returns:
        ``table``, ``searcher``, ``trials``, ``n`` seeds, mean ``regret`` (0: the best trial, 1: the median), ``sd``,
        and ``low`` and ``high`` (Student's 95 % interval, not below 0); searchers by their last regret.

    Raises:
        DataError: If there is no such row.
    """
    import pandas as pd

    from kdh_ray.evaluation.statistics import student_interval

    known = [name for name in map(str, frame) if name.startswith(_REGRET) and frame[name].notna().any()]
    budgets = sorted(int(name.removeprefix(_REGRET)) for name in known)
    if not budgets:
        raise DataError("no row has a searcher's regret: run experiments.searchers")
    lines = []
    for table, rows in frame[frame[known].notna().any(axis=1)].groupby("pair", sort=False):
        groups = rows.groupby("method")
        for searcher in groups[f"{_REGRET}{budgets[-1]}"].mean().sort_values(kind="stable").index:
            for budget in budgets:
                values = groups.get_group(searcher)[f"{_REGRET}{budget}"].dropna()
                low, high = student_interval(values.to_numpy())
                lines.append(
                    {"table": table, "searcher": searcher, "trials": budget, "n": len(values), "regret": values.mean(),
                     "sd": values.std(ddof=1), "low": max(0.0, low) if low == low else low, "high": high}
                )  # fmt: skip
    return pd.DataFrame(lines)


def spread_cell(line: Mapping[Any, Any], score: str, with_n: bool = True) -> str:
    """``82.0 ± 2.0 (3)``: mean, standard deviation and n of a line of ``stage_table``, in %."""
    value, spread = line.get(score), line.get(f"{score}_sd")
    if value is None or value != value:
        return MISSING
    if spread is None or spread != spread:
        return f"{100 * value:.1f}"
    return f"{100 * value:.1f} ± {100 * spread:.1f}" + (f" ({line['n']})" if with_n else "")


def method_names(rows: pd.DataFrame) -> pd.Series[str]:
    """What is compared: a study's method (and its pair, if there are several), else a stage and its variant, if any."""
    stages, variants = rows["stage"].astype(str), rows["variant"]
    names = stages.where(variants.isna(), stages + " (" + variants.astype(str) + ")")
    if "method" not in rows:
        return names
    own = rows["method"].astype(str)
    if "pair" in rows and rows["pair"].nunique() > 1:
        own = own.where(rows["pair"].isna(), own + ", " + rows["pair"].astype(str))
    return own.where(rows["method"].notna(), names)


def _scores_by_seed(rows: pd.DataFrame, score: str) -> dict[str, dict[int, float]]:
    several = rows[rows.duplicated(["method", "seed"])]
    if len(several):
        method, seed = several.iloc[0][["method", "seed"]]
        raise DataError(f"{method!r} has more than one row of seed {seed}: choose one experiment first (--experiment)")
    return {
        str(method): {int(seed): float(value) for seed, value in zip(group["seed"], group[score], strict=True)}
        for method, group in rows.groupby("method", sort=False)
    }
