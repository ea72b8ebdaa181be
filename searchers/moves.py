"""The next moves of a swarm's particles: drawn by the velocity update, screened, and to configurations not yet seen."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from searchers.archive import Archive
from searchers.dynamics import Settings, confine
from searchers.parameters import Array
from searchers.particles import Particles
from searchers.pending import PendingMoves
from searchers.screening import Results, Screen, Screening
from searchers.sobol import Sobol
from searchers.space import Space


class Moves:
    """Chooses moves; a swarm makes them and learns from their results.

    Args:
        space: The search space.
        settings: Settings of the motion.
        particles: The particles.
        archive: All results, and the configurations seen.
        pending: Moves without a result.
        screening: Choice among candidate moves; None for a plain swarm.
        noisy: True if particles follow the lowest posterior mean instead of the best value.
        sobol: The sequence that particles without a personal best follow.
        rng: Draws the moves.

    Attributes:
        queue: Positions to move to first, (n_dims,) each.
        sobol: As given.
    """

    def __init__(
        self,
        space: Space,
        settings: Settings,
        particles: Particles,
        archive: Archive,
        pending: PendingMoves,
        screening: Screening | None,
        noisy: bool,
        sobol: Sobol,
        rng: np.random.Generator,
    ) -> None:
        self._space, self._settings = space, settings
        self._particles, self._archive, self._pending = particles, archive, pending
        self._screening, self._noisy, self._rng = screening, noisy, rng
        self.queue: list[Array] = []
        self.sobol = sobol

    def next(self, particle: int, progress: float) -> tuple[Array, Array]:
        """Choose a particle's next move.

        Args:
            particle: Index of the particle.
            progress: How far inertia is on its way from start to end, 0 to 1.

        Returns:
            An unseen position, (n_dims,), and the particle's velocity there, (n_dims,).
        """
        while self.queue:
            position = self.queue.pop(0)
            if self.claim(position):
                return position, self._random_velocity()
        if not self._particles.has_best(particle):
            return self._unseen_position(), self._random_velocity()
        # A surrogate needs some results first: one per particle.
        screening = self._screening if len(self._archive) >= self._settings.n_particles else None
        screen = None if screening is None else screening.screen
        for attempt in range(3):
            positions, velocities = self._candidates(particle, progress, attempt, screen)
            repeats = self._archive.n_seen >= self._space.size and self._space.n_dims > 0
            unseen = np.arange(len(positions)) if repeats else np.flatnonzero(self._unseen(positions))
            if screening is not None and len(unseen):
                unseen = unseen[self._most_promising_first(screening, positions[unseen])]
            # As a rule the first is taken. At the bounds, though, many positions may be one configuration.
            for chosen in unseen:
                if self.claim(positions[chosen]) or repeats:
                    return positions[chosen], velocities[chosen]
        return self._unseen_position(), self._random_velocity()

    def _most_promising_first(self, screening: Screening, candidates: Array) -> NDArray[np.intp]:
        """Return the indices of candidate positions, (n, n_dims), the most promising first."""
        pending = np.array([move.position for move in self._pending.awaited]).reshape(-1, self._space.n_dims)
        return screening.order(self._space.snap(candidates), self.results(), self._space.snap(pending))

    def results(self) -> Results:
        """Return the results to compare moves by, at the highest fidelity that enough runs reached."""
        # Enough results: as many as a linear model has coefficients, and one per particle.
        at_least = max(self._settings.n_particles, self._space.n_dims + 1)
        compared, values = self._archive.comparable(self._particles.full, at_least)
        return Results(self._archive.positions[compared], values, np.array(self._archive.deviations)[compared])

    def _candidates(self, particle: int, progress: float, attempt: int, screen: Screen | None) -> tuple[Array, Array]:
        """Draw candidates for a particle's next move.

        Args:
            particle: Index of the particle.
            progress: How far inertia is on its way from start to end, 0 to 1.
            attempt: 0, or more if all candidates of earlier attempts were seen; jitter grows with it.
            screen: Settings of screening; None for a plain swarm.

        Returns:
            Positions and velocities, (n, n_dims) each.
        """
        n = screen.n_candidates if screen else (1 if attempt == 0 else 16)
        particles, limit = self._particles, self._settings.velocity_limit
        position = particles.position[particle]
        leader = self._leader(particle)
        velocity = self._settings.velocities(
            particles.velocity[particle],
            particles.best_position[particle] - position,
            leader - position,
            self._settings.inertia_at(progress),
            n,
            self._rng,
        )
        moved = position + velocity  # x <- x + v
        if n > 1:
            moved += self._rng.normal(0.0, 0.02 * 4**attempt, moved.shape)
        if screen:
            local = screen.mix(moved, leader, self._rng)
            # The velocity of a local candidate is the step that leads there.
            velocity[local] = np.clip(moved[local] - position, -limit, limit)
        return confine(moved, velocity, self._settings.bounds, self._rng)

    def _leader(self, particle: int) -> Array:
        """Return the position that a particle follows, (n_dims,): its informants' best; of noisy values, the swarm's.

        Luck gives noisy neighbourhoods leaders without merit; the posterior mean draws on the whole swarm.
        """
        if self._noisy and self._screening is not None:
            results = self.results()
            if np.isfinite(results.values).any():
                best: Array = results.positions[self._screening.recommend(results)[0]]
                return best
        leader: Array = self._particles.best_position[self._particles.best_informant(particle)]
        return leader

    def sobol_position(self) -> Array:
        """Return the next point of the Sobol sequence, (n_dims,)."""
        return self._space.from_uniform(self.sobol.next(self._rng))

    def claim(self, position: Array) -> bool:
        """Mark a position's configuration as seen; return False if it was seen before."""
        return self._archive.mark_seen(self._space.identify(position))

    def _random_velocity(self) -> Array:
        limit = min(0.5, self._settings.velocity_limit)
        return self._rng.uniform(-limit, limit, self._space.n_dims)

    def _unseen(self, positions: Array) -> NDArray[np.bool_]:
        return self._archive.unseen(self._space.snap(positions))

    def _unseen_position(self) -> Array:
        """Return an unseen point of the Sobol sequence; if most are seen, any unseen position; if all are, any."""
        for _ in range(32):
            position = self.sobol_position()
            if self.claim(position):
                return position
        if math.isinf(self._space.size):
            position = self._space.activate_real(position, self._rng)
            self.claim(position)
        elif self._archive.n_seen < self._space.size:
            start = int(self._rng.integers(min(int(self._space.size), 2**62)))
            unseen = self._archive.first_unseen(self._space, start)
            if unseen is not None:
                self.claim(unseen)
                return unseen
        return position
