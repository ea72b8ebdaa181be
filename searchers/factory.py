"""``make_searcher``: Ray Tune searchers by name, the particle swarm and the peers that it is compared with.

Swarm and peers are driven by the same `searchers.ask_tell_search`. So all treat trial ids, failures, NaN and the rest
of Tune's contract alike, and a comparison is one of the search algorithms only.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from searchers.ask_tell_search import AskTellSearch
from searchers.parameters import plain
from searchers.peers import PEER_OPTIMISERS, PeerOptimiser, ReplayedPeer
from searchers.pso_search import ParticleSwarmSearch
from searchers.space import Space


class PeerSearch(AskTellSearch):
    """A Ray Tune searcher over an optimiser of `searchers.peers`.

    Args:
        optimiser: Class of the optimiser, or a partial of it.
        seed: Seed of all random numbers; None takes fresh entropy.
        **arguments: Arguments of `AskTellSearch`, and ``budget``.
    """

    def __init__(self, optimiser: Callable[..., PeerOptimiser], seed: int | None = None, **arguments: Any) -> None:
        self._peer = optimiser
        kind = getattr(optimiser, "func", optimiser)
        if arguments.get("further_objectives") and not getattr(kind, "several_objectives", False):
            able = [*_SWARMS, *(name for name, peer in PEER_OPTIMISERS.items() if peer.several_objectives)]
            raise ValueError(f"{self.algorithm} optimises one objective; several are optimised by {', '.join(able)}")
        self._seed = int(np.random.default_rng().integers(2**31)) if seed is None else int(seed)
        self._budget = plain(arguments.pop("budget", None))
        super().__init__(**arguments)

    @property
    def algorithm(self) -> str:
        """Name of the search algorithm."""
        return str(getattr(self._peer, "func", self._peer).__name__)

    def _make_optimiser(self, space: Space, budget: int | None) -> ReplayedPeer:
        return ReplayedPeer(self._maker(), space, self._seed, self._budget or budget)

    def _maker(self) -> Callable[..., PeerOptimiser]:
        return partial(self._peer, n_objectives=self.n_objectives) if self.n_objectives > 1 else self._peer

    def _restore_optimiser(self, state: dict[str, Any], space: Space | None) -> ReplayedPeer:
        known_space = Space.from_json(state["space"]) if space is None else space
        optimiser = ReplayedPeer(self._maker(), known_space, state["seed"], state["budget"])
        optimiser.replay(state["record"])
        return optimiser


_SWARMS: dict[str, dict[str, Any]] = {
    "pso": {"screening": True, "generational": False},
    "pso-plain": {"screening": False, "generational": False},
    "pso-generational": {"screening": False, "generational": True},
}

SEARCHERS = (*_SWARMS, *PEER_OPTIMISERS)


def make_searcher(name: str, *, seed: int | None = None, **arguments: Any) -> AskTellSearch:
    """Make a Ray Tune searcher.

    Args:
        name: One of ``SEARCHERS``: ``pso`` (the swarm with screening), ``pso-plain`` (without), ``pso-generational``
            (without, waiting for each generation), ``random``, ``optuna-tpe``, ``nevergrad-pso`` or ``pyswarms``.
        seed: Seed of all random numbers: the same seed and results lead to the same suggestions.
        **arguments: ``space``, ``metric``, ``mode``, ``points_to_evaluate``, ``budget``, ``time_attr``, ``max_t``,
            ``repeats`` and ``further_objectives``; for swarms any argument of `ParticleSwarmSearch`; for ``pyswarms``
            ``n_particles`` and ``topology``.

    Raises:
        ValueError: If there is no searcher of that name, or it optimises one objective and several are given.
        ImportError: If the peer's package is not installed; raised once the search space is known.
    """
    if name in _SWARMS:
        return ParticleSwarmSearch(seed=seed, **{**_SWARMS[name], **arguments})
    if name in PEER_OPTIMISERS:
        settings = ("n_particles", "topology") if name == "pyswarms" else ()
        own = {key: arguments.pop(key) for key in settings if key in arguments}
        return PeerSearch(partial(PEER_OPTIMISERS[name], **own), seed=seed, **arguments)
    raise ValueError(f"a searcher must be one of {', '.join(SEARCHERS)}; got {name!r}")
