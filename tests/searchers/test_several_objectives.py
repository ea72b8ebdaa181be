"""Several objectives: fronts, scalarisation, the swarm that seeks a front, and its Ray Tune searcher."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune

from searchers import Categorical, Float, ParetoSwarm
from searchers.factory import SEARCHERS, make_searcher
from searchers.objectives import VectorResults, non_dominated, tchebycheff

SPACE = {"x": Float(0, 1), "y": Categorical(["a", "b"])}
TUNE_SPACE = {"x": tune.uniform(0, 1), "y": tune.choice(["a", "b"])}
ABLE = [name for name in SEARCHERS if name not in ("nevergrad-pso", "pyswarms")]


def objectives(config):
    """Trade-off in x; y = b is worse in both."""
    return config["x"] ** 2 + (config["y"] == "b"), (config["x"] - 1) ** 2 + (config["y"] == "b")


def searched(swarm, n=60):
    for _ in range(n):
        move = swarm.ask()
        swarm.tell(move.id, objectives(move.config))
    return swarm


def test_front_leaves_out_what_others_beat():
    values = np.array([[1, 4], [2, 2], [4, 1], [3, 3], [2, 2], [1, 5]], dtype=float)
    assert non_dominated(values).tolist() == [True, True, True, False, True, False]


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 3), min_size=1, max_size=20))
def test_front_is_that_of_pairwise_comparison(rows):
    values = np.array(rows, dtype=float)
    beaten = [any((other <= row).all() and (other < row).any() for other in values) for row in values]
    assert non_dominated(values).tolist() == [not each for each in beaten]


def test_tchebycheff_is_that_of_paper():
    values = np.array([[0, 10], [1, 0], [0.5, 2.5], [1, 20]])
    # scaled by the front's range: (0, 1), (1, 0), (0.5, 0.25) and, beyond it, (1, 2)
    expected = [0.75 + 0.05 * 0.75, 0.25 + 0.05 * 0.25, 0.1875 + 0.05 * 0.3125, 1.5 + 0.05 * 1.75]
    np.testing.assert_allclose(tchebycheff(values, np.array([0.25, 0.75])), expected)
    assert np.isfinite(tchebycheff(values[:1], np.array([0.5, 0.5]))).all()


def test_vectors_are_compared_at_one_fidelity():
    results = VectorResults(2)
    results.add(0, {1.0: (0.0, 9.0), 3.0: (0.0, 2.0)})
    results.add(0, {1.0: (9.0, 0.0), 4.0: (1.0, 1.0)})
    results.add(1, {1.0: (-5.0, -5.0)})  # stopped early
    results.add(1, {})
    assert results.front(3.0).tolist() == [0, 1]
    short, long, stopped, failed = results.scalarised(np.array([1.0, 0.0]), 3.0)
    assert (short[3.0], long[4.0]) == (pytest.approx(0.05 * 0), pytest.approx(1.05))
    assert stopped == {1.0: 0.0}
    assert failed == {}


@pytest.mark.parametrize("screening", [True, False])
def test_swarm_spreads_over_front(screening):
    front = searched(ParetoSwarm(SPACE, 2, seed=1, screening=screening), 80).front
    assert len(front) >= 10
    assert {config["y"] for config, _ in front} == {"a"}
    assert min(values[0] for _, values in front) < 0.02
    assert min(values[1] for _, values in front) < 0.02
    xs = sorted(config["x"] for config, _ in front)
    assert max(np.diff(xs)) < 0.35


def test_swarm_seeks_both_ends_of_front():
    swarm = ParetoSwarm({f"x{i}": Float(0, 1) for i in range(4)}, 2, seed=0)
    for _ in range(70):
        move = swarm.ask()
        x = np.array([*move.config.values()])
        swarm.tell(move.id, ((x**2).mean(), ((x - 1) ** 2).mean()))
    lowest = np.min([values for _, values in swarm.front], axis=0)
    assert (lowest < 0.02).all()


def test_swarm_continues_from_its_state():
    swarm = searched(ParetoSwarm(SPACE, 2, seed=0), 25)
    pending = swarm.ask()
    swarm.report(pending.id, (0.5, 0.5), 1.0)
    swarm.add_evaluated({"x": 0.5, "y": "a"}, (0.25, 0.25))
    restored = ParetoSwarm.from_state(json.loads(json.dumps(swarm.get_state())))
    assert restored.front == swarm.front
    for each in (swarm, restored):
        each.tell(pending.id, objectives(pending.config), 1.0)
    assert [restored.ask() for _ in range(5)] == [swarm.ask() for _ in range(5)]
    assert swarm.best == min(((config, values[0]) for config, values in swarm.front), key=lambda pair: pair[1])


def test_failures_are_not_on_front():
    swarm = ParetoSwarm({"x": Float(0, 1)}, 3, n_particles=4, seed=0)
    for number in range(30):
        move = swarm.ask()
        x = move.config["x"]
        swarm.tell(move.id, [None, (math.nan, 0.0, 0.0), (x, 1 - x, x * x)][min(number, 2)])
    assert 0 < len(swarm.front) <= 28
    with pytest.raises(ValueError, match="3 values"):
        swarm.tell(swarm.ask().id, (1.0, 2.0))
    with pytest.raises(ValueError, match="front"):
        swarm.recommend()
    weights = [swarm.weights(particle) for particle in range(4)]
    np.testing.assert_allclose(np.sum(weights, axis=1), 1.0)


@pytest.mark.parametrize("name", ABLE)
def test_searchers_take_further_objectives(name, tmp_path):
    def make():
        search = make_searcher(name, seed=0, budget=40, further_objectives={"cost": "min"})
        search.set_search_properties("score", "max", TUNE_SPACE, num_samples=40)
        return search

    def advance(search, begin, end):
        for number in range(begin, end):
            config = search.suggest(str(number))
            loss, cost = objectives(config)
            result = {"score": -loss, "cost": cost, "training_iteration": 1}
            search.on_trial_result(str(number), result)
            search.on_trial_complete(str(number), result)
        return search

    search = advance(make(), 0, 20)
    search.save(str(tmp_path / "state"))
    restored = make()
    restored.restore(str(tmp_path / "state"))
    assert restored.suggest("next") == search.suggest("next")
    with pytest.raises(ValueError, match="further_objectives"):
        make_searcher(name, further_objectives={"seconds": "min"}).restore(str(tmp_path / "state"))


@pytest.mark.parametrize("name", sorted(set(SEARCHERS) - set(ABLE)))
def test_searcher_of_one_objective_says_so(name):
    with pytest.raises(
        ValueError, match=r"optimises one objective; several are optimised by pso, .*random, optuna-tpe"
    ):
        make_searcher(name, further_objectives={"cost": "min"})


def test_result_without_further_objective_is_failure(caplog):
    search = make_searcher(
        "pso", seed=0, metric="loss", mode="min", space=TUNE_SPACE, further_objectives={"cost": "min"}
    )
    search.suggest("a")
    search.on_trial_complete("a", {"loss": 0.5, "cost": None, "training_iteration": 1})
    assert search.swarm.front == []
    assert "reported None, which is not a number, as 'cost'" in caplog.text
    search.add_evaluated_point({"x": 0.5, "y": "a"}, [0.5, 3.0])
    assert search.swarm.front == [({"x": 0.5, "y": "a"}, (0.5, 3.0))]
    with pytest.raises(ValueError, match="mode 'min' or 'max'"):
        make_searcher("pso", further_objectives={"cost": "least"})
