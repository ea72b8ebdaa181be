"""What a report's first screen says: what was run, what won, and by how much, with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray.errors import UserError
from kdh_ray.evaluation.statistics import ENOUGH_SEEDS
from kdh_ray.results.selections import largest, means, metric_name, sizes, trials
from kdh_ray.results.tables import NO_METHOD, method_names

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.evaluation.statistics import SeedComparison
    from kdh_ray.results.saved_predictions import Predicted

_RESAMPLES = 2000
_CHECKPOINT = r"^.*/stages/([^/]+)/checkpoint$"
Key = tuple[str, str]


@dataclass(frozen=True)
class Comparison:
    """The winner against another method.

    Attributes:
        role: Why this one: ``the best teacher``.
        method: Its name.
        points: Mean of the winner minus its own, in percentage points, over the seeds that both have.
        low, high: 95 % interval of the difference; None where there is only one seed and no predictions.
        over: What the interval is over: ``documents`` where there are predictions of every seed, else ``seeds``.
        parameters: In words; empty if not told.
        words: What the difference and its interval rest on, and what they can't tell.
    """

    role: str
    method: str
    points: float
    low: float | None
    high: float | None
    over: str
    parameters: str
    words: str


@dataclass(frozen=True)
class Winner:
    """The best student (or, without students, the best method) of a protocol and pair at its largest size."""

    protocol: str
    pair: str | None
    size: str | None
    method: str
    metric: str
    mean: float
    sd: float
    n: int
    is_student: bool
    parameters: str = ""
    comparisons: list[Comparison] = field(default_factory=list)

    @property
    def caution(self) -> str:
        """What so few seeds can't tell."""
        if self.n >= ENOUGH_SEEDS:
            return ""
        few = "1 seed tells" if self.n == 1 else f"{self.n} seeds tell"
        return f"{few} no small difference from luck: at least {ENOUGH_SEEDS} are wanted."

    @property
    def basis(self) -> str:
        """What the intervals are over."""
        over = list(dict.fromkeys(each.over for each in self.comparisons if each.over))
        return f"Intervals over {' or '.join(over)}." if over else ""


def winner(rows: pd.DataFrame, predicted: Mapping[Key, Predicted]) -> Winner:
    """Who won, and by how much.

    Args:
        rows: Results of one protocol and pair of encoders, from ``figures.rows.results``.
        predicted: Test predictions by run id and stage.
    """
    rows = largest(rows)
    table = means(rows)
    best = best_line(table)
    seeds = rows.loc[rows["method"] == best["method"], "seed"].dropna()
    # One that ran with other seeds alone can't be paired, however good it was.
    paired = table["method"].isin(rows.loc[rows["seed"].isin(seeds), "method"])
    others = _others(rows, table[paired & (table["method"] != best["method"])])
    tests = _over_seeds(rows, str(best["method"]))
    comparisons = [
        _compare(rows, str(best["method"]), method, role, predicted, tests.get(method))
        for role, method in others.items()
    ]
    pairs: list[Any] = rows["pair"].dropna().unique().tolist() if "pair" in rows else []
    return Winner(
        protocol=str(rows["protocol"].iloc[0]),
        pair=str(pairs[0]) if pairs else None,
        size=sizes(rows)[-1] if sizes(rows) else None,
        method=str(best["method"]),
        metric=metric_name(rows),
        mean=float(best["mean"]),
        sd=float(best["sd"]),
        n=int(best["n"]),
        is_student=best["kind"] == "student",
        parameters=_parameters(rows, str(best["method"])),
        comparisons=comparisons,
    )


def _parameters(rows: pd.DataFrame, method: str | None = None) -> str:
    """``22.6 M parameters``, of a method or of all rows."""
    if "parameters" not in rows:
        return ""
    found = (rows if method is None else rows[rows["method"] == method])["parameters"].dropna()
    shown = list(dict.fromkeys(f"{float(count) / 1e6:.1f}" for count in sorted(found)))
    return f"{' or '.join(shown)} M parameters" if shown else ""


def best_line(table: pd.DataFrame) -> pd.Series[Any]:
    """Of ``figures.rows.means``, the best student's line; the best line where there are no students."""
    students = table[table["kind"] == "student"]
    return (students if len(students) else table).iloc[0]


def _others(rows: pd.DataFrame, table: pd.DataFrame) -> dict[str, str]:
    """Whom the winner is compared with: role to method; ``table`` holds the methods, best first."""
    distilled = set(rows.loc[_was_taught(rows), "method"])
    students, is_distilled = table["kind"] == "student", table["method"].isin(distilled)
    roles = {
        "the best student without a teacher": students & ~is_distilled,
        "the best other student": students & is_distilled,
        "the best teacher": table["kind"] == "teacher",
        "the best baseline": table["kind"] == "baseline",
    }
    return {role: str(table.loc[chosen, "method"].iloc[0]) for role, chosen in roles.items() if chosen.any()}


