"""Searches of noisy functions: normal scores, recommendations, and what the swarm follows."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from searchers import Float, ParticleSwarm
from searchers.noise import normal_scores, relative_noise, value_at

SPACE = {"x": Float(0.0, 1.0), "y": Float(0.0, 1.0)}


def bowl(config):
    return (config["x"] - 0.3) ** 2 + (config["y"] - 0.6) ** 2


def searched(seed, sigma=0.3, evaluations=60, **settings):
    """Return a swarm that has searched a bowl under noise."""
    swarm, rng = ParticleSwarm(SPACE, seed=seed, **settings), np.random.default_rng(seed)
    for _ in range(evaluations):
        move = swarm.ask()
        swarm.tell(move.id, bowl(move.config) + sigma * rng.normal())
    return swarm


@given(st.lists(st.floats(-1e300, 1e300), min_size=2, max_size=40))
def test_normal_scores_follow_ranks_only(values):
    values = np.array(values)
    scores = normal_scores(values)
    order = np.argsort(values, kind="stable")
    assert (np.diff(scores[order]) >= 0).all()
    assert ((np.diff(values[order]) == 0) == (np.diff(scores[order]) == 0)).all()
    assert abs(scores).max() <= 3.0
    np.testing.assert_allclose(scores, -normal_scores(-values), atol=1e-9)
    np.testing.assert_allclose([value_at(score, values) for score in scores], values)


def test_failures_score_worst():
    scores = normal_scores(np.array([3.0, np.inf, 1.0, np.inf]))
    assert scores[1] == scores[3] == scores.max()
    assert not normal_scores(np.full(3, np.inf)).any()


def test_unknown_noise_counts_as_median():
    np.testing.assert_allclose(relative_noise(np.array([1.0, np.nan, 2.0, 4.0])), [0.25, 1.0, 1.0, 4.0])
    assert relative_noise(np.array([np.nan, 0.0])).tolist() == [1.0, 1.0]


def test_recommendation_is_better_than_luck():
    swarms = [searched(seed, sigma=0.2, evaluations=40, noisy=True) for seed in range(10)]
    recommended = np.mean([bowl(swarm.recommend()[0]) for swarm in swarms])
    luckiest = np.mean([bowl(swarm.best[0]) for swarm in swarms])
    assert recommended < 0.6 * luckiest
    for swarm in swarms:
        config, value = swarm.recommend()
        assert value > swarm.best[1]  # the luckiest value is too low
        assert swarm.best[0] != config or value < 0.2


def test_plain_swarm_recommends_its_best_without_noise():
    for settings in ({}, {"screening": False}, {"noisy": True}):
        swarm = searched(0, sigma=0.0, **settings)
        assert bowl(swarm.recommend()[0]) < 0.01
        assert swarm.recommend()[1] == pytest.approx(swarm.best[1], abs=0.02)


def test_nothing_is_recommended_before_a_success():
    swarm = ParticleSwarm(SPACE, seed=0, noisy=True)
    assert swarm.recommend() is None
    swarm.tell(swarm.ask().id, None)
    assert swarm.recommend() is None
    move = swarm.ask()
    swarm.tell(move.id, 2.5)
    assert swarm.recommend() == (move.config, pytest.approx(2.5))


def test_precise_values_outweigh_noisy_ones():
    """Many evaluations of one configuration, or one with a small deviation, overrule a lucky value."""
    swarm = ParticleSwarm({"x": Float(0.0, 1.0)}, seed=0, noisy=True)
    for x in np.linspace(0.0, 1.0, 12):
        swarm.add_evaluated({"x": float(x)}, 1.0 + float(np.sin(40 * x)), deviation=0.5)
    swarm.add_evaluated({"x": 0.25}, -5.0, deviation=50.0)
    swarm.add_evaluated({"x": 0.77}, -1.0, deviation=0.01)
    assert swarm.best[0] == {"x": 0.25}
    assert swarm.recommend()[0] == {"x": 0.77}


def test_repeated_evaluations_of_one_configuration_count():
    swarm = ParticleSwarm(SPACE, seed=0, noisy=True)
    for value in (3.0, 2.8, 3.2):
        swarm.add_evaluated({"x": 0.1, "y": 0.1}, value)
    for value in (0.0, 9.0, 10.0, 8.0, 9.5):  # once lucky
        swarm.add_evaluated({"x": 0.9, "y": 0.9}, value)
    assert swarm.best[0] == {"x": 0.9, "y": 0.9}
    assert swarm.recommend()[0] == {"x": 0.1, "y": 0.1}


def test_noisy_swarm_continues_from_its_state():
    swarm = searched(1, evaluations=25, noisy=True)
    restored = ParticleSwarm.from_state(json.loads(json.dumps(swarm.get_state())))
    assert restored.recommend() == swarm.recommend()
    assert restored.ask() == swarm.ask()


def test_states_without_noise_load():
    state = searched(1, evaluations=15).get_state()
    del state["noisy"], state["archive"]["deviations"]
    restored = ParticleSwarm.from_state(json.loads(json.dumps(state)))
    assert not restored.noisy
    assert restored.recommend() is not None


@pytest.mark.parametrize("deviation", [-1.0, float("nan"), float("inf")])
def test_impossible_deviation_is_refused(deviation):
    swarm = ParticleSwarm(SPACE, seed=0)
    with pytest.raises(ValueError, match="finite number >= 0"):
        swarm.tell(swarm.ask().id, 1.0, deviation=deviation)
