"""Tables of real hyperparameters: every configuration of a grid, trained once on a data set of scikit-learn.

    python -m benchmarks.searchers.tables FOLDER [NAME ...]

makes the tables, in about half an hour on one core. The swarm's defaults were chosen on the data sets of ``TUNING``;
those of ``REPORTED`` were not used for that.
"""

from __future__ import annotations

import argparse
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Grid = dict[str, list[Any]]

GRIDS: dict[str, Grid] = {
    "mlp": {
        "hidden": [8, 16, 32, 64],
        "lr": [1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2],
        "alpha": [1e-5, 1e-3, 1e-1],
        "batch": [16, 64],
        "activation": ["relu", "tanh", "logistic"],
        "layers": [1, 2],
    },
    "boosting": {
        "lr": [0.01, 0.03, 0.1, 0.3, 0.6, 1.0],
        "leaves": [2, 4, 8, 16, 31],
        "l2": [0.0, 0.1, 1.0, 10.0],
        "min_leaf": [2, 8, 20, 50],
        "iterations": [10, 30, 60],
    },
    "svm": {
        "C": [10.0**k for k in np.arange(-2, 3.5, 0.5)],
        "gamma": [10.0**k for k in np.arange(-4, 1.5, 0.5)],
        "kernel": ["rbf", "poly", "sigmoid"],
        "coef0": [0.0, 0.5, 1.0],
        "shrinking": [True, False],
    },
    "linear": {
        "loss": ["hinge", "log_loss", "modified_huber", "squared_hinge", "perceptron"],
        "penalty": ["l2", "l1", "elasticnet"],
        "alpha": [10.0**k for k in range(-6, 1)],
        "schedule": ["constant", "invscaling", "adaptive"],
        "eta0": [1e-3, 1e-2, 1e-1, 1.0],
    },
    "tree": {
        "depth": [1, 2, 3, 5, 8, 12, 20],
        "min_leaf": [1, 2, 5, 12, 30],
        "min_split": [2, 8, 20, 50],
        "features": [0.2, 0.5, 0.8, 1.0],
        "pruning": [0.0, 1e-3, 5e-3, 2e-2],
        "criterion": ["gini", "entropy"],
        "splitter": ["best", "random"],
    },
    "neighbours": {
        "k": [1, 2, 3, 5, 8, 13, 21, 34, 55],
        "power": [1.0, 1.5, 2.0, 4.0],
        "variance": [0.3, 0.6, 0.9, 1.0],
        "weights": ["uniform", "distance"],
        "scaling": ["none", "minmax", "quantile"],
    },
    "kernel": {
        "gamma": [10.0**k for k in np.arange(-3, 1.5, 0.5)],
        "components": [8, 16, 32, 64, 128],
        "alpha": [10.0**k for k in range(-6, 3)],
        "map": ["fourier", "nystroem-rbf", "nystroem-poly"],
        "balance": [True, False],
    },
}
ORDERED = {
    "hidden",
    "lr",
    "alpha",
    "batch",
    "layers",
    "leaves",
    "l2",
    "min_leaf",
    "iterations",
    "C",
    "gamma",
    "coef0",
    "eta0",
    "depth",
    "min_split",
    "pruning",
    "k",
    "power",
    "components",
    "variance",
    "features",
}

TUNING = ("synthetic-a", "wine", "synthetic-b", "friedman", "moons")
REPORTED = ("digits", "cancer", "diabetes")


def _data(name: str) -> tuple[Any, Any, Any, Any]:
    """Return inputs for training and test, (n, d) each, then targets for training and test, (n,) each."""
    from sklearn import datasets
    from sklearn.model_selection import train_test_split
    from sklearn.preprocessing import StandardScaler

    if name == "digits":
        x, y = datasets.load_digits(return_X_y=True)
        x, y = x[:1000], y[:1000]
    elif name == "cancer":
        x, y = datasets.load_breast_cancer(return_X_y=True)
    elif name == "wine":
        x, y = datasets.load_wine(return_X_y=True)
    elif name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True)
        y = np.digitize(y, np.quantile(y, [0.33, 0.67]))
    elif name == "friedman":
        x, y = datasets.make_friedman1(600, 10, noise=1.0, random_state=0)
        y = np.digitize(y, np.quantile(y, [0.25, 0.5, 0.75]))
    elif name == "moons":
        x, y = datasets.make_moons(500, noise=0.25, random_state=0)
        x = np.hstack([x, np.random.default_rng(0).normal(size=(500, 4))])
    else:
        shape = {"synthetic-a": (700, 20, 6, 4), "synthetic-b": (900, 12, 8, 3)}[name]
        n, d, informative, classes = shape
        x, y = datasets.make_classification(
            n, d, n_informative=informative, n_redundant=2, n_classes=classes, flip_y=0.05, random_state=len(name) + n
        )
    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.4, random_state=0, stratify=y)
    scaler = StandardScaler().fit(x_train)
    return scaler.transform(x_train), scaler.transform(x_test), y_train, y_test