def _was_taught(rows: pd.DataFrame) -> pd.Series[bool]:
    """Whether a model was distilled, or starts from one that was, as after fine-tuning on labels."""
    if "config_teachers" not in rows:
        return rows["kind"] == ""
    taught = rows["config_teachers"].notna() & (rows["config_teachers"].astype(str) != "[]")
    if "config_start" not in rows:
        return taught
    starts = rows["config_start"].astype(str).str.replace(_CHECKPOINT, r"\1", regex=True)  # a stage's name
    while True:
        more = taught | starts.isin(rows.loc[taught, "stage"].astype(str))
        if more.equals(taught):
            return taught
        taught = more


def _over_seeds(rows: pd.DataFrame, best: str) -> dict[str, SeedComparison]:
    """Each other method against the best, paired by seed and corrected for all of them, as in the report's table."""
    from kdh_ray.evaluation.statistics import compare_over_seeds

    seeded = rows[rows["seed"].notna()]
    scores = {str(name): dict(zip(own["seed"], own["score"], strict=True)) for name, own in seeded.groupby("method")}
    try:
        return {each.method: each for each in compare_over_seeds(scores, best)}
    except UserError:  # no seed is shared, or statsmodels is not installed
        return {}


def _compare(
    rows: pd.DataFrame,
    best: str,
    other: str,
    role: str,
    predicted: Mapping[Key, Predicted],
    test: SeedComparison | None,
) -> Comparison:
    first, second = (rows[rows["method"] == method].set_index("seed") for method in (best, other))
    seeds = sorted(set(first.index.dropna()) & set(second.index.dropna()))
    differences = np.array([100 * (first.loc[seed, "score"] - second.loc[seed, "score"]) for seed in seeds])
    pairs = [(_predicted(first, seed, predicted), _predicted(second, seed, predicted)) for seed in seeds]
    whole = [(a, b) for a, b in pairs if a is not None and b is not None]
    words, points, size = _seed_words(differences, test), float(differences.mean()), _parameters(rows, other)
    if metric_name(rows) == "micro F1" and len(whole) == len(seeds) and _are_of_one_split(whole):
        low, high, told = _over_documents(whole)
        return Comparison(role, other, points, low, high, "documents", size, f"interval {told}; {words}")
    if metric_name(rows) != "micro F1":
        words += f"; intervals over documents are made of micro F1, not of {metric_name(rows)}"
    elif whole and len(whole) < len(seeds):  # of some seeds only, an interval would belong to another difference
        words += f"; saved predictions of {len(whole)} of {len(seeds)} seeds, so no interval over documents"
    elif not whole:
        words += "; no saved predictions, so no interval over documents"
    else:
        words += "; test documents differ between seeds, so no interval over documents"
    if test is None or test.n < 2:
        return Comparison(role, other, points, None, None, "", size, words)
    # The test is of the other method less the best one.
    return Comparison(
        role, other, points, -100 * test.high, -100 * test.low, "seeds", size, f"interval over seeds; {words}"
    )


def _predicted(rows: pd.DataFrame, seed: Any, predicted: Mapping[Key, Predicted]) -> Predicted | None:
    row = rows.loc[seed]
    return predicted.get((str(row["run_id"]), str(row["stage"])))


def _seed_words(differences: np.ndarray[Any, Any], test: SeedComparison | None) -> str:
    """How the difference varies with the seed, and what so many seeds can tell."""
    n = len(differences)
    if n == 1:
        return "over the one seed that both have, so how it varies with the seed is not known"
    spread = f"from {signed(differences.min())} to {signed(differences.max())} over {n} seeds"
    if test is None:
        return spread
    return f"{spread} (Wilcoxon p = {test.p_holm:.2g} after Holm" + (f"; {test.note})" if test.note else ")")


def signed(points: float) -> str:
    """Percentage points with their sign; what rounds to zero has none."""
    return f"{points:+.1f}" if abs(points) >= 0.05 else "0.0"


def _are_of_one_split(pairs: list[tuple[Predicted, Predicted]]) -> bool:
    """Whether all seeds were tested on the same documents: a study of a user's table may deal splits by the seed."""
    truth = pairs[0][0].targets
    return all(np.array_equal(each.targets, truth) for pair in pairs for each in pair)


def _over_documents(pairs: list[tuple[Predicted, Predicted]]) -> tuple[float, float, str]:
    """Limits of the paired bootstrap interval in points, and words.

    Seeds stand beside each other as further labels, so that a document is drawn with the predictions of all of them.
    """
    from kdh_ray.evaluation.statistics import compare_over_documents

    targets = np.hstack([first.targets for first, _ in pairs])
    first, second = (np.hstack([pair[side].labels for pair in pairs]) for side in range(2))
    found = compare_over_documents(targets, first, second, resamples=_RESAMPLES)
    told = f"by paired bootstrap over {len(targets)} documents (permutation p = {found.p:.2g})"
    return 100 * found.low, 100 * found.high, told


