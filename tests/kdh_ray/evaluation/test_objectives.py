"""Objectives of a search: which way is better, and how scores are shown."""

from __future__ import annotations

import pytest

from kdh_ray.config import TuneConfig, tune
from kdh_ray.evaluation.metrics import METRICS
from kdh_ray.evaluation.objectives import COSTS, OBJECTIVES


def test_every_objective_of_the_configuration_is_a_metric() -> None:
    assert set(OBJECTIVES) == set(tune.SCORES)
    assert set(COSTS) == set(tune.COSTS)
    assert TuneConfig(objective=[*OBJECTIVES, *COSTS]).objectives == (*OBJECTIVES, *COSTS)
    for name in OBJECTIVES:
        assert TuneConfig(objective=name).objectives == (name,)
    assert {objective.metric for objective in OBJECTIVES.values()} <= set(METRICS)


def test_losses_are_shown_as_they_are() -> None:
    assert OBJECTIVES["f1_micro"].with_unit(0.8126) == "81.3 %"
    assert OBJECTIVES["log_loss"].with_unit(0.2514) == "0.251"


@pytest.mark.parametrize("name", OBJECTIVES)
def test_infeasible_configurations_are_worst(name: str) -> None:
    objective = OBJECTIVES[name]
    good, bad = (0.9, 0.0) if objective.mode == "max" else (0.0, 0.69)
    merits = [
        objective.sign * score for score in (good, bad, objective.of_infeasible(0.1), objective.of_infeasible(2.0))
    ]
    assert merits == sorted(merits, reverse=True)
