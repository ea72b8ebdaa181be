"""Scores and costs that a search may optimise: their names, which way is better, and how they are shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Objective:
    """A validation score that a search optimises.

    Attributes:
        name: As ``tune.objective`` has it.
        title: As tables and figures show it.
        metric: Its key in ``kdh_ray.evaluation.metrics.score``.
        mode: ``max`` if more is better, ``min`` if less is.
    """

    name: str
    title: str
    metric: str
    mode: Literal["max", "min"] = "max"

    @property
    def column(self) -> str:
        """Name of the score in a trial's results and in its row."""
        return f"validation_{self.metric}"

    @property
    def sign(self) -> float:
        """1, or -1 where less is better: times it, more is better for every score."""
        return 1.0 if self.mode == "max" else -1.0

    @property
    def scale(self) -> float:
        """100 for shares, which are shown in %, and 1 for a loss."""
        return 100.0 if self.mode == "max" else 1.0

    @property
    def unit(self) -> str:
        """Unit of shown scores, as the end of a title."""
        return " in %" if self.mode == "max" else ""

    def text(self, score: float) -> str:
        """Return a score as it is shown: ``81.3`` (%), or ``0.251`` for a loss."""
        return f"{100 * score:.1f}" if self.mode == "max" else f"{score:.3f}"

    def with_unit(self, score: float) -> str:
        """Return a score as it is shown in a sentence: ``81.3 %``, or ``0.251`` for a loss."""
        return f"{self.text(score)} %" if self.mode == "max" else self.text(score)

    def difference(self, gain: float) -> str:
        """Return a gain as it is shown: ``+0.4 points`` of a share, or ``+0.004`` by which a loss is smaller."""
        return f"{100 * gain:+.1f} points" if self.mode == "max" else f"{gain:+.3f}"

    def of_infeasible(self, excess: float) -> float:
        """Return the score of a configuration that exceeds a limit by ``excess``, for searchers that see scores only.

        It is worse than any other score, and worse the larger ``excess`` is. Shares are at least 0. A loss counts as
        no larger than 1 where it matters: a model that gives every label one half has ln 2, about 0.69.
        """
        return -excess if self.mode == "max" else 1.0 + excess


MICRO_F1 = Objective("f1_micro", "micro F1", "f1_micro")
OBJECTIVES = {
    objective.name: objective
    for objective in (
        MICRO_F1,
        Objective("f1_macro", "macro F1", "f1_macro"),
        Objective("average_precision", "average precision", "average_precision_micro"),
        Objective("log_loss", "log loss", "log_loss", "min"),
    )
}
"""Objectives by name."""


@dataclass(frozen=True)
class Cost:
    """A cost of a student that a search optimises next to its score; less is better.

    Attributes:
        name: As ``tune.objective`` has it, and the column in a trial's row.
        title: As tables and figures show it.
        unit: Unit of shown values.
    """

    name: Literal["parameters", "latency_ms"]
    title: str
    unit: str = ""
    mode: Literal["min"] = "min"

    @property
    def column(self) -> str:
        """Name of the cost in a trial's results and in its row."""
        return self.name

    @property
    def sign(self) -> float:
        """-1: times it, more is better."""
        return -1.0

    def text(self, value: float) -> str:
        """Return a cost as it is shown: ``22.6 M``, or ``3.52``."""
        return f"{value / 1e6:.1f} M" if self.name == "parameters" else f"{value:.3g}"

    def with_unit(self, value: float) -> str:
        """Return a cost as it is shown in a sentence: ``22.6 M parameters``, or ``3.52 ms``."""
        return f"{self.text(value)} {self.unit}"


COSTS: dict[str, Cost] = {
    cost.name: cost
    for cost in (
        Cost("parameters", "parameters", "parameters"),
        Cost("latency_ms", "latency of a document in ms", "ms a document"),
    )
}
"""Costs by name."""


def objective_named(name: str) -> Objective | Cost:
    """Return the score or cost that ``tune.objective`` calls ``name``."""
    return OBJECTIVES[name] if name in OBJECTIVES else COSTS[name]