def facts(frame: pd.DataFrame) -> dict[str, str]:
    """What was run, when, on what, with which versions; only what the rows tell."""
    rows = frame if "kind" not in frame else frame[~frame["kind"].isin(NO_METHOD)]
    rows = rows.assign(variant=None) if "variant" not in rows else rows
    found = {
        "Corpus": _corpora(rows),
        "Methods": _methods(rows),
        "Encoders": _pairs(rows),
        "Seeds": _values(rows, "seed"),
        "Results": ", ".join(f"{count} {status}" for status, count in rows["status"].value_counts().items()),
        **_searches(frame),
        "Searchers replayed": _values(frame[frame["kind"] == "searcher"], "stage") if "kind" in frame else "",
        "When": _when(frame),
        "Where": ", ".join(filter(None, (_values(frame, "device"), _values(frame, "precision")))),
        "Versions": ", ".join(
            f"{name} {_values(frame, f'version_{name}')}"
            for name in ("kdh_ray", "torch", "ray", "transformers")
            if _values(frame, f"version_{name}")
        ),
        "Commit": _values(frame, "commit", 12),
    }
    return {name: words for name, words in found.items() if words}


def lede(frame: pd.DataFrame) -> str:
    """What was run, in a line."""
    told = facts(frame)
    rows = frame if "kind" not in frame else frame[~frame["kind"].isin(NO_METHOD)]
    methods = " on ".join(filter(None, (told.get("Methods"), _values(rows, "pair"))))
    seeds = f"seeds {told['Seeds']}" if "Seeds" in told else ""
    return "; ".join(filter(None, (told.get("Corpus"), methods, seeds, told.get("Search", "").split(":")[0])))


def _methods(rows: pd.DataFrame) -> str:
    """Their number, whichever encoders they ran on."""
    n = method_names(rows.drop(columns="pair", errors="ignore")).nunique()
    return {0: "", 1: "1 method"}.get(n, f"{n} methods")


def _pairs(rows: pd.DataFrame) -> str:
    """Pairs of encoders, with how large teacher and student are."""
    if "pair" not in rows or "kind" not in rows:
        return ""
    told = []
    for pair, part in rows.groupby("pair", sort=False):
        sizes = [_parameters(part[part["kind"] == kind]) for kind in ("teacher", "student")]
        about = " → ".join(size.removesuffix(" M parameters") for size in sizes)
        told.append(f"{pair} ({about} M parameters)" if all(sizes) else str(pair))
    return ", ".join(told)


def _corpora(rows: pd.DataFrame) -> str:
    if "protocol" not in rows:
        return ""
    named = ((str(protocol), part) for protocol, part in rows.groupby("protocol"))
    parts = [
        f"{protocol} ({', '.join(sizes(part))})" if "size" in part and sizes(part) else protocol
        for protocol, part in named
        if protocol
    ]
    return "; ".join(parts)


def _values(frame: pd.DataFrame, column: str, length: int = 60) -> str:
    if column not in frame:
        return ""
    values: list[Any] = sorted(frame[column].dropna().unique().tolist())
    whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    shown = list(dict.fromkeys(str(value)[:length] for value in whole))
    if len(whole) > 2 and whole == list(range(len(whole))):
        return f"0 to {len(whole) - 1}"
    return ", ".join(shown[:12]) + (f" and {len(shown) - 12} more" if len(shown) > 12 else "")


def _when(frame: pd.DataFrame) -> str:
    if "started" not in frame or not frame["started"].notna().any():
        return ""
    days = frame["started"].dropna().astype(str).str[:10]
    return days.min() if days.min() == days.max() else f"{days.min()} to {days.max()}"


def _searches(frame: pd.DataFrame) -> dict[str, str]:
    """Trials by searcher and state, and what early stopping saved."""
    try:
        rows = trials(frame)
    except UserError:
        return {}
    counts = rows["status"].value_counts()
    states = ", ".join(f"{counts.get(name, 0)} {words}" for name, words in
                       (("ok", "to the end"), ("stopped", "stopped early"), ("failed", "failed")))  # fmt: skip
    found = {"Search": f"{len(rows)} trials by {_values(rows, 'searcher')}: {states}"}
    whole = next((rows[name].sum() for name in ("epochs_full", "config_epochs") if name in rows), 0)
    if rows["epochs_run"].notna().any() and whole:
        ran = rows["epochs_run"].sum()
        found["Early stopping"] = f"trials ran {ran:.0f} of the {whole:.0f} epochs of their whole trainings"
    return found
