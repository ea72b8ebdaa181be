"""Search spaces: their faults, their defaults, and Ray Tune's domains for them."""

from typing import Any

import pytest

from kdh_ray.config import StageConfig, dump_config, parse_config, tunable_settings
from kdh_ray.errors import ConfigError
from kdh_ray.jobs.memory import PROCESS, estimate
from kdh_ray.jobs.stage_search import space as spaces
from kdh_ray.jobs.stage_search.memory import memory_per_trial
from kdh_ray.models.encoders import EncoderShape


def config(**tune: Any) -> Any:
    stages = {"teacher": {"epochs": 3}, "student": {"start": "teacher", "teachers": ["teacher"], "epochs": 5}}
    return parse_config({"stages": stages, "tune": tune})


def faults(**space: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        config(space=space)
    return caught.value.faults


def test_every_fault_is_reported_at_once():
    found = faults(
        **{
            "learning_rte": {"low": 1e-5, "high": 1e-3},
            "dropout": {"low": 0.0, "high": 1.0},
            "layers": {"low": 1.5, "high": 4},
            "loss.soft": {"choices": ["bernoulli-kl", "mse"]},
            "loss.hard": {"low": 0, "high": 1},
        }
    )
    assert len(found) == 5
    assert "did you mean 'learning_rate'?" in found[0]
    assert "dropout.high: input should be less than 1; got 1.0" in found[1]
    assert "layers.low: input should be a valid integer" in found[2]
    assert "got 'mse'" in found[3]
    assert "takes choices, not a range" in found[4]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"low": 0.3, "high": 0.1}, "low must be less than high; got 0.3 and 0.1"),
        ({"low": 0.0, "high": 0.1, "log": True}, "a log range starts above 0; got 0"),
        ({"low": 0.1}, "takes either low and high, or choices"),
        ({"low": 0.0, "high": 0.1, "choices": [0.1, 0.2]}, "takes either low and high, or choices"),
        ({"choices": [0.1, 0.1]}, "two different values"),
        ({"lo": 0.1, "high": 0.2}, "no such setting"),
    ],
)
def test_impossible_range_is_refused(entry, message):
    assert any(message in fault for fault in faults(dropout=entry))


def test_teachers_and_seeds_are_not_tuned():
    assert not {"teachers", "seed", "loss"} & tunable_settings().keys()
    assert "learning_rate" in tunable_settings()
    assert "loss.alpha" in tunable_settings()


def test_numbers_in_words_are_numbers():
    """YAML 1.1 reads 1e-4 as text."""
    space = config(space={"learning_rate": {"choices": ["1e-4", "3e-4"]}}).tune.space
    assert space["learning_rate"].choices == (1e-4, 3e-4)


def test_configuration_reads_back_as_written():
    import yaml

    written = config(space={"epochs": {"low": 2, "high": 4}, "batch_size": {"choices": [8, 16]}}, time_budget="2h")
    assert written.tune.time_budget == 7200
    assert parse_config(yaml.safe_load(dump_config(written))) == written


def test_unknown_stage_is_refused():
    with pytest.raises(ConfigError, match="no such stage: 'pupil' \\(stages: teacher, student\\)"):
        config(stage="pupil")


def test_first_stage_with_teachers_is_tuned():
    assert spaces.tuned_stage(config()) == "student"
    assert spaces.tuned_stage(config(stage="teacher")) == "teacher"


def test_default_space_fits_the_stage():
    student, teacher = spaces.search_space(config()), spaces.search_space(config(stage="teacher"))
    assert (student["epochs"].low, student["epochs"].high) == (3, 5)
    assert (student["finetune_epochs"].low, student["finetune_epochs"].high) == (0, 1)
    assert "finetune_epochs" not in teacher
    assert not {"layers", "max_tokens"} & set(student)
    assert "loss.alpha" in student
    assert "loss.alpha" not in teacher
    assert config(space=student).tune.space == student  # the defaults pass their own checks


def test_distillation_settings_need_teachers():
    with pytest.raises(ConfigError, match=r"loss\.alpha: stage 'teacher' has no teachers"):
        spaces.search_space(config(stage="teacher", space={"loss.alpha": {"low": 0, "high": 1}}))


def test_own_settings_lie_within_the_ranges():
    space = {
        "learning_rate": {"low": 1e-5, "high": 1e-3, "log": True},
        "layers": {"low": 1, "high": 3},  # all of them, if not set: no number to try
        "batch_size": {"choices": [8, 32]},
        "loss.soft": {"choices": ["softmax-kl", "bernoulli-kl"]},
        "loss.alpha": {"low": 0.6, "high": 1.0},
    }
    assert spaces.own_settings(config(space=space)) == {"learning_rate": 1e-4, "loss.soft": "bernoulli-kl"}
    assert spaces.own_settings(config())["epochs"] == 5


def test_grace_beyond_longest_trial_is_refused():
    with pytest.raises(ConfigError, match="at most the epochs of the longest trial, 6; got 7"):
        spaces.search_space(config(grace=7))


