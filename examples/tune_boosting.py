"""Tune gradient boosting on scikit-learn's digits with a particle swarm.

python examples/tune_boosting.py
"""

from ray import tune
from sklearn.datasets import load_digits
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score

from searchers.pso_search import ParticleSwarmSearch


def train(config):
    """Report the cross-validated accuracy of one configuration."""
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0, **config)
    tune.report({"accuracy": cross_val_score(model, *load_digits(return_X_y=True), cv=3).mean()})


space = {"learning_rate": tune.loguniform(0.01, 1.0), "max_leaf_nodes": tune.randint(2, 32)}
search = ParticleSwarmSearch(seed=0)
config = tune.TuneConfig(metric="accuracy", mode="max", num_samples=20, max_concurrent_trials=2, search_alg=search)
best = tune.Tuner(train, param_space=space, tune_config=config).fit().get_best_result()
print(f"best accuracy {best.metrics['accuracy']:.4f} with {best.config}")
