"""Search spaces, and positions in the unit cube."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from searchers import Categorical, Float, Integer, Ordinal, ParticleSwarm, Space

CONDITIONAL = {
    "model": Categorical(
        [{"kind": "svm", "C": Float(1e-3, 1e3, log=True)}, {"kind": "forest", "trees": Integer(1, 9)}]
    ),
    "optimizer": {"lr": Float(1e-5, 1e-1, log=True), "betas": [Float(0.8, 0.9), 0.999]},
    "batch": Ordinal([8, 16, 64]),
    "loss": Categorical(["mse", None, True]),
    "seed": 3,
}


@st.composite
def floats(draw):
    lower = draw(st.floats(-1e6, 1e6))
    log = draw(st.booleans())
    if log:
        lower = draw(st.floats(1e-9, 1e6))
    upper = lower + draw(st.floats(1e-3, 1e6)) * max(1.0, abs(lower))
    return Float(lower, upper, log=log)


@st.composite
def grids(draw):
    step = draw(st.sampled_from([0.001, 0.05, 0.1, 0.25, 1.0, 3.0]))
    first, count = draw(st.integers(1, 1000)), draw(st.integers(1, 5000))
    return Float(first * step, (first + count) * step, log=draw(st.booleans()), step=step)


@st.composite
def integers(draw):
    log = draw(st.booleans())
    lower = draw(st.integers(1 if log else -(10**6), 10**6))
    step = draw(st.integers(1, 50))
    return Integer(lower, lower + draw(st.integers(0, 10**9)), log=log, step=step)


choices = st.lists(st.one_of(st.integers(), st.booleans(), st.none(), st.text(max_size=3)), min_size=1, max_size=6)
parameters = st.one_of(
    floats(),
    grids(),
    integers(),
    choices.map(Ordinal),
    choices.map(lambda values: Categorical(list(dict.fromkeys(values)))),
)


@settings(max_examples=400, deadline=None)
@given(parameters, st.data())
def test_decoded_values_encode_back_exactly(parameter, data):
    space = Space({"x": parameter})
    unit = np.array(data.draw(st.lists(st.floats(0, 1), min_size=space.n_dims, max_size=space.n_dims)))
    config = space.decode(unit)
    again = space.encode(config)
    assert space.decode(again) == config
    assert type(space.decode(again)["x"]) is type(config["x"])
    assert ((again >= 0) & (again <= 1)).all()


@settings(max_examples=200, deadline=None)
@given(parameters, st.data())
def test_snap_agrees_with_decode(parameter, data):
    space = Space({"x": parameter})
    positions = np.array(
        [data.draw(st.lists(st.floats(0, 1), min_size=space.n_dims, max_size=space.n_dims)) for _ in range(2)]
    )
    first, second = space.snap(positions)
    assert space.decode(first) == space.decode(positions[0])
    if (first == second).all():
        assert space.decode(positions[0]) == space.decode(positions[1])


@settings(max_examples=200, deadline=None)
@given(parameters, st.data())
def test_identity_is_equal_for_equal_configurations(parameter, data):
    space = Space({"x": parameter})
    first = np.array(data.draw(st.lists(st.floats(0, 1), min_size=space.n_dims, max_size=space.n_dims)))
    near = data.draw(st.sampled_from([0.0, 1e-16, 1e-14, 1e-13, 1e-12, 1e-9, 0.1]))
    second = np.clip(first + near, 0, 1)
    values = [space.decode(position)["x"] for position in (first, second)]
    equal = values[0] == values[1] and type(values[0]) is type(values[1])  # 1 and True are two
    assert (space.identify(first).tobytes() == space.identify(second).tobytes()) == equal


@settings(max_examples=100, deadline=None)
@given(st.one_of(floats(), grids(), integers()))
def test_bounds_are_included_and_respected(parameter):
    space = Space({"x": parameter})
    low, high = space.decode(np.zeros(1))["x"], space.decode(np.ones(1))["x"]
    assert low == pytest.approx(parameter.lower)
    assert parameter.lower <= low <= high <= parameter.upper
    if parameter.step is None:
        assert high == pytest.approx(parameter.upper)
    else:
        assert parameter.upper - high < parameter.step


@pytest.mark.parametrize("log", [False, True])
def test_integer_shares_match_their_range(log):
    space = Space({"k": Integer(1, 4, log=log)})
    drawn = [space.decode(np.array([u]))["k"] for u in (np.arange(20000) + 0.5) / 20000]
    shares = np.bincount(drawn, minlength=5)[1:] / len(drawn)
    expected = np.log(np.arange(2, 6) / np.arange(1, 5)) / np.log(5) if log else np.full(4, 0.25)
    np.testing.assert_allclose(shares, expected, atol=1e-3)


def test_quantised_values_are_exact():
    space = Space({"x": Float(0.1, 0.9, step=0.1)})
    values = [space.decode(space.position_at(i))["x"] for i in range(9)]
    assert values == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


def test_quantised_values_are_exact_at_zero():
    space = Space({"x": Float(-0.9, 0.9, step=0.3), "y": Float(-1000.0, 1000.0, step=0.1)})
    values = [repr(space.decode(space.encode({"x": x, "y": y}))) for x, y in ((0.0, 0.1), (0.3, 0.0))]
    assert values == ["{'x': 0.0, 'y': 0.1}", "{'x': 0.3, 'y': 0.0}"]


def test_wide_integer_ranges_keep_their_bounds():
    """The rounding slack of quantised floats would be a whole step here."""
    space = Space({"k": Integer(1, 10**12 + 7)})
    assert space.size == 10**12 + 7
    for value in (1, 10**12 + 6, 10**12 + 7):
        assert space.decode(space.encode({"k": value})) == {"k": value}
    assert space.decode(np.ones(1)) == {"k": 10**12 + 7}


@pytest.mark.parametrize(
    ("parameter", "value"),
    [(Integer(10**11, 2 * 10**11, step=100), 10**11 + 30), (Float(1e6, 1e6 + 1, step=0.01), 1e6 + 0.0005)],
)
def test_values_off_the_grid_are_refused(parameter, value):
    with pytest.raises(ValueError, match="in steps of"):
        parameter.encode(value)


def test_numpy_values_become_python_values():
    """In bounds, in choices such as ``tune.choice(np.array([8, 16]))``, and in points. JSON needs it."""
    space = Space(
        {
            "x": Float(np.float32(0.1), np.float64(1.0)),
            "k": Integer(np.int8(1), np.int8(127), log=np.True_),
            "o": Ordinal([np.int64(8), np.int64(16), 32]),
            "c": Categorical([np.str_("a"), np.float64(0.5), np.bool_(True)]),
        }
    )
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space
    for place in (0.0, 0.3, 1.0):
        config = space.decode(np.full(space.n_dims, place))
        assert [type(config[name]) for name in "xko"] == [float, int, int]
        assert space.decode(space.encode(config)) == config
    config = space.decode(space.encode({"x": np.float64(0.5), "k": np.int64(3), "o": np.int64(16), "c": np.str_("a")}))
    assert config == {"x": 0.5, "k": 3, "o": 16, "c": "a"}


def test_repeated_choices_count_once():
    space = Space({"c": Categorical(["a", "b", "a", [1], [1], 1, True]), "o": Ordinal([1, 1, 2])})
    assert space.size == 5 * 2
    assert space.parameters[0].choices == ("a", "b", [1], 1, True)


def test_conditional_parameters_exist_under_their_choice():
    space = Space(CONDITIONAL)
    rng = np.random.default_rng(0)
    kinds = set()
    for _ in range(50):
        config = space.decode(space.from_uniform(rng.random(space.n_parameters)))
        kinds.add(config["model"]["kind"])
        assert set(config["model"]) == {"kind", "C"} if config["model"]["kind"] == "svm" else {"kind", "trees"}
        assert config["seed"] == 3
        assert config["optimizer"]["betas"][1] == 0.999
        assert space.decode(space.encode(config)) == config
    assert kinds == {"svm", "forest"}


def test_absent_parameters_make_no_new_configuration():
    space = Space({"m": Categorical([{"a": Integer(0, 9)}, {"b": Integer(0, 9)}])})
    position = space.encode({"m": {"a": 4}})
    other = position.copy()
    other[-1] = 0.95  # b
    assert space.decode(position) == space.decode(other)
    assert (space.snap(position[None]) == space.snap(other[None])).all()
    assert space.size == 20


def test_finite_space_enumerates_all_configurations():
    space = Space(
        {"m": Categorical([{"a": Integer(0, 2)}, None]), "o": Ordinal(["x", "y", "z", 1]), "i": Integer(1, 3)}
    )
    assert space.size == 4 * 4 * 3
    configs = {json.dumps(space.decode(space.position_at(i))) for i in range(int(space.size))}
    assert len(configs) == space.size


def test_points_may_be_flat_or_partial():
    space = Space(CONDITIONAL)
    fill = space.from_uniform(np.full(space.n_parameters, 0.4))
    config = space.decode(space.encode({"optimizer/lr": 1e-3, "model/kind": "forest", "model/trees": 2}, fill=fill))
    assert config["optimizer"]["lr"] == 1e-3
    assert config["model"] == {"kind": "forest", "trees": 2}
    assert config["batch"] == 16


@pytest.mark.parametrize(
    ("point", "words"),
    [
        ({"learning_rate": 1}, "no learning_rate"),
        ({"x": 2.0}, "from 0.0 to 1.0"),
        ({"x": float("nan")}, "from 0.0 to 1.0"),
        ({"x": True}, "from 0.0 to 1.0"),
        ({"k": 2.5}, "from 1 to 4"),
        ({"k": 5}, "from 1 to 4"),
        ({"q": 0.33}, "in steps of 0.1"),
        ({"c": "z"}, "one of"),
        ({"seed": 4}, "always 3"),
        ({"x": 0.5}, "missing k, q, c"),
    ],
)
def test_point_outside_the_space_is_explained(point, words):
    space = Space(
        {
            "x": Float(0.0, 1.0),
            "k": Integer(1, 4),
            "q": Float(0, 1, step=0.1),
            "c": Categorical(["a", "b"]),
            "seed": 3,
        }
    )
    with pytest.raises(ValueError, match=words):
        space.encode(point)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Float(1, 0), "lower <= upper"),
        (lambda: Float(0, float("inf")), "finite bounds"),
        (lambda: Float(-1e308, 1e308), "finite range"),
        (lambda: Float(0, 1, log=True), "lower > 0"),
        (lambda: Float(0, 1, step=0), "step > 0"),
        (lambda: Integer(0.5, 2), "whole numbers"),
        (lambda: Integer(0, 2**50), "2\\*\\*40"),
        (lambda: Categorical([]), "at least one"),
        (lambda: Categorical("abc"), "list of choices"),
        (lambda: Space({1: Float(0, 1)}), "keys"),
        (lambda: Space([Float(0, 1)]), "dict of parameters"),
    ],
)
def test_invalid_space_error_states_the_rule(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_constant_dicts_may_have_any_keys():
    names = {0: "cat", 1: "dog"}
    space = Space({"x": Float(0, 1), "data": {"names": names}, "c": Categorical([{1: "a"}, {2: "b"}])})
    config = space.decode(space.encode({"x": 0.5, "data": {"names": names}, "c": {2: "b"}}))
    assert config == {"x": 0.5, "data": {"names": names}, "c": {2: "b"}}
    assert not Space.is_restorable(space.to_json())  # JSON has keys of one kind
    with pytest.raises(ValueError, match="keys"):
        Space({"data": {0: Float(0, 1)}})


def test_choices_and_constants_may_be_arrays():
    """Tune copies configurations, so that arrays come back as equal, but other, objects."""
    arrays = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    space = Space(
        {"w": Categorical([None, *arrays]), "m": Categorical([{"w": array} for array in arrays]), "c": arrays[0]}
    )
    point = {"w": arrays[1].copy(), "m": {"w": arrays[1].copy()}, "c": arrays[0].copy()}
    config = space.decode(space.encode(point))
    assert config["w"] is arrays[1]
    assert config["m"]["w"] is arrays[1]
    with pytest.raises(ValueError, match="always"):
        space.encode({**point, "c": arrays[1]})


def test_one_and_true_are_different_choices():
    space = Space({"c": Categorical([1, True, 1.5, (1, 2)])})
    for value in (1, True, 1.5, (1, 2)):
        decoded = space.decode(space.encode({"c": value}))["c"]
        assert decoded == value
        assert type(decoded) is type(value)
    assert space.decode(space.encode({"c": [1, 2]}))["c"] == (1, 2)


def test_space_survives_json():
    space = Space(CONDITIONAL)
    assert Space.from_json(json.loads(json.dumps(space.to_json()))) == space


def test_opaque_choices_need_the_space_again():
    space = Space({"activation": Categorical([len, max])})
    with pytest.raises(ValueError, match="give the search space again"):
        Space.from_json(json.loads(json.dumps(space.to_json())))


@pytest.mark.parametrize("count", [129, 1024, 1025, 10_000])
def test_many_choices_have_few_coordinates(count):
    parameter = Categorical([f"v{i}" for i in range(count)])
    assert parameter.width <= 100
    rng = np.random.default_rng(0)
    for index in (0, 1, count // 2, count - 1, *rng.integers(0, count, 20)):
        assert parameter.decode(parameter.encode(f"v{index}")) == f"v{index}"
    units = rng.random((200, parameter.width))
    snapped = parameter.snap(units)
    assert [parameter.decode(row) for row in snapped] == [parameter.decode(row) for row in units]
    assert {parameter.decode(parameter.from_uniform(u)) for u in (0.0, 0.999999)} == {"v0", f"v{count - 1}"}


def test_search_with_many_choices_continues_from_an_earlier_version():
    """It gave each choice a coordinate."""
    tree = {"c": Categorical(list(range(200))), "x": Float(0, 1)}
    search = ParticleSwarm(Space(tree).with_one_hot(), seed=0)
    for _ in range(12):
        move = search.ask()
        search.tell(move.id, move.config["x"])
    restored = ParticleSwarm.from_state(json.loads(json.dumps(search.get_state())), Space(tree))
    assert [restored.ask().config for _ in range(5)] == [search.ask().config for _ in range(5)]


def test_error_names_few_of_many_choices():
    with pytest.raises(ValueError, match="c takes one of 300 choices, 0, 1, 2 to 299; got 'x'"):
        Space({"c": Categorical(list(range(300)))}).encode({"c": "x"})