def test_budget_makes_students_smaller(encoder):
    stages = {"teacher": {"start": str(encoder)}, "student": {"start": "teacher", "teachers": ["teacher"]}}
    tree = {"stages": stages, "data": {"max_tokens": 64}}
    quick = spaces.search_space(parse_config({**tree, "tune": {"max_latency_ms": 5}}))
    small = spaces.search_space(parse_config({**tree, "tune": {"max_parameters": "20M"}}))
    assert [(quick[name].low, quick[name].high) for name in ("layers", "max_tokens")] == [(2, 4), (32, 64)]
    assert (small["layers"].low, "max_tokens" in small) == (2, False)


def test_settings_beyond_the_run_are_refused():
    with pytest.raises(ConfigError, match=r"tune\.space\.max_tokens: at most data.max_tokens, 256; got 512"):
        spaces.search_space(config(space={"max_tokens": {"low": 64, "high": 512}}))
    with pytest.raises(ConfigError, match=r"stages\.a\.max_tokens: at most data.max_tokens, 256; got 300"):
        parse_config({"stages": {"a": {"max_tokens": 300}}})
    with pytest.raises(ConfigError, match=r"stages\.a\.finetune_epochs: the stage has no teachers"):
        parse_config({"stages": {"a": {"finetune_epochs": 1}}})


def test_more_layers_than_start_are_refused():
    tree = {"stages": {"a": {"layers": 3}, "b": {"start": "a", "teachers": ["a"]}}}
    tree["tune"] = {"space": {"layers": {"low": 1, "high": 4}}}
    with pytest.raises(ConfigError, match="start has 3 encoder layers; got 4"):
        spaces.search_space(parse_config(tree))


def test_integer_range_includes_both_bounds():
    domain = spaces.domains(config(space={"layers": {"low": 2, "high": 3}}).tune.space)["layers"]
    assert set(domain.sample(size=200)) == {2, 3}


def test_domains_keep_scale_and_choices():
    from ray.tune.search.sample import Categorical, LogUniform

    domains = spaces.domains(spaces.search_space(config()))
    assert isinstance(domains["learning_rate"].get_sampler(), LogUniform)
    assert isinstance(domains["loss.soft"], Categorical)
    assert 0.0 <= domains["loss.alpha"].sample() <= 1.0


def test_trial_settings_reach_the_stage():
    import numpy as np

    stage = spaces.configured(StageConfig(), {"loss.alpha": np.float64(0.3), "epochs": np.int64(7)})
    assert (stage.loss.alpha, stage.epochs) == (0.3, 7)
    assert stage.loss.temperature == StageConfig().loss.temperature


def test_default_space_samples_valid_stages():
    domains = spaces.domains(spaces.search_space(config()))
    for _ in range(50):
        spaces.configured(StageConfig(), {name: domain.sample() for name, domain in domains.items()})


def test_units_of_memory_and_time():
    tuned = config(memory_per_trial="1.5G", trial_time_limit="30m", time_budget="2h").tune
    assert (tuned.memory_per_trial, tuned.trial_time_limit, tuned.time_budget) == (1.5 * 2**30, 1800.0, 7200.0)
    with pytest.raises(ConfigError, match=r"tune\.trial_time_limit: .*got '30 minutes'"):
        config(trial_time_limit="30 minutes")


def test_memory_grows_with_the_trial():
    shape = EncoderShape(layers=6, hidden=384, heads=12, intermediate=1536, vocabulary=30522, positions=512)
    assert shape.parameters(6) == pytest.approx(22.7e6, rel=0.02)  # all-MiniLM-L6-v2
    usual = estimate(shape, 6, 32, 256)
    assert PROCESS < estimate(shape, 6, 32, 256, on_gpu=True) < estimate(shape, 3, 32, 256) < usual
    assert estimate(shape, 6, 32, 256, averaged=True) - usual == 4 * shape.parameters(6)
    assert usual - estimate(shape, 6, 32, 256, frozen=2) == pytest.approx(
        12 * shape.parameters(2) + 2 * 256 * 32 * (34 * 384 + 5 * 12 * 256) * 2
    )
    assert estimate(shape, 6, 64, 256) - usual == 2 * 256 * 32 * (34 * 384 + 5 * 12 * 256) * 6


def test_memory_is_reserved_for_largest_trial(encoder):
    stages = {
        "teacher": {"start": str(encoder)},
        "student": {"start": "teacher", "teachers": ["teacher"], "layers": 1, "batch_size": 4},
    }
    tree = {"stages": stages, "data": {"max_tokens": 16}}
    space = {"layers": {"low": 1, "high": 3}, "batch_size": {"choices": [8, 64]}}
    small, large = (memory_per_trial(parse_config({**tree, "tune": {"space": each}})) for each in (
        {"dropout": {"low": 0.0, "high": 0.3}}, space
    ))  # fmt: skip
    assert small < large
    assert memory_per_trial(parse_config({**tree, "tune": {"space": space, "memory_per_trial": "1G"}})) == 2**30
