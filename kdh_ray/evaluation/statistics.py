"""Is a difference more than chance? Paired tests over seeds, documents, labels and corpora.

scipy, statsmodels and scikit-posthocs compute them; here they are given the right pairs, and refused the wrong ones.

* over seeds: Wilcoxon signed-rank with Holm's correction, the matched-pairs rank-biserial correlation
  (Kerby 2014, doi:10.2466/11.IT.3.1) and Student's interval of the mean difference. Says whether a method wins when
  everything random is drawn anew;
* over documents: bootstrap intervals and a permutation test of micro F1 (Yeh 2000, aclanthology.org/C00-2137), for two
  given models on one test split;
* over documents, a label at a time: McNemar with Holm's correction;
* over corpora: Friedman and Nemenyi (Demsar 2006, jmlr.org/papers/v7/demsar06a.html), only where the corpora are
  independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kdh_ray.errors import DataError, UnavailableError

if TYPE_CHECKING:
    import pandas as pd

ENOUGH_SEEDS = 10
_ENUMERABLE = 13  # up to here all 2^n sign patterns are tried, so that ties and zeros leave the p-value exact


@dataclass(frozen=True)
class SeedComparison:
    """One method against the reference, paired by seed.

    Attributes:
        method: Its name.
        n: Seeds that both have.
        difference: Mean of method minus reference; NaN if they share no seed.
        low, high: Student's 95 % interval of that mean; NaN below two seeds.
        p: Two-sided Wilcoxon signed-rank p-value; 1 below two seeds, where nothing can be tested.
        p_holm: The same, corrected for the number of methods tested.
        effect: Rank-biserial correlation: 1 if the method wins on every seed, -1 if it loses on every one.
        smallest_p: The smallest p that n pairs can give, 2 / 2^n.
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
        """What n allows, where it is small."""
        if self.n >= ENOUGH_SEEDS:
            return ""
        if self.n == 0:
            return "no seed in common"
        seeds = "1 seed" if self.n == 1 else f"{self.n} seeds"
        return f"{seeds} can't give p below {self.smallest_p:.4g}; at least {ENOUGH_SEEDS} are wanted"


def compare_over_seeds(scores: Mapping[str, Mapping[Any, float]], reference: str) -> list[SeedComparison]:
    """Every other method against ``reference``, best first.

    Args:
        scores: Method -> seed -> score.
        reference: One of the methods.

    Raises:
        DataError: If the reference is unknown, or shares no seed with any method.
    """
    if reference not in scores:
        raise DataError(f"the reference must be one of {', '.join(scores) or 'no methods'}; got {reference!r}")
    found = {
        method: np.array(
            [own[seed] - scores[reference][seed] for seed in sorted(own.keys() & scores[reference].keys())]
        )
        for method, own in scores.items()
        if method != reference
    }
    if found and not any(map(len, found.values())):
        raise DataError(f"{', '.join(found)} and {reference!r} have no seed in common, so nothing can be paired")
    p_values = {method: _signed_rank(differences) for method, differences in found.items() if len(differences) > 1}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))  # only what is tested is corrected for
    comparisons = [
        SeedComparison(
            method, n := len(differences), float(differences.mean()) if n else math.nan, *student_interval(differences),
            p_values.get(method, 1.0), corrected.get(method, 1.0), rank_biserial(differences), min(1.0, 2.0 / 2**n),
        )
        for method, differences in found.items()
    ]  # fmt: skip
    return sorted(comparisons, key=lambda comparison: (comparison.n == 0, -comparison.difference))


def _signed_rank(differences: NDArray[np.float64]) -> float:
    from scipy.stats import PermutationMethod, wilcoxon

    if not differences.any():
        return 1.0
    exact = PermutationMethod(n_resamples=2**_ENUMERABLE) if len(differences) <= _ENUMERABLE else "auto"
    return float(wilcoxon(differences, zero_method="zsplit", method=exact).pvalue)


def student_interval(values: NDArray[Any]) -> tuple[float, float]:
    """Student's 95 % interval of the mean; NaN below two values."""
    from scipy.stats import sem, t

    if len(values) < 2:
        return math.nan, math.nan
    middle, reach = values.mean(), t.ppf(0.975, len(values) - 1) * sem(values)
    return float(middle - reach), float(middle + reach)


