"""Tests of significance for differences between methods, paired by seed or corpus.

scipy, statsmodels and scikit-posthocs compute the tests. This module makes the pairs, and refuses pairs that a test
does not allow. ``kdh_ray.evaluation.document_statistics`` compares two models over documents.

* Over seeds: Wilcoxon's signed-rank test with Holm's correction (Holm 1979, jstor.org/stable/4615733), the
  matched-pairs rank-biserial correlation (Kerby 2014, doi:10.2466/11.IT.3.1) and Student's interval of the mean
  difference. They show whether a method wins when everything random is drawn again.
* Over corpora: Friedman's test and Nemenyi's (Demsar 2006, jmlr.org/papers/v7/demsar06a.html), for independent corpora
  only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdh_ray.errors import DataError
from kdh_ray.extras import require

if TYPE_CHECKING:
    import pandas as pd

ENOUGH_SEEDS = 10
_MAX_EXACT = 13  # up to so many pairs, all 2^n patterns of signs are tried, which is exact with ties and zeros, too


@dataclass(frozen=True)
class SeedComparison:
    """Comparison of a method with the reference, paired by seed.

    Attributes:
        method: Name of the method.
        n: Number of seeds that both have.
        difference: Mean of method minus reference; NaN if they share no seed.
        low, high: Student's 95 % interval of that mean; NaN with fewer than two seeds.
        p: Two-sided p-value of Wilcoxon's signed-rank test; 1 with fewer than two seeds, which can't be tested.
        p_holm: The p-value, corrected for the number of methods tested.
        effect: Rank-biserial correlation: 1 if the method wins on every seed, -1 if it loses on every seed.
        smallest_p: Smallest p-value that n pairs can have, 2 / 2^n.
    """

    method: str
    n: int
    difference: float
    low: float
    high: float
    p: float
    p_holm: float
    effect: float
    smallest_p: float

    @property
    def note(self) -> str:
        """Warning that there are too few seeds for a small p-value; empty if there are enough."""
        if self.n >= ENOUGH_SEEDS:
            return ""
        if self.n == 0:
            return "no seed in common"
        seeds = "1 seed" if self.n == 1 else f"{self.n} seeds"
        return f"{seeds} can't give p below {self.smallest_p:.4g}; at least {ENOUGH_SEEDS} are wanted"


def compare_over_seeds(scores: Mapping[str, Mapping[Any, float]], reference: str) -> list[SeedComparison]:
    """Compare every other method with the reference.

    Args:
        scores: Method -> seed -> score; higher is better.
        reference: One of the methods.

    Returns:
        A comparison per method, from the largest difference to the smallest; methods without a common seed come last.

    Raises:
        DataError: If the reference is unknown, or shares no seed with any method.
    """
    if reference not in scores:
        raise DataError(f"the reference must be one of {', '.join(scores) or 'no methods'}; got {reference!r}")
    differences = {
        method: _paired_differences(own, scores[reference]) for method, own in scores.items() if method != reference
    }
    if differences and not any(map(len, differences.values())):
        raise DataError(f"{', '.join(differences)} and {reference!r} have no seed in common, so nothing can be paired")
    p_values = {method: _signed_rank(each) for method, each in differences.items() if len(each) > 1}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))  # untested methods don't count
    comparisons = [
        _seed_comparison(method, each, p_values.get(method, 1.0), corrected.get(method, 1.0))
        for method, each in differences.items()
    ]
    return sorted(comparisons, key=lambda comparison: (comparison.n == 0, -comparison.difference))


def _paired_differences(own: Mapping[Any, float], reference: Mapping[Any, float]) -> NDArray[np.float64]:
    """Subtract scores with the same seed: (n_common_seeds,), in the order of the seeds."""
    return np.array([own[seed] - reference[seed] for seed in sorted(own.keys() & reference.keys())])


def _seed_comparison(method: str, differences: NDArray[np.float64], p: float, p_holm: float) -> SeedComparison:
    n = len(differences)
    low, high = student_interval(differences)
    return SeedComparison(
        method=method,
        n=n,
        difference=float(differences.mean()) if n else math.nan,
        low=low,
        high=high,
        p=p,
        p_holm=p_holm,
        effect=rank_biserial(differences),
        smallest_p=min(1.0, 2.0 / 2**n),
    )


def _signed_rank(differences: NDArray[np.float64]) -> float:
    """Compute the two-sided p-value of Wilcoxon's signed-rank test; ranks of zeros count half for each side."""
    from scipy.stats import PermutationMethod, wilcoxon

    if not differences.any():
        return 1.0
    method = PermutationMethod(n_resamples=2**_MAX_EXACT) if len(differences) <= _MAX_EXACT else "auto"
    return float(wilcoxon(differences, zero_method="zsplit", method=method).pvalue)


