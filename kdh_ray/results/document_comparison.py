"""Methods compared document by document: the saved predictions of two models on one test split."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from kdh_ray.results.saved_predictions import Predicted, load_predictions
from kdh_ray.results.tables import NothingToCompareError, is_repeated, repetitions, within_pairs

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05
_PLACE = ("protocol", "size", "seed")


def by_document(frame: pd.DataFrame, reference: str, *folders: str | os.PathLike[str]) -> pd.DataFrame:
    """Every method against ``reference``, over the test documents of each protocol, size and seed, in each pair of
    encoders by itself (see ``tables.within_pairs``).

    Args:
        frame: From ``load_runs``.
        reference: A method, as tables call it.
        folders: Where the runs are; local ones.

    Returns:
        pair (where there are several), protocol, size, seed, method, reference, ``difference`` of micro F1 (as a
        fraction), ``low`` and ``high`` (95 % paired bootstrap), ``p`` (paired permutation), ``p_holm`` (the same,
        corrected for the methods of one protocol, size and seed), and ``labels`` on which McNemar's test with Holm's
        correction tells the two apart at the 5 % level. Thresholds are those tuned on validation.

    Raises:
        DataError: If no seed has predictions of the reference and of another method; says why.
    """
    return within_pairs(lambda rows: _by_document(rows, reference, *folders), frame, reference)


def _by_document(frame: pd.DataFrame, reference: str, *folders: str | os.PathLike[str]) -> pd.DataFrame:
    import pandas as pd

    from kdh_ray.evaluation.statistics import holm

    again = repetitions(frame)
    frame = frame[~is_repeated(frame)]
    predicted, reasons = load_predictions(frame, *folders)
    rows = pd.DataFrame(
        [
            {**place, "shown": predicted[key].name, "key": key}
            for key, place in _places(frame).items()
            if key in predicted
        ],
        columns=[*_PLACE, "shown", "key"],
    )
    lines = []
    for place, group in rows.groupby(list(_PLACE), sort=False, dropna=False):
        models = {name: predicted[key] for name, key in zip(group["shown"], group["key"], strict=True)}
        if reference not in models:
            continue
        others = [name for name in models if name != reference]
        found = [_compare(models[name], models[reference]) for name in others]
        corrected = holm([each["p"] for each in found])
        for name, each, p_holm in zip(others, found, corrected, strict=True):
            line = {**dict(zip(_PLACE, place, strict=True)), "method": name, "reference": reference}
            labels = each.pop("labels")
            lines.append({**line, **each, "p_holm": p_holm, "labels": labels})
    if not lines:
        why = f" ({'; '.join(reasons)})" if reasons else ""
        raise NothingToCompareError(f"no seed has saved predictions of {reference!r} and of another method{why}")
    table = pd.DataFrame(lines)
    table.attrs["caption"] = (
        "difference: of test micro F1, as a fraction; low, high: 95 % paired bootstrap over documents;"
        " p: paired permutation; p_holm: corrected after Holm for the methods of one protocol, size and seed;"
        " labels: told apart by McNemar's test at the 5 % level, Holm over labels"
    )
    table.attrs["note"] = "; ".join([*again, *reasons])
    return table


def _places(frame: pd.DataFrame) -> dict[tuple[str, str], dict[str, Any]]:
    """Run id and stage of a row to its protocol, size and seed."""
    return {
        (str(row["run_id"]), str(row["stage"])): {name: row[name] for name in _PLACE}
        for row in frame.reindex(columns=["run_id", "stage", *_PLACE]).to_dict("records")
    }


def _compare(first: Predicted, second: Predicted) -> dict[str, Any]:
    from kdh_ray.evaluation.statistics import compare_labels, compare_over_documents

    over = compare_over_documents(first.targets, first.labels, second.labels)
    labels = compare_labels(first.targets, first.labels, second.labels, first.label_names)
    telling = ", ".join(line.label for line in labels if line.p_holm < LEVEL)
    return {"difference": over.difference, "low": over.low, "high": over.high, "p": over.p, "labels": telling or "none"}
