"""Choices that bring settings of their own: their faults, and what trials, rows and searchers make of them."""

import itertools

import pytest
import yaml
from cheap_search import RandomSearch

from kdh_ray.config import active_ranges, dump_config, parse_config
from kdh_ray.errors import ConfigError, UserError
from kdh_ray.jobs import search
from kdh_ray.jobs.memory import memory_of_stage
from kdh_ray.jobs.stage_search import space as spaces
from kdh_ray.jobs.stage_search.searcher import make_searcher
from kdh_ray.jobs.stage_search.student_costs import _values
from searchers.factory import SEARCHERS

SPACE = """
learning_rate: {low: 1.0e-5, high: 1.0e-3, log: true}
loss.soft:
  choices:
    bernoulli-kl:
    softmax-kl:
      loss.temperature: {low: 1, high: 8}
      freeze: {choices: {0: , 1: {layer_decay: {low: 0.5, high: 1}}}}
batch_size:
  choices:
    8: {epochs: {low: 2, high: 6}}
    32: {epochs: {low: 2, high: 9}}
"""


def config(text=SPACE, **student):
    stages = {"teacher": {"epochs": 3}, "student": {"start": "teacher", "teachers": ["teacher"], "epochs": 5}}
    stages["student"] |= student
    return parse_config({"stages": stages, "tune": {"space": yaml.safe_load(text), "trials": 12}})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("loss.soft: {choices: {bernoulli-kl: 3, softmax-kl: }}",
         "tune.space.loss.soft.choices.bernoulli-kl: takes settings and their ranges; got 3"),
        ("loss.soft: {choices: {bernoulli-kl: {loss.temperature: 3}, softmax-kl: }}",
         "tune.space.loss.soft.choices.bernoulli-kl.loss.temperature: takes {low: .., high: ..} or {choices: [..]};"
         " got 3"),
        ("loss.soft: {choices: {bernoulli-kl: {loss.temperatur: {low: 1, high: 2}}, softmax-kl: }}",
         "tune.space: loss.soft.choices.bernoulli-kl.loss.temperatur: no such setting of a stage to tune; did you mean"
         " 'loss.temperature'?"),
        ("loss.soft: {choices: {bernoulli-kl: {dropout: {lo: 0, high: 0.5}}, softmax-kl: }}",
         "tune.space.loss.soft.choices.bernoulli-kl.dropout.lo: no such setting; did you mean 'low'?"),
        ("loss.soft: {choices: {bernoulli-kl: {dropout: {low: 0, high: 2}}, softmax-kl: }}",
         "tune.space: loss.soft.choices.bernoulli-kl.dropout.high: input should be less than 1; got 2.0"),
        ("{dropout: {low: 0, high: 0.5}, loss.soft: {choices: {bernoulli-kl: {dropout: {low: 0, high: 0.2}},"
         " softmax-kl: }}}",
         "tune.space: loss.soft.choices.bernoulli-kl.dropout: dropout is searched at dropout, too"),
        ("{batch_size: {choices: {8: {freeze: {choices: [0, 1]}}, 16: }}, loss.soft: {choices: {softmax-kl: {freeze:"
         " {choices: [1, 2]}}, bernoulli-kl: }}}",
         "tune.space: loss.soft.choices.softmax-kl.freeze: freeze is searched at batch_size.choices.8.freeze, too"),
        ("loss.soft: {choices: {bernoulli-kl: {teachers: {choices: [a, b]}}, softmax-kl: }}",
         "tune.space: loss.soft.choices.bernoulli-kl.teachers: can't be searched: it says where a stage is, not how it"
         " learns"),
        ("loss.soft: {choices: {bernoulli-kl: {start: {choices: [a, b]}}, softmax-kl: }}",
         "tune.space: loss.soft.choices.bernoulli-kl.start: is searched at the top of the space only, and its choices"
         " bring other settings"),
        ("batch_size: {choices: {8: , '8': , 9: }}", "tune.space: batch_size.choices: each value once; got [8, 8, 9]"),
    ],
)  # fmt: skip
def test_faults_of_brought_settings_name_their_place(text, fault):
    with pytest.raises(ConfigError) as refused:
        config(text)
    assert refused.value.faults == [fault]


