"""Train every configuration of a finite search space once, so that searchers can be compared on a replay.

    python -m benchmarks.train_grid CONFIG --out RUN [--set SECTION.KEY=VALUE]

CONFIG is an ordinary configuration whose ``tune.space`` holds choices alone. The trials are an ordinary search in RUN,
in a seeded order; called again, it goes on where it stopped. ``benchmarks.collect_trials`` makes a table of them.
"""

from __future__ import annotations

import argparse
import itertools
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdh_ray.config import SearchRange, load_config
from kdh_ray.jobs.stage_search import search
from kdh_ray.jobs.stage_search.space import search_space
from searchers.factory import make_searcher


def every_point(space: Mapping[str, SearchRange], seed: int = 0) -> list[dict[str, Any]]:
    """The product of all choices, shuffled, so that the first of them are a fair sample.

    Raises:
        ValueError: If a setting has a range instead of choices.
    """
    ranges = [name for name, entry in space.items() if entry.choices is None]
    if ranges:
        raise ValueError(f"a grid has choices for every setting; ranges: {', '.join(ranges)}")
    axes = [entry.choices or () for entry in space.values()]
    points = [dict(zip(space, values, strict=True)) for values in itertools.product(*axes)]
    random.Random(seed).shuffle(points)
    return points


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    arguments = parser.parse_args()
    points = every_point(search_space(load_config(arguments.config, arguments.set)))
    config = load_config(arguments.config, [*arguments.set, f"tune.trials={len(points)}"])
    searcher = make_searcher("random", seed=config.seed, points_to_evaluate=points)
    search(
        config, arguments.out, searcher=searcher, resume=True, local=True,
        on_trial=lambda trial: trial.ended and print(f"{trial.number}/{len(points)}: {trial.score}", flush=True),
    )  # fmt: skip


if __name__ == "__main__":
    main()
