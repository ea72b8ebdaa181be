"""Tune a PyTorch network with the swarm and early stopping: python examples/tune_pytorch.py [trials]

Each trial trains on scikit-learn's digits and reports its accuracy after every epoch. ASHA stops poor trials early. The
swarm knows how far each one came: a stopped trial never outranks a longer one.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from sklearn.datasets import load_digits
from torch import nn

from searchers.pso_search import ParticleSwarmSearch

EPOCHS = 9


def train(config: dict[str, Any]) -> None:
    """Train one network; report its validation accuracy after each epoch."""
    torch.manual_seed(0)
    images, digits = (torch.tensor(each) for each in load_digits(return_X_y=True))
    images = images.float() / 16  # (1797, 64)
    net = nn.Sequential(
        nn.Linear(64, config["hidden"]), nn.ReLU(), nn.Dropout(config["dropout"]), nn.Linear(config["hidden"], 10)
    )
    optimiser = torch.optim.AdamW(net.parameters(), lr=config["lr"])
    for _ in range(EPOCHS):
        net.train()
        for chosen in torch.randperm(1400).split(32):
            optimiser.zero_grad()
            nn.functional.cross_entropy(net(images[chosen]), digits[chosen]).backward()
            optimiser.step()
        net.eval()
        tune.report({"accuracy": (net(images[1400:]).argmax(1) == digits[1400:]).float().mean().item()})


def main(trials: int = 20) -> None:
    """Search, and print the best configuration."""
    tuner = tune.Tuner(
        train,
        param_space={
            "lr": tune.loguniform(1e-4, 1e-1),
            "hidden": tune.lograndint(8, 256),
            "dropout": tune.uniform(0.0, 0.5),
        },
        tune_config=tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=trials,
            max_concurrent_trials=2,
            search_alg=ParticleSwarmSearch(seed=0, max_t=EPOCHS),
            scheduler=ASHAScheduler(max_t=EPOCHS, grace_period=1, reduction_factor=3),
        ),
    )
    results = tuner.fit()
    best = results.get_best_result(scope="last", filter_nan_and_inf=True)
    epochs = sum(len(result.metrics_dataframe) for result in results)
    print(f"best accuracy {best.metrics['accuracy']:.4f} with {best.config}")
    print(f"{epochs} epochs instead of {trials * EPOCHS}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
