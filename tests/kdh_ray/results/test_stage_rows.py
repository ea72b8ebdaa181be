"""Rows of stages, baselines and failures."""

from pathlib import Path

import numpy as np
import pytest

from kdh_ray.config import RunConfig, parse_config
from kdh_ray.errors import CheckpointError
from kdh_ray.evaluation.score_columns import score_columns
from kdh_ray.results import load_runs, write_row
from kdh_ray.results.stage_rows import stage_row


@pytest.fixture
def config() -> RunConfig:
    return parse_config(
        {"name": "toy", "seed": 7, "stages": {"large": {}, "small": {"teachers": ["large"], "loss": {"alpha": 0.25}}}}
    )


def test_kinds_follow_from_the_stages(config: RunConfig) -> None:
    kinds = [stage_row(config, name, "r", "synthetic")["kind"] for name in ("large", "small", "tfidf")]
    assert kinds == ["teacher", "student", "baseline"]


def test_settings_of_stage_and_run_are_columns(config: RunConfig) -> None:
    row = stage_row(config, "small", "r", "synthetic")
    assert row["config_loss.alpha"] == 0.25
    assert row["config_data.max_tokens"] == config.data.max_tokens
    assert (row["experiment"], row["seed"], row["size"], row["status"]) == ("toy", 7, "large", "ok")


def test_scores_and_circumstances_become_columns(config: RunConfig) -> None:
    result = {
        "threshold": 0.3,
        "threshold_label.a": 0.4,
        "validation_f1_micro": 0.8,
        "test_f1_micro": 0.7,
        "test_f1_micro_at_half": 0.6,
        "test_f1_label.a": 0.5,
        "history": [{"epoch": 1}],
        "seconds": 12.5,
    }
    row = stage_row(config, "small", "r", "synthetic", result)
    assert {name: row[name] for name in result if name != "history"} == {
        name: value for name, value in result.items() if name != "history"
    }
    assert "history" not in row


def test_flat_scores_are_taken_as_they_are(config: RunConfig, tmp_path: Path) -> None:
    arrays = np.array([[1, 0], [0, 1]]), np.array([[0.9, 0.1], [0.2, 0.6]])
    scores = score_columns(arrays, arrays, ["a", "b"], metric="f1_blue")
    write_row(tmp_path, stage_row(config, "tfidf", "r", "hoc-blue", scores))
    frame = load_runs(tmp_path)
    assert frame.loc[0, "metric"] == "f1_blue"
    assert {name for name in scores if name not in frame} == set()


@pytest.mark.parametrize(
    ("error", "status"), [(CheckpointError("x: corrupt"), "failed"), (KeyboardInterrupt(), "stopped")]
)
def test_failures_have_rows(config: RunConfig, tmp_path: Path, error: BaseException, status: str) -> None:
    write_row(tmp_path, stage_row(config, "small", "r", "synthetic", error=error))
    frame = load_runs(tmp_path)
    assert frame.loc[0, "status"] == status
    assert str(frame.loc[0, "error"]).startswith(type(error).__name__)


def test_given_columns_win(config: RunConfig) -> None:
    assert stage_row(config, "small", "r", "synthetic", variant="no-kd", experiment="x")["variant"] == "no-kd"
