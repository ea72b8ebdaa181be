"""Train every configuration of a finite search space once, so that searchers can be compared by replay.

    python -m benchmarks.train_grid CONFIG --out RUN [--set SECTION.KEY=VALUE]

CONFIG is an ordinary configuration whose ``tune.space`` has only choices. The trials form an ordinary search in RUN, in
a seeded random order. Called again, the script resumes the search. ``benchmarks.collect_trials`` makes a table of the
trials.
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
    """Return the product of all choices, shuffled, so that its beginning is a fair sample of it.

    Raises:
        ValueError: If a setting has a range instead of choices.
    """
    ranges = [name for name, entry in space.items() if entry.choices is None]
    if ranges:
        raise ValueError(f"every setting of a grid must have choices; got ranges: {', '.join(ranges)}")
    axes = [entry.choices or () for entry in space.values()]
    points = [dict(zip(space, values, strict=True)) for values in itertools.product(*axes)]
    random.Random(seed).shuffle(points)
    return points


def main() -> None:
    """Search the whole grid."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", type=Path, help="configuration with a grid as tune.space")
    parser.add_argument("--out", type=Path, required=True, help="folder of the search")
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE", help="change a setting")
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