def rank_biserial(differences: ArrayLike) -> float:
    """(R+ - R-) / (R+ + R-) of the signed ranks, in -1..1; ranks of zeros are split evenly; 0 if all are zero."""
    from scipy.stats import rankdata

    values = np.asarray(differences, dtype=np.float64)
    ranks = rankdata(np.abs(values))
    return float((ranks * np.sign(values)).sum() / ranks.sum()) if values.any() else 0.0


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction."""
    if len(p_values) < 2:
        return list(p_values)
    multipletests = _imported("statsmodels.stats.multitest").multipletests
    return [float(p) for p in multipletests(p_values, method="holm")[1]]


@dataclass(frozen=True)
class DocumentComparison:
    """Micro F1 of two models on the same documents.

    Attributes:
        first, second: Their micro F1.
        difference: first - second.
        low, high: Limits of the 95 % bootstrap interval of the difference.
        p: Two-sided p-value of the paired permutation test.
    """

    first: float
    second: float
    difference: float
    low: float
    high: float
    p: float


def compare_over_documents(
    targets: ArrayLike, first: ArrayLike, second: ArrayLike, resamples: int = 9999, seed: int = 0
) -> DocumentComparison:
    """Paired bootstrap (percentiles) and paired permutation of micro F1 between two sets of predictions.

    Args:
        targets: (n_documents, n_labels) of 0 and 1.
        first: Predictions of one model, as 0 and 1.
        second: Of the other.
        resamples: Of both procedures; the smallest p is 2 / (resamples + 1), or 2 / 2^n for few documents.
        seed: Of both.

    Raises:
        DataError: If shapes differ, values are not 0 or 1, or there are fewer than 2 documents.
    """
    from scipy.stats import bootstrap, permutation_test

    truth, one, other = _binary(targets, first, second)
    if len(truth) < 2:
        raise DataError(f"documents can be resampled from 2 on; got {len(truth)}")
    counts = np.concatenate([_counts(truth, one), _counts(truth, other)])  # (2 n, 2): the first's rows, the second's
    n = len(truth)
    codes = np.arange(n), np.arange(n, 2 * n)

    def difference(a: NDArray[np.int64], b: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return _micro_f1(counts[a], axis) - _micro_f1(counts[b], axis)

    observed = float(difference(*codes))
    batch = max(1, 2_000_000 // n)
    interval = bootstrap(
        codes, difference, paired=True, vectorized=True, n_resamples=resamples, batch=batch, method="percentile",
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    p = permutation_test(
        codes, difference, permutation_type="samples", vectorized=True, n_resamples=resamples, batch=batch,
        rng=np.random.default_rng(seed),
    ).pvalue  # fmt: skip
    return DocumentComparison(
        float(_micro_f1(counts[codes[0]], -1)), float(_micro_f1(counts[codes[1]], -1)), observed,
        float(interval.low), float(interval.high), float(p),
    )  # fmt: skip


@dataclass(frozen=True)
class LabelComparison:
    """McNemar's exact test of one label: documents that only one of two models gets right.

    Attributes:
        label: Its name.
        only_first: Documents that only the first model gets right.
        only_second: Documents that only the second gets right.
        p: Two-sided p-value.
        p_holm: The same, corrected for the number of labels.
    """

    label: str
    only_first: int
    only_second: int
    p: float
    p_holm: float


def compare_labels(
    targets: ArrayLike, first: ArrayLike, second: ArrayLike, labels: Sequence[str]
) -> list[LabelComparison]:
    """McNemar's test a label, in column order; arguments as :func:`compare_over_documents`.

    Raises:
        DataError: If shapes differ, values are not 0 or 1, or the number of names is wrong.
    """
    mcnemar = _imported("statsmodels.stats.contingency_tables").mcnemar
    truth, one, other = _binary(targets, first, second)
    if len(labels) != truth.shape[1]:
        raise DataError(f"there must be a name for each of {truth.shape[1]} labels; got {len(labels)}")
    right, other_right = one == truth, other == truth
    only_first = (right & ~other_right).sum(axis=0)
    only_second = (~right & other_right).sum(axis=0)
    p_values = [
        float(mcnemar([[0, a], [b, 0]], exact=True).pvalue) for a, b in zip(only_first, only_second, strict=True)
    ]
    return [
        LabelComparison(*line)
        for line in zip(labels, only_first.tolist(), only_second.tolist(), p_values, holm(p_values), strict=True)
    ]


@dataclass(frozen=True)
class CorpusComparison:
    """Methods ranked over independent corpora.

    Attributes:
        ranks: Method -> mean rank; 1 is best.
        p: Friedman's p-value (chi-squared, corrected for ties).
        critical_difference: Mean ranks at least so far apart differ at the 5 % level (Nemenyi).
        nemenyi: (methods, methods) p-values of each pair.
    """

    ranks: dict[str, float]
    p: float
    critical_difference: float
    nemenyi: pd.DataFrame


def compare_over_corpora(scores: pd.DataFrame, level: float = 0.05) -> CorpusComparison:
    """Friedman's test with Nemenyi's as its follow-up.

    Args:
        scores: A row a corpus (index: its protocol's name, or (protocol, size)), a column a method; higher is better.
        level: Of significance, for the critical difference.

    Raises:
        DataError: If two rows come from one corpus, a cell is missing, or there are fewer than 3 methods or corpora.
    """
    from scipy.stats import friedmanchisquare, studentized_range

    _check_independent([name if isinstance(name, tuple) else (name,) for name in scores.index])
    n, k = scores.shape
    if n < 3 or k < 3:
        raise DataError(f"Friedman's test wants at least 3 corpora and 3 methods; got {n} and {k}")
    if scores.isna().any(axis=None):
        raise DataError("Friedman's test wants a score of every method on every corpus; some are missing")
    posthocs = _imported("scikit_posthocs")
    ranks = scores.rank(axis=1, ascending=False).mean()
    quantile = float(studentized_range.ppf(1 - level, k, np.inf)) / math.sqrt(2)
    return CorpusComparison(
        {str(method): float(rank) for method, rank in ranks.items()},
        float(friedmanchisquare(*(scores[method] for method in scores)).pvalue),
        quantile * math.sqrt(k * (k + 1) / (6 * n)),
        posthocs.posthoc_nemenyi_friedman(scores.to_numpy()).set_axis(scores.columns).set_axis(scores.columns, axis=1),
    )


def _imported(module: str) -> Any:
    """A module of the ``statistics`` extra."""
    try:
        return import_module(module)
    except ImportError:
        raise UnavailableError(
            "this test needs statsmodels and scikit-posthocs: pip install 'kdh-ray[statistics]'"
        ) from None


def _check_independent(names: Sequence[tuple[object, ...]]) -> None:
    sources: dict[str, str] = {}
    for name in names:
        protocol = str(name[0])
        # Every hoc protocol and size samples the same abstracts.
        source = "hoc" if protocol == "hoc" or protocol.startswith("hoc-") else protocol
        shown = " ".join(map(str, name))
        if source in sources:
            raise DataError(
                f"{sources[source]!r} and {shown!r} are samples of one corpus, so they are not independent, and "
                "Friedman's test over them would claim more than the data can tell; compare methods over seeds instead"
            )
        sources[source] = shown


def _binary(*arrays: ArrayLike) -> list[NDArray[np.int8]]:
    found = [np.asarray(array) for array in arrays]
    if any(array.ndim != 2 or array.shape != found[0].shape for array in found):
        raise DataError(
            "targets and predictions must all be (n_documents, n_labels); got "
            + ", ".join(str(array.shape) for array in found)
        )
    if any(not np.isin(array, (0, 1)).all() for array in found):
        raise DataError("targets and predictions must be 0 or 1; got other values (probabilities?)")
    return [array.astype(np.int8) for array in found]


def _counts(truth: NDArray[np.int8], predicted: NDArray[np.int8]) -> NDArray[np.int64]:
    """(n_documents, 2): twice the right predictions, and predictions plus labels; micro F1 is the ratio of sums."""
    right = (truth & predicted).sum(axis=1, dtype=np.int64)
    return np.stack([2 * right, truth.sum(axis=1, dtype=np.int64) + predicted.sum(axis=1, dtype=np.int64)], axis=1)


def _micro_f1(counts: NDArray[np.int64], axis: int) -> NDArray[np.float64]:
    """Micro F1 over the documents along ``axis`` of an index array that picked ``counts``."""
    sums = counts.sum(axis=axis - 1 if axis < 0 else axis)
    return np.asarray(sums[..., 0] / np.maximum(sums[..., 1], 1))
