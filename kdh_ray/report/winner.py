"""First screen of a report: the best student, and its differences from other methods with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from kdh_ray.errors import UserError
from kdh_ray.evaluation.statistics import ENOUGH_SEEDS
from kdh_ray.report.wording import signed
from kdh_ray.results.method_rows import (
    BASELINE,
    METRIC_NAMES,
    STUDENT,
    TEACHER,
    largest_size,
    metric_name,
    ranked_methods,
    sizes,
)

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.evaluation.statistics import SeedComparison
    from kdh_ray.results.saved_predictions import Key, StagePrediction

_RESAMPLES = 2000  # of the bootstrap over documents
_CHECKPOINT = r"^.*/stages/([^/]+)/checkpoint$"
_NO_TEACHERS = "[]"  # as a row stores an empty list


@dataclass(frozen=True)
class Comparison:
    """Difference of the winner from another method.

    Attributes:
        role: Why this method: ``the best teacher``.
        method: Name of the method.
        points: Mean of the winner less that of the method, in percentage points, over the seeds that both have.
        low, high: 95 % interval of the difference; None where there is only one seed and no predictions.
        over: Sample of the interval: ``documents`` where there are predictions of every seed, else ``seeds``.
        parameters: Size of the model in words; empty if unknown.
        words: Basis of the difference and its interval, and their limits.
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
    """Best student (or, without students, best method) of a protocol and pair at its largest size.

    Attributes:
        protocol, pair, size: Rows among which it is the best.
        method: Name of the method.
        metric: Name of the protocol's official metric.
        mean, sd: Mean and standard deviation over seeds, in %.
        n: Number of seeds.
        is_student: Whether it is a student.
        parameters: Size of the model in words; empty if unknown.
        comparisons: Differences from other methods.
    """

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
        """Warning about few seeds; empty if there are enough."""
        if self.n >= ENOUGH_SEEDS:
            return ""
        few = "1 seed cannot" if self.n == 1 else f"{self.n} seeds cannot"
        return f"{few} tell a small difference from luck: at least {ENOUGH_SEEDS} are needed."

    @property
    def basis(self) -> str:
        """Sentence that names the sample of the intervals."""
        over = list(dict.fromkeys(each.over for each in self.comparisons if each.over))
        samples = " or ".join(f"test {each}" if each == "documents" else each for each in over)
        return f"95 % intervals over {samples}." if over else ""


def winner(rows: pd.DataFrame, predictions: Mapping[Key, StagePrediction]) -> Winner:
    """Return the best student of one protocol and pair of encoders, compared with the best other methods.

    Args:
        rows: From ``finished_rows``.
        predictions: Test predictions by run id and stage.
    """
    rows = largest_size(rows)
    table = ranked_methods(rows)
    best = best_student(table)
    method = str(best["method"])
    seeds = rows.loc[rows["method"] == method, "seed"].dropna()
    # A method that ran only with other seeds can't be paired, however good it was.
    can_be_paired = table["method"].isin(rows.loc[rows["seed"].isin(seeds), "method"])
    rivals = _rivals(rows, table[can_be_paired & (table["method"] != method)])
    tests = _test_over_seeds(rows, method)
    pairs: list[Any] = rows["pair"].dropna().unique().tolist()
    known_sizes = sizes(rows)
    return Winner(
        protocol=str(rows["protocol"].iloc[0]),
        pair=str(pairs[0]) if pairs else None,
        size=known_sizes[-1] if known_sizes else None,
        method=method,
        metric=metric_name(rows),
        mean=100 * float(best["score"]),
        sd=100 * float(best["score_sd"]),
        n=int(best["n"]),
        is_student=best["kind"] == STUDENT,
        parameters=parameters(rows[rows["method"] == method]),
        comparisons=[
            _compare(rows, method, rival, role, predictions, tests.get(rival)) for role, rival in rivals.items()
        ],
    )


def parameters(rows: pd.DataFrame) -> str:
    """Return the sizes of models in words, such as ``22.6 M parameters``; empty if unknown."""
    counts = rows["parameters"].dropna()
    shown = list(dict.fromkeys(f"{float(count) / 1e6:.1f}" for count in sorted(counts)))
    return f"{' or '.join(shown)} M parameters" if shown else ""


def best_student(table: pd.DataFrame) -> pd.Series[Any]:
    """Return the line of the best student in a table of ``ranked_methods``; of all methods if there is no student."""
    students = table[table["kind"] == STUDENT]
    return (students if len(students) else table).iloc[0]


def _rivals(rows: pd.DataFrame, table: pd.DataFrame) -> dict[str, str]:
    """Return the methods to compare the winner with, by role; ``table`` holds the others, best first."""
    distilled = set(rows.loc[_was_distilled(rows), "method"])
    is_student, is_distilled = table["kind"] == STUDENT, table["method"].isin(distilled)
    roles = {
        "the best student without a teacher": is_student & ~is_distilled,
        "the best other student": is_student & is_distilled,
        "the best teacher": table["kind"] == TEACHER,
        "the best baseline": table["kind"] == BASELINE,
    }
    return {role: str(table.loc[chosen, "method"].iloc[0]) for role, chosen in roles.items() if chosen.any()}


