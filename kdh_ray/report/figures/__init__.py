"""Figures of result rows: each a function from a frame of ``load_runs`` to a drawing, its words and its data.

>>> from kdh_ray.report.figures import by_method
>>> by_method(load_runs("runs")).svg()
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kdh_ray.errors import UserError
from kdh_ray.report.figures.drawing import Figure, Maker
from kdh_ray.report.figures.efficiency import cost, pareto
from kdh_ray.report.figures.particles import swarm, workers
from kdh_ray.report.figures.reliability import calibration
from kdh_ray.report.figures.scores import ablation, by_method, by_size, labels, ranks
from kdh_ray.report.figures.search import convergence, importance, parallel_coordinates, regret

__all__ = [
    "Figure", "LeftOut", "Maker", "ablation", "attempt", "by_method", "by_size", "calibration", "convergence", "cost",
    "importance", "labels", "parallel_coordinates", "pareto", "ranks", "regret", "swarm", "workers",
]  # fmt: skip

SCORES = (by_method, by_size, labels, cost)
SEARCH = (convergence, importance, parallel_coordinates, swarm, pareto, workers)


@dataclass(frozen=True)
class LeftOut:
    """What is not shown, and why."""

    title: str
    reason: str


def attempt(makers: Iterable[Maker], rows: Any) -> tuple[list[Figure], list[LeftOut]]:
    """The figures that the rows have the material for, and the others with what they lack."""
    made: list[Figure] = []
    left: list[LeftOut] = []
    for maker in makers:
        try:
            made.append(maker(rows))
        except UserError as error:
            left.append(LeftOut(maker.title, str(error)))
    return made, left
