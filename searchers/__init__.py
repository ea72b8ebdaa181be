"""Particle swarm optimisation for hyperparameters: by ask and tell here, for Ray Tune in `searchers.pso_search`.

Knows parameters' names, bounds and one number. Importing this needs NumPy alone.
"""

from searchers.parameters import Categorical, Float, Integer, Ordinal
from searchers.screening import Screen
from searchers.space import Space
from searchers.swarm import Move, ParticleSwarm

__all__ = ["Categorical", "Float", "Integer", "Move", "Ordinal", "ParticleSwarm", "Screen", "Space"]
