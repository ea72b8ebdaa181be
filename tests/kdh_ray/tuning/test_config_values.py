"""Configurations as JSON, and the objects in them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune as ray_tune
from ray.tune.impl.placeholder import create_resolvers_map, inject_placeholders, resolve_placeholders

from kdh_ray.errors import UserError
from kdh_ray.tuning.config_values import ConfigValues

SCALARS = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.floats(allow_nan=False), st.text(max_size=8))
KEYS = st.one_of(st.text(max_size=8), st.integers(), st.tuples(st.integers(), st.text(max_size=3)))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(KEYS, inner, max_size=3),
        st.sampled_from(["$tuple", "$dict", "$object"]).flatmap(lambda key: inner.map(lambda value: {key: value})),
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.text(max_size=8), VALUES, max_size=4))
def test_any_configuration_survives_json(config):
    values = ConfigValues({})
    again = values.from_json(json.loads(json.dumps(values.to_json(config))))
    assert repr(again) == repr(config)  # 1, 1.0 and True differ
    assert repr(values.with_placeholders(config)) == repr(config)


class Loss:
    """An object without equality, and one that can't be copied."""

    def __deepcopy__(self, memo):
        raise TypeError


DATA = Loss()
SPACE = {
    "f": ray_tune.choice([len, max]),
    "g": ray_tune.choice([max, len]),  # the same objects at other places
    "n": ray_tune.choice([*np.arange(3), "auto"]),
    "head": {"act": ray_tune.choice([{"kind": min, "deep": [Loss, 1]}, None]), "data": [DATA, (DATA, 2)]},
    "x": ray_tune.uniform(0, 1),
}


def suggested(f, g, n, act):
    """Return a configuration as Ray Tune's own code makes it, with placeholders."""
    resolvers = create_resolvers_map()
    space = {**SPACE, "head": {**SPACE["head"], "act": ray_tune.choice(SPACE["head"]["act"].categories)}}
    space |= {name: ray_tune.choice(SPACE[name].categories) for name in "fgn"}
    hidden = inject_placeholders(space, resolvers)
    choices = {"f": f, "g": g, "n": n}
    config = {name: hidden[name].categories[index] for name, index in choices.items()}
    config["head"] = {"act": hidden["head"]["act"].categories[act], "data": hidden["head"]["data"]}
    return {**config, "x": 0.5}, resolvers


@given(st.integers(0, 1), st.integers(0, 1), st.integers(0, 3), st.integers(0, 1))
def test_objects_are_those_that_trials_get(f, g, n, act):
    values = ConfigValues(SPACE)
    hidden, resolvers = suggested(f, g, n, act)
    resolved = values.resolve(hidden)
    assert (resolved["f"], resolved["g"]) == ([len, max][f], [max, len][g])
    assert resolved["n"] is SPACE["n"].categories[n]
    assert resolved["head"]["data"][1][0] is DATA
    stored = json.loads(json.dumps(values.to_json(resolved)))
    assert values.from_json(stored) == resolved
    again = values.with_placeholders(resolved)
    assert again == hidden
    resolve_placeholders(again, resolvers)
    assert again == resolved


def test_objects_are_named_without_the_space():
    stored = ConfigValues(SPACE).to_json({"f": len, "n": SPACE["n"].categories[1]})
    unknown = ConfigValues()
    config = unknown.from_json(stored)
    assert repr(config) == "{'f': len, 'n': int64}"
    assert unknown.to_json(config) == stored
    with pytest.raises(UserError, match="the search space has no len any more"):
        unknown.with_placeholders(config)


def test_object_of_no_space_is_one_line():
    assert ConfigValues({}).to_json({"n": np.int64(3), "v": np.array([1.5])}) == {"n": 3, "v": [1.5]}
    with pytest.raises(UserError, match=r"has a value of type builtin_function_or_method, .* give the choices"):
        ConfigValues({}).to_json({"f": len})
