"""Problems with a known optimum: BBOB and BBOB-mixint (`coco-experiment`), tables of `tables.py`, replayed trials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.searchers.tables import GRIDS, ORDERED
from searchers import Categorical, Float, Integer, Ordinal, Space
from searchers.parameters import plain


@dataclass(frozen=True)
class Problem:
    """A function of a configuration to minimise.

    Attributes:
        name: Name of the problem.
        space: Its search space.
        function: The function.
        best: Its minimum.
        typical: Its median over random configurations.
    """

    name: str
    space: Space
    function: Callable[[dict[str, Any]], float]
    best: float
    typical: float

    def regret(self, value: float) -> float:
        """Return the regret of a value: 0 at the minimum, 1 at the median of random configurations."""
        return (value - self.best) / (self.typical - self.best)


def _typical(space: Space, function: Callable[[dict[str, Any]], float]) -> float:
    rng = np.random.default_rng(0)
    draws = [function(space.decode(space.from_uniform(rng.random(space.n_parameters)))) for _ in range(1000)]
    return float(np.median(draws))


@cache
def bbob(function: int, dimension: int, instance: int, suite: str = "bbob") -> Problem:
    """Return a function of a suite over its own box; integer variables of bbob-mixint are `Integer`."""
    import cocoex

    loaded = cocoex.Suite(suite, "", f"dimensions:{dimension} function_indices:{function} instance_indices:{instance}")
    problem = loaded.get_problem(0)
    n_integers = problem.number_of_integer_variables
    bounds = list(zip(problem.lower_bounds, problem.upper_bounds, strict=True))
    space = Space(
        {
            f"x{i}": Integer(round(low), round(high)) if i < n_integers else Float(float(low), float(high))
            for i, (low, high) in enumerate(bounds)
        }
    )

    # ``_keep`` holds the suite, so that it lives as long as its problem is used.
    def evaluate(config: dict[str, Any], _keep: Any = loaded) -> float:
        return float(problem([config[f"x{i}"] for i in range(dimension)]))

    best = float(problem(_optimum(problem)))
    return Problem(problem.id, space, evaluate, best, _typical(space, evaluate))


def _optimum(problem: Any) -> Any:
    """Return the position of a problem's optimum, which the suite writes to a file in the working folder."""
    import os
    import tempfile

    here = os.getcwd()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        try:
            problem._best_parameter("print")
            (written,) = Path(folder).iterdir()
            return np.loadtxt(written).reshape(-1)
        finally:
            os.chdir(here)


@cache
def table(name: str, folder: str) -> Problem:
    """Return the table ``name`` of `benchmarks.searchers.tables` in ``folder``."""
    # An axis per setting of the grid, in its order.
    errors = np.load(Path(folder) / f"{name}.npy")
    grid = GRIDS[name.partition("-")[0]]
    space = Space({key: (Ordinal if key in ORDERED else Categorical)(values) for key, values in grid.items()})
    indices = {key: {repr(plain(value)): i for i, value in enumerate(values)} for key, values in grid.items()}

    def evaluate(config: dict[str, Any]) -> float:
        return float(errors[tuple(indices[key][repr(config[key])] for key in grid)])

    return Problem(name, space, evaluate, float(errors.min()), float(np.median(errors)))


@cache
def trials(file: str) -> Problem:
    """Return a replay of real trials: a table of ``benchmarks.collect_trials``, with 1 - score as the value.

    Raises:
        ValueError: If the table lacks a configuration of its grid.
    """
    import pandas as pd

    frame = pd.read_parquet(file)
    names = [name for name in map(str, frame) if name.startswith("config_")]
    grid = {name.removeprefix("config_"): sorted(frame[name].unique().tolist()) for name in names}
    size = int(np.prod([len(values) for values in grid.values()]))
    if len(frame) != size:
        raise ValueError(f"{file}: the grid has {size} configurations; the table holds {len(frame)}")
    space = Space(
        {key: Categorical(values) if isinstance(values[0], str) else Ordinal(values) for key, values in grid.items()}
    )
    errors = {
        tuple(key): 1.0 - score
        for key, score in zip(frame[names].itertuples(index=False, name=None), frame["score"], strict=True)
    }

    def evaluate(config: dict[str, Any]) -> float:
        return float(errors[tuple(config[key] for key in grid)])

    values = np.array(list(errors.values()))
    return Problem(Path(file).stem, space, evaluate, float(values.min()), float(np.median(values)))
