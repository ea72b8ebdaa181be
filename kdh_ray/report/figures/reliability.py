"""Figure of calibration: predicted probabilities against observed shares on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.report.figures.drawing import MUTED, Plot, canvas, figure, legend, look

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from kdh_ray.results.saved_predictions import StagePrediction

BINS = 10
MOST_DRAWN = 5  # methods


@figure("calibration", "Calibration of probabilities on the test split")
def calibration(predictions: Sequence[StagePrediction]) -> Plot:
    """Draw the share of right labels against their predicted probability, over all pairs of document and label.

    The text gives the expected calibration error, sum over bins b of n_b / n * |predicted_b - observed_b|.

    Args:
        predictions: Test predictions, those of the most important method first. Several of one name (its seeds) are
            pooled.
    """
    import numpy as np
    import pandas as pd

    methods = list(dict.fromkeys(each.name for each in predictions))
    names = methods[:MOST_DRAWN]
    if not names:
        raise DataError("no predictions are saved next to the rows (stages/NAME/predictions)")
    drawing, (axes,) = canvas(3.0 + 0.15 * len(names))
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    parts = []
    errors = {}
    for index, name in enumerate(names):
        own = [each for each in predictions if each.name == name]
        truth = np.concatenate([each.targets.ravel() for each in own])  # (n_seeds * n_documents * n_labels,)
        probabilities = np.concatenate([each.probabilities.ravel() for each in own])
        line = reliability(truth, probabilities)
        errors[name] = float((line["pairs"] * (line["predicted"] - line["observed"]).abs()).sum() / line["pairs"].sum())
        axes.plot(line["predicted"], line["observed"], label=name, **look(index))
        parts.append(line.assign(method=name))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted probability", ylabel="share that have the label")
    legend(drawing, axes)
    shown = "; ".join(f"{name} {error:.3f}" for name, error in errors.items())
    text = (
        f"Expected calibration error over {BINS} equal bins: {shown}. On the dashed diagonal, 70 % of the labels that"
        " were given a probability of 0.7 are right; below it, probabilities are too high."
    )
    if len(methods) > MOST_DRAWN:
        text += f" The {MOST_DRAWN} best of {len(methods)} methods are drawn."
    return Plot(text, pd.concat(parts)[["method", "predicted", "observed", "pairs"]].reset_index(drop=True), drawing)


def reliability(truth: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any], bins: int = BINS) -> pd.DataFrame:
    """Return a reliability diagram as a table, a line per bin of equal width that is not empty.

    Args:
        truth: (n,) of 0 and 1.
        probabilities: (n,) in 0..1.
        bins: Number of bins.

    Returns:
        ``predicted`` (mean probability), ``observed`` (share of ones) and ``pairs`` (number of values).
    """
    import numpy as np
    import pandas as pd

    number = np.minimum((probabilities * bins).astype(int), bins - 1)  # (n,) bin; 1.0 belongs to the last one
    groups = pd.DataFrame({"predicted": probabilities, "observed": truth}).groupby(number)
    return groups.mean().assign(pairs=groups.size()).reset_index(drop=True)