def test_brought_settings_are_checked_against_the_run():
    text = "batch_size: {choices: {8: {max_tokens: {low: 64, high: 512}}, 16: }}"
    with pytest.raises(
        ConfigError, match=r"tune\.space\.batch_size\.choices\.8\.max_tokens: at most data\.max_tokens, 256; got 512"
    ):
        spaces.search_space(config(text))


def test_conditional_space_reads_back_as_written():
    text = SPACE + "layers: {choices: {null: {weight_decay: {low: 0, high: 0.1}}, 1: }}\n"
    written = config(text)
    assert list(written.tune.space["layers"].choices) == [None, 1]
    assert list(written.tune.space["batch_size"].choices) == [8, 32]
    assert parse_config(yaml.safe_load(dump_config(written))) == written


@pytest.mark.parametrize("name", SEARCHERS)
def test_every_searcher_suggests_active_settings_only(name):
    tuned = config(batch_size=8)
    tuned = tuned.model_copy(update={"tune": tuned.tune.model_copy(update={"searcher": name})})
    searcher = make_searcher(tuned)
    searcher.set_search_properties("score", "max", spaces.domains(tuned.tune.space), num_samples=12)
    for number in range(12):
        settings = spaces.flat(values := searcher.suggest(str(number)))
        assert settings.keys() == active_ranges(tuned.tune.space, settings).keys()
        assert spaces.nested(tuned.tune.space, settings) == values
        stage = spaces.configured(tuned.stages["student"], values)
        assert stage.loss.temperature == settings.get("loss.temperature", 2.0)
        assert number or spaces.has_own_settings(tuned, values)
        searcher.on_trial_complete(str(number), {"score": settings["epochs"] / 10, "training_iteration": 1})


def test_stage_outside_a_brought_range_is_no_trial():
    outside = config(batch_size=8, epochs=8)  # 8 epochs only with batches of 32
    assert spaces.own_settings(outside) == {"learning_rate": 1e-4, "loss.soft": "bernoulli-kl", "batch_size": 8}
    assert not spaces.has_own_settings(outside, spaces.own_settings(outside))
    inside = config(batch_size=32, epochs=8)
    assert spaces.has_own_settings(inside, spaces.nested(inside.tune.space, spaces.own_settings(inside)))


def test_settings_that_a_choice_leaves_out_make_no_new_trial():
    tuned = config("""
loss.soft: {choices: {bernoulli-kl: , softmax-kl: {freeze: {choices: [0, 1, 2]}}}}
batch_size: {choices: {8: {warmup: {choices: [0, 0.1]}}, 16: , 32: }}
""")
    searcher = make_searcher(tuned)
    searcher.set_search_properties("score", "max", spaces.domains(tuned.tune.space))
    found = []
    while isinstance(values := searcher.suggest(str(len(found))), dict):
        found.append(spaces.flat(values))
        searcher.on_trial_complete(str(len(found) - 1), {"score": 0.5})
    assert len(found) == (1 + 3) * (2 + 1 + 1)
    assert all(left != right for left, right in itertools.combinations(found, 2))


def test_largest_trial_counts_brought_settings(encoder):
    tuned = config()
    assert spaces.longest_trial(tuned.stages["student"], tuned.tune.space) == 9
    text = "batch_size: {choices: {8: {layers: {low: 1, high: 2}, max_tokens: {low: 16, high: 64}}, 16: }}"
    tree = {"stages": {"student": {"start": str(encoder), "layers": 3}}, "data": {"max_tokens": 64}}
    wide = parse_config({**tree, "tune": {"stage": "student", "space": yaml.safe_load(text)}})
    assert _values(wide.tune.space, "layers", 3) == [1, 2, 3]
    shallow = wide.model_copy(update={"stages": {"student": wide.stages["student"].model_copy(update={"layers": 1})}})
    assert memory_of_stage(shallow, "student", space=wide.tune.space) > memory_of_stage(shallow, "student")


def test_searcher_without_conditions_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"tune\.space\.loss\.soft: RandomSearch can't search choices that bring"):
        search(config(), tmp_path, searcher=RandomSearch())
