"""Particle swarm optimisation of hyperparameters: `ParticleSwarm` by ask and tell, `searchers.pso_search` for Ray Tune.

The package knows the names and bounds of parameters, and one number, or several, to minimise. Importing it needs NumPy
only.
"""

from searchers.parameters import Categorical, Float, Integer, Ordinal
from searchers.pareto_swarm import ParetoSwarm
from searchers.pending import Move
from searchers.screening import Screen
from searchers.space import Space
from searchers.swarm import ParticleSwarm

__all__ = ["Categorical", "Float", "Integer", "Move", "Ordinal", "ParetoSwarm", "ParticleSwarm", "Screen", "Space"]
