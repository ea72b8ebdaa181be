"""Reading of results, and learning from whole experiments."""

import decimal
import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

tune = pytest.importorskip("ray.tune")
pd = pytest.importorskip("pandas")

from searchers.pso_search import ParticleSwarmSearch  # noqa: E402
from searchers.tune_results import finite, number  # noqa: E402

SPACE = {"x": tune.uniform(0.0, 5.0), "head": {"kind": tune.choice(["mlp", None])}, "n": tune.randint(0, 5)}
CONFIG = {"x": 1.0, "head": {"kind": None}, "n": 3}


@given(st.floats())
def test_every_scalar_is_a_number(value):
    for scalar in (value, np.float64(value), np.array(value), decimal.Decimal(value)):
        assert number(scalar) == value or (math.isnan(value) and math.isnan(number(scalar)))
        assert finite(scalar) == (value if math.isfinite(value) else None)


@pytest.mark.parametrize("value", [None, "0.5", b"1", [0.5], (0.5,), np.array([0.5]), {}, 1j, 10**400, object()])
def test_anything_else_is_no_number(value):
    assert number(value) is None


def learnt(source, metric="loss"):
    search = ParticleSwarmSearch(SPACE, metric=metric, mode="min", seed=0)
    search.add_evaluated_trials(source, metric)
    return search.swarm


def result_of(loss, t, error=None):
    metrics = {"loss": loss, "eval": {"loss": loss}, "training_iteration": t}
    return SimpleNamespace(config=CONFIG, metrics=metrics, error=error)


def test_results_of_a_grid_are_learnt_from():
    swarm = learnt([result_of(0.5, 9), result_of(0.1, 1), result_of(0.0, 9, error=ValueError())])
    assert swarm.archive.values == [0.5, 0.1, math.inf]
    assert swarm.best == (CONFIG, 0.5)
    assert learnt([result_of(0.5, 9)], "eval/loss").best == (CONFIG, 0.5)


def test_data_frames_are_learnt_from():
    rows = [
        {"loss": 0.5, "training_iteration": 9, "config/x": 1.0, "config/head/kind": None, "config/n": 3, "config/a": 7},
        {"loss": math.nan, "training_iteration": 9, "config/x": 2.0, "config/head/kind": "mlp", "config/n": 1},
    ]
    swarm = learnt(pd.DataFrame(rows))
    assert swarm.best == (CONFIG, 0.5)
    assert swarm.archive.values == [0.5, math.inf]


def test_what_cannot_be_learnt_from_is_named():
    with pytest.raises(ValueError, match="a ResultGrid or its data frame; got str"):
        learnt(["loss"])
    with pytest.raises(ValueError, match="none of the 1 earlier trials has the result 'accuracy'"):
        learnt(pd.DataFrame([{"loss": 1.0}]), "accuracy")


def test_report_without_a_number_is_named_once(caplog):
    search = ParticleSwarmSearch(SPACE, metric="eval/loss", mode="min", seed=0)
    for i, value in enumerate((None, np.array([0.5]), [0.5], math.nan, 0.5)):
        search.suggest(str(i))
        search.on_trial_complete(str(i), {"eval": {"loss": value}, "training_iteration": 1})
    assert search.swarm.archive.values == [math.inf] * 4 + [0.5]
    assert [record.message for record in caplog.records] == [
        "Trial 0 failed: it reported None, which is not a number, as 'eval/loss'."
    ]
