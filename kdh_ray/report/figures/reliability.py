"""Whether probabilities mean what they say: reliability on the test split."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from kdh_ray.errors import DataError
from kdh_ray.report.figures.drawing import MUTED, Plot, canvas, figure, legend, look

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from kdh_ray.results.saved_predictions import Predicted

BINS = 10
MOST = 5


@figure("calibration", "Calibration of probabilities on the test split")
def calibration(predicted: Sequence[Predicted]) -> Plot:
    """Share of right labels against their predicted probability, over all pairs of document and label.

    Args:
        predicted: Predictions with the truth, the most important first; several of one name (its seeds) are pooled.
    """
    import numpy as np
    import pandas as pd

    everyone = list(dict.fromkeys(each.name for each in predicted))
    names = everyone[:MOST]
    if not names:
        raise DataError("no predictions lie beside the rows (stages/NAME/predictions)")
    drawing, (axes,) = canvas(3.0 + 0.15 * len(names))
    axes.plot([0, 1], [0, 1], color=MUTED, linestyle="--", linewidth=1)
    parts, errors = [], {}
    for index, name in enumerate(names):
        own = [each for each in predicted if each.name == name]
        truth, probabilities = (
            np.concatenate([getattr(each, what).ravel() for each in own]) for what in ("targets", "probabilities")
        )
        line = reliability(truth, probabilities)
        errors[name] = float((line["pairs"] * (line["predicted"] - line["observed"]).abs()).sum() / line["pairs"].sum())
        axes.plot(line["predicted"], line["observed"], label=name, **look(index))
        parts.append(line.assign(method=name))
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="predicted probability", ylabel="share that have the label")
    legend(drawing, axes)
    shown = "; ".join(f"{name} {error:.3f}" for name, error in errors.items())
    text = (
        f"Expected calibration error over {BINS} equal bins: {shown}. On the dashed diagonal, of all pairs of document"
        " and label given a probability of 0.7, 70 % are right; below it, probabilities are too high."
    )
    if len(everyone) > MOST:
        text += f" The {MOST} best of {len(everyone)} methods are drawn."
    return Plot(text, pd.concat(parts)[["method", "predicted", "observed", "pairs"]].reset_index(drop=True), drawing)


def reliability(truth: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any], bins: int = BINS) -> pd.DataFrame:
    """A line a bin of equal width that holds anything: mean ``predicted``, ``observed`` share, number of ``pairs``.

    Args:
        truth: (n,) of 0 and 1.
        probabilities: (n,) in 0..1.
        bins: How many.
    """
    import numpy as np
    import pandas as pd

    number = np.minimum((probabilities * bins).astype(int), bins - 1)
    groups = pd.DataFrame({"predicted": probabilities, "observed": truth}).groupby(number)
    return groups.mean().assign(pairs=groups.size()).reset_index(drop=True)
