"""Peers to compare the swarm with, under Ray Tune's contract and one factory: `make_searcher`.

Each peer of `searchers.peers` is driven through `searchers.ask_tell_search`, so that ids, failures, NaN and Tune's
contract are handled alike and what is compared is the search.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from searchers.ask_tell_search import AskTellSearch
from searchers.parameters import plain
from searchers.peers import ENGINES, Engine, Replayed
from searchers.pso_search import ParticleSwarmSearch
from searchers.space import Space


class PeerSearch(AskTellSearch):
    """A Tune searcher over a peer's engine. Arguments as for `ParticleSwarmSearch`."""

    def __init__(self, engine: Callable[..., Engine], seed: int | None = None, **arguments: Any) -> None:
        self._engine = engine
        self._seed = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
        self._budget = plain(arguments.pop("budget", None))
        super().__init__(**arguments)

    def _make(self, space: Space, budget: int | None) -> Replayed:
        return Replayed(self._engine, space, self._seed, self._budget or budget)

    def _remake(self, state: dict[str, Any], space: Space | None) -> Replayed:
        found = Space.from_json(state["space"]) if space is None else space
        optimiser = Replayed(self._engine, found, state["seed"], state["budget"])
        optimiser.replay(state["record"])
        return optimiser


SEARCHERS = ("pso", "pso-plain", "pso-generational", *ENGINES)


def make_searcher(name: str, *, seed: int | None = None, **arguments: Any) -> AskTellSearch:
    """A Ray Tune searcher by name.

    Args:
        name: One of ``SEARCHERS``: ``pso`` (screened), ``pso-plain``, ``pso-generational`` (plain, waits for each
            generation), ``random``, ``optuna-tpe``, ``nevergrad-pso``, ``pyswarms``.
        seed: One seed gives one sequence of suggestions for one sequence of results.
        **arguments: ``space``, ``metric``, ``mode``, ``points_to_evaluate``, ``budget``, ``time_attr``, ``max_t``; for
            the swarms whatever `ParticleSwarmSearch` takes, for ``pyswarms`` its ``n_particles`` and ``topology``.

    Raises:
        ValueError: If there is no searcher of that name.
        ImportError: If the peer's package is not installed (when the search space becomes known).
    """
    if name == "pso":
        return ParticleSwarmSearch(seed=seed, **arguments)
    if name == "pso-plain":
        return ParticleSwarmSearch(seed=seed, **{"screening": False, **arguments})
    if name == "pso-generational":
        return ParticleSwarmSearch(seed=seed, **{"screening": False, "generational": True, **arguments})
    if name in ENGINES:
        settings = ("n_particles", "topology") if name == "pyswarms" else ()
        own = {key: arguments.pop(key) for key in settings if key in arguments}
        return PeerSearch(partial(ENGINES[name], **own), seed=seed, **arguments)
    raise ValueError(f"a searcher is one of {', '.join(SEARCHERS)}; got {name!r}")
