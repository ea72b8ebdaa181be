"""Which stages a search needs, and the run that its best configuration becomes."""

import pytest

from kdh_ray.config import parse_config
from kdh_ray.jobs.tuning.stage import best_config, earlier_stages


@pytest.fixture
def config():
    stages = {
        "large": {},
        "assistant": {"start": "embedded", "teachers": ["large"]},
        "other": {},
        "student": {"start": "other", "teachers": ["large", "assistant"]},
        "label-tuned": {"start": "student"},
        "aside": {"start": "large"},
    }
    return parse_config({"name": "chain", "stages": stages, "tune": {"stage": "student", "trials": 3}})


def test_all_that_a_stage_builds_on_comes_first(config):
    assert earlier_stages(config, "student") == ["large", "assistant", "other"]
    assert earlier_stages(config, "assistant") == ["large"]
    assert earlier_stages(config, "large") == []


def test_best_configuration_is_a_run_of_its_own(config, tmp_path):
    checkpoints = {name: tmp_path / "stages" / name / "checkpoint" for name in ("large", "assistant", "other")}
    for folder in checkpoints.values():
        folder.mkdir(parents=True)
    best = best_config(config, "student", tmp_path, {"loss.alpha": 0.25, "epochs": 2})
    assert list(best.stages) == ["student", "label-tuned"]
    student = best.stages["student"]
    assert (student.loss.alpha, student.epochs) == (0.25, 2)
    assert student.start == str(checkpoints["other"])
    assert student.teachers == (str(checkpoints["large"]), str(checkpoints["assistant"]))
    assert best.stages["label-tuned"].start == "student"
    assert best.cache == tmp_path / "cache"
    assert best.seed == config.seed
