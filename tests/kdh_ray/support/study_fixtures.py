"""Invented rows of a study and of a search, with known answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from kdh_ray.results import normalise_rows

LABELS = ("pain", "fever & <chills>", "a_cough $x$")
METHODS = {  # method: kind, teachers, score at small, parameters
    "teacher": ("teacher", "[]", 0.70, 100e6),
    "plain": ("student", "[]", 0.60, 20e6),
    "distilled": ("student", '["teacher"]', 0.66, 20e6),
    "tf-idf": ("baseline", None, 0.55, None),
}
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def study(study_rows: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of ``study_rows`` that a test may change."""
    return study_rows.copy()


@pytest.fixture
def search(search_rows: pd.DataFrame) -> pd.DataFrame:
    """Return a copy of ``search_rows`` that a test may change."""
    return search_rows.copy()


@pytest.fixture(scope="session")
def study_rows() -> pd.DataFrame:
    """Four methods, three sizes, three seeds; each size adds 0.05, each seed 0.01."""
    rows = []
    for step, size in enumerate(("small", "medium", "large")):
        for seed in range(3):
            for stage, (kind, teachers, base, parameters) in METHODS.items():
                score = base + 0.05 * step + 0.01 * seed
                rows.append(
                    {
                        "run_id": f"{size}-{seed}", "stage": stage, "kind": kind, "experiment": "sizes",
                        "variant": None, "protocol": "hoc-blurb", "size": size, "seed": seed, "status": "ok",
                        "error": None, "metric": "f1_micro", "test_f1_micro": score, "threshold": 0.5,
                        "parameters": parameters,
                        "config_teachers": teachers, "config_epochs": 4.0,
                        "config_dropout": 0.1 if kind == "student" else 0.0,
                        "config_cache": "/home/somebody/cache", "commit": "abc", "started": START.isoformat(),
                        **{f"test_f1_label.{name}": score - 0.1 * place for place, name in enumerate(LABELS)},
                    }
                )  # fmt: skip
    return normalise_rows(pd.DataFrame(rows))


@pytest.fixture
def ablations(study: pd.DataFrame) -> pd.DataFrame:
    """Three students of one experiment: without distillation 5 points less; alpha 1 a point more, on two seeds."""
    full = study[(study["stage"] == "distilled") & (study["size"] == "small")].assign(experiment="ablations")
    parts = []
    for method, changed, points in (("full", "reference", 0.0), ("without-distillation", "distillation", -0.05),
                                    ("alpha-1", "alpha", 0.01)):  # fmt: skip
        score = full["test_f1_micro"] + points
        parts.append(
            full.assign(method=method, variant=changed, test_f1_micro=score, run_id=f"{method}-" + full["run_id"])
        )
    parts[-1] = parts[-1].iloc[:2]
    return pd.concat(parts, ignore_index=True)


@pytest.fixture(scope="session")
def search_rows() -> pd.DataFrame:
    """24 trials of a swarm of four on two workers, whose score depends on the learning rate only."""
    generator = np.random.default_rng(0)
    rows = []
    for number in range(1, 25):
        place = generator.random()
        status = "failed" if number == 5 else "stopped" if number % 3 == 0 else "ok"
        epochs = 1 if status == "stopped" else 4
        score = None if status == "failed" else 0.4 + 0.4 * place
        rows.append(
            {
                "run_id": f"look-0-ab12-trial-{number:04d}", "stage": "student", "kind": "trial", "variant": "trial",
                "experiment": "look", "protocol": "hoc-blurb", "size": "large", "seed": 0, "status": status,
                "error": "out of memory" if status == "failed" else None, "metric": "f1_micro",
                "validation_f1_micro": score, "trial": number, "epochs_run": epochs, "config_epochs": 4,
                "curve": str([score] * epochs) if score else "[]", "searcher": "pso", "scheduler": "asha",
                "seconds": 30.0 * epochs, "started": (START + timedelta(seconds=60 * number)).isoformat(),
                "worker": f"host:{number % 2}", "particle": number % 4, "velocity_norm": 0.1,
                "config_learning_rate": 1e-5 * 100**place, "config_dropout": 0.3 * generator.random(),
                "config_loss.soft": ("bernoulli-kl", "softmax-kl")[number % 2],
                "config_batch_size": 8 * 2 ** (number % 3),
            }
        )  # fmt: skip
    return normalise_rows(pd.DataFrame(rows))