def _was_distilled(rows: pd.DataFrame) -> pd.Series[bool]:
    """Return which models were distilled, or start from one that was, as after fine-tuning on labels."""
    distilled = rows["config_teachers"].notna() & (rows["config_teachers"].astype(str) != _NO_TEACHERS)
    starts = rows["config_start"].astype(str).str.replace(_CHECKPOINT, r"\1", regex=True)  # name of a stage
    while True:  # until no further stage starts from a distilled one
        more = distilled | starts.isin(rows.loc[distilled, "stage"].astype(str))
        if more.equals(distilled):
            return distilled
        distilled = more


def _test_over_seeds(rows: pd.DataFrame, best: str) -> dict[str, SeedComparison]:
    """Test each other method against the best, paired by seed and corrected for all of them, as the report's table."""
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
    predictions: Mapping[Key, StagePrediction],
    test: SeedComparison | None,
) -> Comparison:
    """Compare the best method with another one, with an interval over documents if there are predictions."""
    first, second = (rows[rows["method"] == method].set_index("seed") for method in (best, other))
    seeds = sorted(set(first.index.dropna()) & set(second.index.dropna()))
    # (n_seeds,) in points
    differences = np.array([100 * (first.loc[seed, "score"] - second.loc[seed, "score"]) for seed in seeds])
    pairs = [(_prediction(first, seed, predictions), _prediction(second, seed, predictions)) for seed in seeds]
    whole = [(a, b) for a, b in pairs if a is not None and b is not None]
    size = parameters(second)
    points = float(differences.mean())
    basis = _seed_words(differences, test)
    obstacle = _no_interval_over_documents(metric_name(rows), whole, len(seeds))
    if obstacle is None:
        low, high, over_documents = _interval_over_documents(whole)
        words = f"interval {over_documents}; {basis}"
        return Comparison(role, other, points, low, high, "documents", size, words)
    basis += f"; {obstacle}"
    if test is None or test.n < 2:
        return Comparison(role, other, points, None, None, "", size, basis)
    # The test is of the other method less the best one, so the interval changes its sign.
    low, high = -100 * test.high, -100 * test.low
    return Comparison(role, other, points, low, high, "seeds", size, f"interval over seeds; {basis}")


def _no_interval_over_documents(
    metric: str, pairs: list[tuple[StagePrediction, StagePrediction]], n_seeds: int
) -> str | None:
    """Return why there is no interval over documents; None if there is one."""
    if metric != METRIC_NAMES["f1_micro"]:
        return f"intervals over documents are made of micro F1, not of {metric}"
    if not pairs:
        return "no saved predictions, so no interval over documents"
    if len(pairs) < n_seeds:  # an interval of some seeds belongs to another difference
        return f"saved predictions of {len(pairs)} of {n_seeds} seeds, so no interval over documents"
    if not _have_same_documents(pairs):
        return "test documents differ between seeds, so no interval over documents"
    return None


def _prediction(rows: pd.DataFrame, seed: Any, predictions: Mapping[Key, StagePrediction]) -> StagePrediction | None:
    row = rows.loc[seed]
    return predictions.get((str(row["run_id"]), str(row["stage"])))


def _seed_words(differences: np.ndarray[Any, Any], test: SeedComparison | None) -> str:
    """Return how the difference varies with the seed, and what so many seeds can show.

    Args:
        differences: (n_seeds,) in points.
        test: Test of the difference over seeds, if there is one.
    """
    n = len(differences)
    if n == 1:
        return "over the one seed that both have, so how it varies with the seed is not known"
    spread = f"from {signed(differences.min())} to {signed(differences.max())} over {n} seeds"
    if test is None:
        return spread
    return f"{spread} (Wilcoxon p = {test.p_holm:.2g} after Holm" + (f"; {test.note})" if test.note else ")")


def _have_same_documents(pairs: list[tuple[StagePrediction, StagePrediction]]) -> bool:
    """Return whether all seeds were tested on the same documents; splits of a user's table may depend on the seed."""
    truth = pairs[0][0].targets
    return all(np.array_equal(each.targets, truth) for pair in pairs for each in pair)


def _interval_over_documents(pairs: list[tuple[StagePrediction, StagePrediction]]) -> tuple[float, float, str]:
    """Return the limits of the paired bootstrap interval in points, and words.

    The seeds are stacked as further labels, (n_documents, n_seeds * n_labels), so that a drawn document brings the
    predictions of all seeds.
    """
    from kdh_ray.evaluation.document_statistics import compare_over_documents

    # (n_documents, n_seeds * n_labels)
    targets = np.hstack([first.targets for first, _ in pairs])
    first, second = (np.hstack([pair[side].labels for pair in pairs]) for side in range(2))
    comparison = compare_over_documents(targets, first, second, resamples=_RESAMPLES)
    words = f"by paired bootstrap over {len(targets)} documents (permutation p = {comparison.p:.2g})"
    return 100 * comparison.low, 100 * comparison.high, words
