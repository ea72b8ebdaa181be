"""Searches that choose among encoders: each start has weights, tokens, costs and memory of its own."""

import pytest
from encoder_folders import write_encoder
from small_stage import search_plan, small

from kdh_ray import run
from kdh_ray.cluster import session
from kdh_ray.config import dump_config, parse_config
from kdh_ray.data import corpus_from_config
from kdh_ray.errors import CheckpointError, ConfigError, UserError
from kdh_ray.jobs import search
from kdh_ray.jobs.memory import memory_of_stage
from kdh_ray.jobs.stage_search.memory import memory_per_trial
from kdh_ray.jobs.stage_search.space import own_settings, search_space
from kdh_ray.jobs.stage_search.student_costs import check_budget, varied_cost
from kdh_ray.jobs.stage_search.trial import StageTrial
from kdh_ray.jobs.stage_search.trial_task import trial_task


@pytest.fixture
def other(tmp_path):
    """Another encoder, with a tokenizer and a width of its own."""
    return write_encoder(tmp_path / "other")


def searched(encoder, other, brought=None, **tune):
    """The configuration of ``small`` whose student's start is searched."""
    brings = brought or {}
    choices = {str(each): brings.get(each) for each in (encoder, other)}
    space = {"start": {"choices": choices if brought else list(choices)}, "learning_rate": {"low": 1e-4, "high": 1e-2}}
    tree = small(encoder).model_dump(mode="json")
    tree["stages"]["student"] |= {"start": str(encoder), "layers": 1}
    return parse_config({**tree, "tune": {**tree["tune"], "grace": 1, **tune, "space": space}})


def trial_with(task, values):
    trial = StageTrial.__new__(StageTrial)
    trial.setup(values, task)
    return trial


def task_of(config, folder):
    return trial_task(search_plan(config, folder), corpus_from_config(config.data), on_gpu=False)


def test_trials_train_the_start_that_they_chose(encoder, other, tmp_path):
    config = searched(encoder, other)
    run(config, tmp_path / "run", stages=["teacher"], local=True)
    task = task_of(config, tmp_path / "run")
    seen = {}
    trial = None
    for start in (str(encoder), str(other)):
        values = {"start": start, "learning_rate": 1e-3, "epochs": 1}
        if trial is None:
            trial = trial_with(task, values)
        else:
            trial.reset_config(values)  # in the same worker
        report = trial.step()
        model = trial._trial.training.classifier
        seen[start] = (model.encoder.config.hidden_size, report["parameters"])
        assert report["parameters"] == sum(each.numel() for each in model.parameters())
        assert int(trial._trial.training.train.tokens.ids.max()) < model.encoder.config.vocab_size
    assert len(set(seen.values())) == 2
    limit = min(parameters for _, parameters in seen.values())
    limited = config.tune.model_copy(update={"max_parameters": float(limit)})
    check_budget([*task.costs.values()], limited)
    with pytest.raises(UserError, match="the space's cheapest student"):
        check_budget([*task.costs.values()], config.tune.model_copy(update={"max_parameters": limit - 1.0}))


def test_memory_is_that_of_the_largest_start(encoder, other):
    alone = []
    for start in (encoder, other):
        tree = searched(encoder, other).model_dump(mode="json")
        tree["stages"]["student"]["start"] = str(start)
        del tree["tune"]["space"]["start"]
        config = parse_config(tree)
        alone.append(memory_of_stage(config, "student", space=search_space(config)))
    assert alone[0] != alone[1]
    assert memory_per_trial(searched(encoder, other)) == max(alone)


def test_best_configuration_has_the_chosen_start(encoder, other, tmp_path):
    plan = search_plan(searched(encoder, other), tmp_path)
    best = plan.best_config({"start": str(other), "learning_rate": 1e-3})
    assert best.stages["student"].start == str(other)
    assert own_settings(plan.config)["start"] == str(encoder)
    assert varied_cost(plan.config) == "latency_ms"


def test_starts_bring_layers_of_their_own(encoder, other):
    bring = {encoder: {"layers": {"low": 1, "high": 2}}, other: {"layers": {"low": 1, "high": 2}}}
    config = searched(encoder, other, bring)
    assert parse_config(config.model_dump(mode="json")) == config
    assert dump_config(config)
    search_space(config)
    deep = searched(encoder, other, {**bring, other: {"layers": {"low": 1, "high": 9}}})
    with pytest.raises(ConfigError, match=r"other has 2 encoder layers; got up to 9 \(let each start bring its own"):
        search_space(deep)


def test_stages_are_no_choices(encoder):
    with pytest.raises(ConfigError, match="takes encoders and folders of checkpoints; 'teacher' is a stage"):
        search_space(searched(encoder, "teacher"))


def test_every_start_is_checked_before_ray_starts(encoder, other, tmp_path, monkeypatch):
    monkeypatch.setattr(session, "ray_session", lambda *arguments, **settings: pytest.fail("Ray was started"))
    (other / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"stages\.student\.start: .*other is not an encoder that can be read"):
        search(searched(encoder, other), tmp_path / "run")
