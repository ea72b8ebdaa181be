"""Rows as runs and studies write them, with invented scores."""

from typing import Any

import numpy as np
import pandas as pd

from kdh_ray.results import normalise_rows
from kdh_ray.results.saved_predictions import StagePrediction


def row(stage: str, f1: float, seed: int = 0, kind: str | None = "student", **more: Any) -> dict[str, Any]:
    return {
        "run_id": f"run-{seed}",
        "stage": stage,
        "kind": kind,
        "protocol": "hoc-blurb",
        "size": "large",
        "seed": seed,
        "status": "ok",
        "error": None,
        "metric": "f1_micro",
        "test_f1_micro": f1,
        "test_f1_blue": f1 + 0.01,
        "parameters": None if kind == "baseline" else 22_700_000,
        "seconds": 100.0,
        **more,
    }


def frame_of(*rows: dict[str, Any]) -> pd.DataFrame:
    """Return rows as a frame like that of ``load_runs``."""
    return normalise_rows(pd.DataFrame(rows))


FRAME = frame_of(
    *[row("tfidf", 0.9, 0, "baseline"), row("teacher", 0.84, 0, "teacher")],
    *[row("plain", f1, seed) for seed, f1 in enumerate((0.78, 0.80))],
    *[row("distilled", f1, seed) for seed, f1 in enumerate((0.80, 0.82, 0.84))],
)
SIZES = pd.concat([FRAME.assign(size="large"), FRAME.assign(size="small", test_f1_micro=FRAME["test_f1_micro"] - 0.1)])


def study_row(method: str, f1: float, seed: int, variant: str | None = None, **more: Any) -> dict[str, Any]:
    return row("finetuned", f1, seed, method=method, variant=variant, test_f1_micro_at_half=f1 - 0.05, **more)


ABLATION = frame_of(
    *[study_row("softmax-loss", f1, seed, "soft loss") for seed, f1 in enumerate((0.78, 0.80, 0.82))],
    *[study_row("full", f1, seed, "reference") for seed, f1 in enumerate((0.80, 0.81, 0.82))],
    study_row("full", 0.1, 0, "reference", kind="step"),
    study_row("teacher", 0.9, 0, kind="teacher"),
)


def make_predictions() -> dict[tuple[str, str], StagePrediction]:
    """Return predictions at size large that are wrong on one document in ten, twenty and three."""
    truth = np.tile(np.array([[1, 0, 1], [0, 1, 0]], dtype=np.int8), (100, 1))  # (200, 3)
    predictions = {}
    for stage, step in (("distilled", 10), ("teacher", 20), ("plain", 3)):
        labels = truth.astype(float).copy()
        labels[::step] = 1 - labels[::step]
        for seed in range(3):
            key = (f"large-{seed}", stage)
            predictions[key] = StagePrediction(*key, stage, truth, 0.1 + 0.8 * labels, 0.5)
    return predictions
