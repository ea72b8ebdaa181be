"""Conversion of Ray Tune's domains."""

import numpy as np
import pytest

tune = pytest.importorskip("ray.tune")

from searchers.tune_space import convert  # noqa: E402

DOMAINS = {
    "uniform": tune.uniform(-1.0, 2.0),
    "loguniform": tune.loguniform(1e-5, 1e-1),
    "quniform": tune.quniform(0.2, 1.0, 0.2),
    "qloguniform": tune.qloguniform(1e-3, 1e-1, 1e-3),
    "randint": tune.randint(2, 5),
    "lograndint": tune.lograndint(1, 9),
    "qrandint": tune.qrandint(0, 12, 4),
    "qrandint-inner": tune.qrandint(1, 11, 4),
    "qrandint-one": tune.qrandint(0, 3, 1),
    "qlograndint": tune.qlograndint(4, 64, 4),
    "randn": tune.randn(10.0, 2.0),
    "qrandn": tune.qrandn(0.0, 1.0, 0.5),
    "choice": tune.choice(["a", None, 3]),
}


@pytest.mark.parametrize("name", DOMAINS)
def test_values_are_ones_tune_could_draw(name):
    domain = DOMAINS[name]
    space = convert({"x": domain})
    rng = np.random.default_rng(0)
    values = [space.decode(rng.random(space.n_dims))["x"] for _ in range(300)]
    rng = np.random.default_rng(0)
    drawn = [domain.sample(random_state=rng) for _ in range(2000)]
    assert {type(value) for value in values} == {type(value) for value in drawn}
    if name == "qrandn":  # bounded here, unbounded there
        assert set(values) == set(np.arange(-3, 3.5, 0.5))
    elif space.size < 100:
        assert set(values) == {round(value, 9) if isinstance(value, float) else value for value in drawn}
    elif name != "randn":
        assert all(domain.is_valid(value) for value in values)
    for value in values:
        assert space.decode(space.encode({"x": value}))["x"] == value


def test_randint_excludes_its_upper_bound():
    space = convert({"x": tune.randint(2, 5)})
    assert {space.decode(np.array([u]))["x"] for u in np.linspace(0, 1, 50)} == {2, 3, 4}


def test_normal_is_cut_at_three_deviations():
    space = convert({"x": tune.randn(10.0, 2.0)})
    assert space.decode(np.zeros(1))["x"] == 4.0
    assert space.decode(np.ones(1))["x"] == 16.0


def test_nested_choices_are_resolved():
    space = convert({"model": tune.choice([{"kind": "svm", "c": tune.uniform(0, 1)}, {"kind": "none"}]), "n": [1, 2]})
    rng = np.random.default_rng(0)
    configs = [space.decode(space.from_uniform(rng.random(space.n_parameters))) for _ in range(30)]
    assert {config["model"]["kind"] for config in configs} == {"svm", "none"}
    assert all(isinstance(c["model"].get("c", 0.5), float) and c["n"] == [1, 2] for c in configs)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"a": {"b": tune.grid_search([1, 2])}}, r"a/b: .*tune.choice\(\[1, 2\]\)"),
        ({"a": tune.sample_from(lambda: 1)}, "a: .*sample_from"),
        ({"a": tune.search.sample.Float(None, 1.0)}, "a: .*bounds"),
        ({"a": tune.qrandint(5, 7, 4)}, "a: .*no multiple of 4"),
    ],
)
def test_unsupported_domains_name_an_alternative(config, words):
    with pytest.raises(ValueError, match=words):
        convert(config)


def test_opaque_constants_stay_with_tune():
    config = {"data": object(), "names": {0: "cat"}, "epochs": 3, "x": tune.uniform(0, 1)}
    assert set(convert(config, keep_objects=False).tree) == {"epochs", "x"}
    assert set(convert(config).tree) == {"data", "names", "epochs", "x"}
