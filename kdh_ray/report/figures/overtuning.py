"""Figure of what a search's choice owes to luck: the score it was chosen by against the score on other documents."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError
from kdh_ray.report.figures.drawing import Plot, canvas, figure, legend, look
from kdh_ray.results.method_rows import STUDENT
from kdh_ray.results.search_trials import shared_objective, trial_rows

if TYPE_CHECKING:
    import pandas as pd


@figure("overtuning", "What the choice owes to luck")
def overtuning(frame: pd.DataFrame) -> Plot:
    """Draw the score of the best trial so far, on the documents that chose it and corrected for having been chosen."""
    import pandas as pd

    objective = shared_objective(trial_rows(frame))
    rows = frame[(frame["kind"] == STUDENT) & frame["search_overtuning"].notna()]
    if rows.empty:
        raise DataError("no search has the validation predictions of all its finished trials")
    last = rows.iloc[-1]["search_overtuning"]  # of several searches, the last
    pairs = json.loads(last) if isinstance(last, str) else last
    table = pd.DataFrame(pairs, columns=["score", "corrected"]) * objective.scale
    table.insert(0, "finished trials", range(1, len(table) + 1))
    drawing, (axes,) = canvas(2.6)
    labels = {"score": "on those that chose it", "corrected": "on documents left out"}
    for index, (name, label) in enumerate(labels.items()):
        axes.plot(table["finished trials"], table[name], label=label, **look(index))
    axes.set_xlabel("finished trials")
    axes.set_ylabel(f"validation {objective.title}{objective.unit}")
    axes.margins(x=0.08)
    axes.locator_params(axis="x", integer=True)
    legend(drawing, axes)
    end = table.iloc[-1]
    score, corrected = (end[name] / objective.scale for name in ("score", "corrected"))
    text = (
        f"The best of {len(table)} finished trials has validation {objective.title} {objective.with_unit(score)} on the"
        f" documents that chose it, and {objective.with_unit(corrected)} on average over documents that a resample left"
        " out, where each resample chooses its own best. F1 is at the best of 48 thresholds, so it may lie below what"
        " trials reported. With one trial the gap is what the choice of its threshold owes to luck; what is added later"
        " is overtuning."
    )
    return Plot(text, table, drawing)
