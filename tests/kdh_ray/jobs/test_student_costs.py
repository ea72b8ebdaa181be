"""Size and latency of students, and their budgets."""

import pytest

from kdh_ray.config import SearchRange, StageConfig, TuneConfig
from kdh_ray.errors import UserError
from kdh_ray.jobs.stage_search.student_costs import Costs, _integers, check_budget, violation
from kdh_ray.tuning.trials import Report, Trial, best_of

COSTS = Costs({2: 100, 4: 150}, {2: (1.0, 2.0, 4.0), 4: (2.0, 4.0, 8.0)}, (8, 16, 32), depth=4)


def test_costs_depend_on_shape_only():
    assert COSTS.of(StageConfig(layers=2, max_tokens=24)) == {"parameters": 100.0, "latency_ms": 3.0}
    assert COSTS.of(StageConfig()) == {"parameters": 150.0, "latency_ms": 8.0}


def test_violation_sums_shares_over_budget():
    limits = TuneConfig(max_latency_ms=4.0, max_parameters=100)
    assert violation({"latency_ms": 4.0, "parameters": 100.0}, limits) == 0.0
    assert violation({"latency_ms": 1.0, "parameters": 150.0}, limits) == pytest.approx(0.5)
    assert violation({"latency_ms": 8.0, "parameters": 150.0}, limits) == pytest.approx(1.5)
    assert violation({"latency_ms": 8.0, "parameters": 150.0}, TuneConfig()) == 0.0


def test_impossible_budget_is_refused():
    check_budget([COSTS], TuneConfig(max_parameters=100, max_latency_ms=1))
    with pytest.raises(UserError, match=r"tune\.max_parameters: .* cheapest student has 100 parameters; got 99"):
        check_budget([COSTS], TuneConfig(max_parameters=99))
    with pytest.raises(UserError, match=r"tune\.max_latency_ms: .* has 1 ms a document; got 0\.5"):
        check_budget([COSTS], TuneConfig(max_latency_ms=0.5))


def test_measured_integers_cover_the_range():
    assert _integers(SearchRange(low=1, high=6), 3) == [1, 2, 3, 4, 5, 6]
    assert _integers(SearchRange(low=128, high=512), 256, 4) == [128, 256, 384, 512]
    assert _integers(SearchRange(low=8, high=9), 9, 4) == [8, 9]
    assert _integers(SearchRange(choices=(6, None)), 3) == [3, 6]
    assert _integers(None, 3) == [3]


def test_best_trial_keeps_its_budget():
    def ended(number, score, over):
        return Trial(number, str(number), {}, "ok", [Report(1, score, 1.0, {"violation": over})])

    trials = [ended(1, 0.4, 0.0), ended(2, 0.9, 0.1)]
    assert best_of(trials, "max") is trials[0]
    assert best_of(trials[1:], "max") is None