def student_interval(values: NDArray[Any]) -> tuple[float, float]:
    """Compute Student's 95 % interval of the mean, ``mean -+ t_(0.975, n-1) s / sqrt(n)``.

    Args:
        values: (n,) values.

    Returns:
        Its limits; NaN with fewer than two values.
    """
    from scipy.stats import sem, t

    if len(values) < 2:
        return math.nan, math.nan
    mean = values.mean()
    half_width = t.ppf(0.975, len(values) - 1) * sem(values)
    return float(mean - half_width), float(mean + half_width)


def rank_biserial(differences: ArrayLike) -> float:
    """Compute the matched-pairs rank-biserial correlation, ``(R+ - R-) / (R+ + R-)`` (Kerby 2014).

    R+ and R- are the sums of the ranks of positive and negative differences, ranked by their absolute value.

    Args:
        differences: (n,) differences of pairs. The ranks of zeros are split evenly between R+ and R-.

    Returns:
        The correlation in -1..1; 0 if all differences are zero.

    Example:
        >>> rank_biserial([0.1, 0.2, -0.3])
        0.0
    """
    from scipy.stats import rankdata

    values = np.asarray(differences, dtype=np.float64)
    if not values.any():
        return 0.0
    ranks = rankdata(np.abs(values))
    return float((ranks * np.sign(values)).sum() / ranks.sum())


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct p-values for the number of tests, by Holm's step-down method.

    With m p-values in rising order, the k-th becomes ``max_(j <= k) min(1, (m - j + 1) p_(j))``.

    Args:
        p_values: p-values of m tests.

    Returns:
        The corrected p-values, in the order given.

    Raises:
        UnavailableError: If statsmodels is not installed.
    """
    if len(p_values) < 2:
        return list(p_values)
    multipletests = import_extra("statsmodels.stats.multitest").multipletests
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


@dataclass(frozen=True)
class CorpusComparison:
    """Comparison of methods by their ranks over independent corpora.

    Attributes:
        ranks: Method -> mean rank; 1 is best.
        p: p-value of Friedman's test (chi-squared, corrected for ties).
        critical_difference: Smallest difference between mean ranks that is significant by Nemenyi's test.
        nemenyi: (n_methods, n_methods) p-values of Nemenyi's test, for each pair.
    """

    ranks: dict[str, float]
    p: float
    critical_difference: float
    nemenyi: pd.DataFrame


def compare_over_corpora(scores: pd.DataFrame, level: float = 0.05) -> CorpusComparison:
    """Compare methods by Friedman's test, and pairs of them by Nemenyi's.

    With k methods on N corpora, the critical difference is ``q_alpha sqrt(k (k + 1) / (6 N))``, where q_alpha is the
    quantile of the studentised range divided by sqrt(2) (Demsar 2006, section 3.2.2).

    Args:
        scores: A row per corpus, with its protocol's name or (protocol, size) as index, and a column per method; higher
            is better.
        level: Level of significance, for the critical difference.

    Raises:
        DataError: If two rows come from one corpus, a cell is missing, or there are fewer than 3 methods or corpora.
        UnavailableError: If scikit-posthocs is not installed.
    """
    from scipy.stats import friedmanchisquare, studentized_range

    _check_independent([name if isinstance(name, tuple) else (name,) for name in scores.index])
    n, k = scores.shape
    if n < 3 or k < 3:
        raise DataError(f"Friedman's test needs at least 3 corpora and 3 methods; got {n} and {k}")
    if scores.isna().any(axis=None):
        raise DataError("Friedman's test needs a score of every method on every corpus; some are missing")
    posthocs = import_extra("scikit_posthocs")
    ranks = scores.rank(axis=1, ascending=False).mean()
    q_alpha = float(studentized_range.ppf(1 - level, k, np.inf)) / math.sqrt(2)
    nemenyi = posthocs.posthoc_nemenyi_friedman(scores.to_numpy())
    return CorpusComparison(
        ranks={str(method): float(rank) for method, rank in ranks.items()},
        p=float(friedmanchisquare(*(scores[method] for method in scores)).pvalue),
        critical_difference=q_alpha * math.sqrt(k * (k + 1) / (6 * n)),
        nemenyi=nemenyi.set_axis(scores.columns).set_axis(scores.columns, axis=1),
    )


def import_extra(module: str) -> Any:
    """Import a module of the ``statistics`` extra."""
    require("this test", "statistics", module.partition(".")[0])
    return import_module(module)


def _check_independent(names: Sequence[tuple[object, ...]]) -> None:
    """Check that no two corpora, by (protocol,) or (protocol, size), are samples of the same documents."""
    sources: dict[str, str] = {}
    for name in names:
        protocol = str(name[0])
        # All protocols and sizes of HoC are samples of the same abstracts.
        source = "hoc" if protocol == "hoc" or protocol.startswith("hoc-") else protocol
        shown = " ".join(map(str, name))
        if source in sources:
            raise DataError(
                f"{sources[source]!r} and {shown!r} are samples of one corpus, so they are not independent, and "
                "Friedman's test over them would claim more than the data can tell; compare methods over seeds instead"
            )
        sources[source] = shown
