"""Figures of result rows: each a function from a frame of ``load_runs`` to a drawing, a text alternative and data.

>>> from kdh_ray.report.figures import by_method
>>> by_method(load_runs("runs")).svg()
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from kdh_ray.errors import UserError
from kdh_ray.report.figures.convergence import convergence, regret
from kdh_ray.report.figures.drawing import Figure, Maker
from kdh_ray.report.figures.fronts import front
from kdh_ray.report.figures.overtuning import overtuning
from kdh_ray.report.figures.particles import swarm, workers
from kdh_ray.report.figures.reliability import calibration
from kdh_ray.report.figures.score_against_cost import cost, pareto
from kdh_ray.report.figures.scores import ablation, by_method, by_size, labels, ranks
from kdh_ray.report.figures.searched_settings import importance, parallel_coordinates

__all__ = [
    "Figure", "LeftOut", "Maker", "ablation", "attempt", "by_method", "by_size", "calibration", "convergence", "cost",
    "front", "importance", "labels", "overtuning", "parallel_coordinates", "pareto", "ranks", "regret", "swarm",
    "workers",
]  # fmt: skip

SCORE_FIGURES = (by_method, by_size, labels, cost)
SEARCH_FIGURES = (convergence, overtuning, importance, parallel_coordinates, swarm, pareto, workers)


@dataclass(frozen=True)
class LeftOut:
    """Title of a figure or table that is not shown, and the reason."""

    title: str
    reason: str


def attempt(makers: Iterable[Maker], rows: Any) -> tuple[list[Figure], list[LeftOut]]:
    """Draw the figures that the rows allow, and return the others with the reason why they can't be drawn."""
    made: list[Figure] = []
    left_out: list[LeftOut] = []
    for maker in makers:
        try:
            made.append(maker(rows))
        except UserError as error:
            left_out.append(LeftOut(maker.title, str(error)))
    return made, left_out
