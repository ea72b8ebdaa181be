"""Comparison of methods document by document, from the saved predictions of two models on one test split."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kdh_ray.results.method_rows import is_repeated
from kdh_ray.results.notes import repetitions
from kdh_ray.results.saved_predictions import Key, StagePrediction, load_predictions
from kdh_ray.results.tables import NothingToCompareError, within_pairs

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05  # of McNemar's test of a label
_COMPARED_WITHIN = ("protocol", "size", "seed")


def by_document(frame: pd.DataFrame, reference: str, *folders: str | os.PathLike[str]) -> pd.DataFrame:
    """Compare every method with ``reference`` over the test documents of each protocol, size and seed.

    Each pair of encoders is compared by itself (see ``tables.within_pairs``). Thresholds are those tuned on validation.

    Args:
        frame: From ``load_runs``.
        reference: A method, as tables name it.
        folders: Local folders of the runs.

    Returns:
        ``pair`` (where there are several), ``protocol``, ``size``, ``seed``, ``method``, ``reference``, ``difference``
        of micro F1 (a fraction), ``low`` and ``high`` (95 % paired bootstrap), ``p`` (paired permutation), ``p_holm``
        (the same, corrected after Holm for the methods of one protocol, size and seed), and ``labels`` on which
        McNemar's test with Holm's correction finds a difference at the 5 % level.

    Raises:
        DataError: If no seed has predictions of the reference and of another method; says why.
    """
    return within_pairs(lambda rows: _by_document(rows, reference, *folders), frame, reference)


def _by_document(frame: pd.DataFrame, reference: str, *folders: str | os.PathLike[str]) -> pd.DataFrame:
    import pandas as pd

    notes = repetitions(frame)
    frame = frame[~is_repeated(frame)]
    predictions, reasons = load_predictions(frame, *folders)
    keys = list(zip(frame["run_id"].astype(str), frame["stage"].astype(str), strict=True))
    rows = pd.DataFrame({**frame[list(_COMPARED_WITHIN)], "key": keys})
    rows = rows[[key in predictions for key in keys]]
    lines = []
    for settings_of_group, group in rows.groupby(list(_COMPARED_WITHIN), sort=False, dropna=False):
        about = dict(zip(_COMPARED_WITHIN, settings_of_group, strict=True))
        lines += [about | line for line in _compare_all(group["key"].tolist(), predictions, reference)]
    if not lines:
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise NothingToCompareError(f"no seed has saved predictions of {reference!r} and of another method{why}")
    table = pd.DataFrame(lines)
    table.attrs["caption"] = (
        "difference: of test micro F1, as a fraction; low, high: 95 % paired bootstrap over documents;"
        " p: paired permutation; p_holm: corrected after Holm for the methods of one protocol, size and seed;"
        " labels: told apart by McNemar's test at the 5 % level, Holm over labels"
    )
    table.attrs["note"] = "; ".join([*notes, *reasons])
    return table


def _compare_all(keys: list[Key], predictions: dict[Key, StagePrediction], reference: str) -> list[dict[str, Any]]:
    """Compare the models of one protocol, size and seed with the reference; no lines without the reference."""
    from kdh_ray.evaluation.statistics import holm

    models = {predictions[key].name: predictions[key] for key in keys}
    if reference not in models:
        return []
    others = [name for name in models if name != reference]
    comparisons = [_compare(models[name], models[reference]) for name in others]
    # Holm's correction is over the methods of one protocol, size and seed; each seed has test results of its own.
    corrected = holm([comparison["p"] for comparison in comparisons])
    lines = []
    for name, comparison, p_holm in zip(others, comparisons, corrected, strict=True):
        labels = comparison.pop("labels")
        lines.append({"method": name, "reference": reference, **comparison, "p_holm": p_holm, "labels": labels})
    return lines


def _compare(first: StagePrediction, second: StagePrediction) -> dict[str, Any]:
    """Compare two models over the same documents: the difference is first less second."""
    from kdh_ray.evaluation.document_statistics import compare_labels, compare_over_documents

    whole = compare_over_documents(first.targets, first.labels, second.labels)
    by_label = compare_labels(first.targets, first.labels, second.labels, first.label_names)
    different = ", ".join(line.label for line in by_label if line.p_holm < LEVEL)
    return {
        "difference": whole.difference,
        "low": whole.low,
        "high": whole.high,
        "p": whole.p,
        "labels": different or "none",
    }