def _mlp(c: dict[str, Any]) -> Any:
    from sklearn.neural_network import MLPClassifier

    layers = (c["hidden"],) * c["layers"]
    settings = {"alpha": c["alpha"], "batch_size": c["batch"], "activation": c["activation"]}
    return MLPClassifier(layers, learning_rate_init=c["lr"], max_iter=8, random_state=0, **settings)


def _boosting(c: dict[str, Any]) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    settings = {"max_leaf_nodes": c["leaves"], "l2_regularization": c["l2"], "min_samples_leaf": c["min_leaf"]}
    return HistGradientBoostingClassifier(
        learning_rate=c["lr"], max_iter=c["iterations"], early_stopping=False, max_bins=32, random_state=0, **settings
    )


def _svm(c: dict[str, Any]) -> Any:
    from sklearn.svm import SVC

    return SVC(max_iter=20000, random_state=0, **c)


def _linear(c: dict[str, Any]) -> Any:
    from sklearn.linear_model import SGDClassifier

    settings = {"loss": c["loss"], "penalty": c["penalty"], "alpha": c["alpha"]}
    return SGDClassifier(learning_rate=c["schedule"], eta0=c["eta0"], max_iter=15, tol=None, random_state=0, **settings)


def _tree(c: dict[str, Any]) -> Any:
    from sklearn.tree import DecisionTreeClassifier

    settings = {"min_samples_leaf": c["min_leaf"], "min_samples_split": c["min_split"], "max_features": c["features"]}
    settings |= {"ccp_alpha": c["pruning"], "criterion": c["criterion"], "splitter": c["splitter"]}
    return DecisionTreeClassifier(max_depth=c["depth"], random_state=0, **settings)


def _neighbours(c: dict[str, Any]) -> Any:
    from sklearn.decomposition import PCA
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, QuantileTransformer

    scaling = {"none": FunctionTransformer(), "minmax": MinMaxScaler(), "quantile": QuantileTransformer(n_quantiles=50)}
    model = KNeighborsClassifier(c["k"], weights=c["weights"], p=c["power"])
    kept = None if c["variance"] == 1.0 else c["variance"]
    return make_pipeline(scaling[c["scaling"]], PCA(kept), model)


def _kernel(c: dict[str, Any]) -> Any:
    from sklearn.kernel_approximation import Nystroem, RBFSampler
    from sklearn.linear_model import RidgeClassifier
    from sklearn.pipeline import make_pipeline

    if c["map"] == "fourier":
        features = RBFSampler(gamma=c["gamma"], n_components=c["components"], random_state=0)
    else:
        shape = {"degree": 3, "coef0": 1.0} if c["map"] == "nystroem-poly" else {}
        kernel = c["map"].removeprefix("nystroem-")
        features = Nystroem(kernel, gamma=c["gamma"], n_components=c["components"], random_state=0, **shape)
    return make_pipeline(features, RidgeClassifier(c["alpha"], class_weight="balanced" if c["balance"] else None))


MODELS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "mlp": _mlp,
    "boosting": _boosting,
    "svm": _svm,
    "linear": _linear,
    "tree": _tree,
    "neighbours": _neighbours,
    "kernel": _kernel,
}


def error(model: Any, data: tuple[Any, Any, Any, Any]) -> float:
    """Return the error of a model on the test part.

    If the model has probabilities, it is the mean of the error rate and the Brier score, which breaks ties.
    """
    x_train, x_test, y_train, y_test = data
    model.fit(x_train, y_train)
    wrong = float(np.mean(model.predict(x_test) != y_test))
    if not hasattr(model, "predict_proba"):
        return wrong
    probabilities = model.predict_proba(x_test)
    target = np.eye(probabilities.shape[1])[np.searchsorted(model.classes_, y_test)]  # (n, n_classes), one-hot
    # Brier score: mean over documents of sum_k (p_k - y_k)^2.
    return 0.5 * wrong + 0.5 * float(np.mean(np.sum((probabilities - target) ** 2, axis=1)))


def make(folder: Path, name: str) -> None:
    """Write ``folder/name.npy``: errors, with one axis per hyperparameter."""
    family, _, data_name = name.partition("-")
    grid, data = GRIDS[family], _data(data_name)
    shape = tuple(len(values) for values in grid.values())
    errors = np.empty(shape)
    started = time.monotonic()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index in itertools.product(*map(range, shape)):
            config = {key: values[i] for (key, values), i in zip(grid.items(), index, strict=True)}
            errors[index] = error(MODELS[family](config), data)
    np.save(folder / f"{name}.npy", errors)
    print(
        f"{name}: {errors.size} configurations, {time.monotonic() - started:.0f} s, best {errors.min():.4f}", flush=True
    )


def main() -> None:
    """Make the tables that the folder lacks."""
    every = [f"{family}-{data}" for data in (*TUNING, *REPORTED) for family in GRIDS]
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", metavar="NAME", help="FAMILY-DATA, such as svm-digits (default: all)")
    arguments = parser.parse_args()
    unknown = sorted({*arguments.names} - {*every})
    if unknown:
        parser.error(f"no such table: {', '.join(unknown)} (tables: {', '.join(every)})")
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for name in arguments.names or every:
        if not (arguments.folder / f"{name}.npy").exists():
            make(arguments.folder, name)


if __name__ == "__main__":
    main()
