"""Names of version 0.1 that still work, with a hint."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import pytest

from kdh_ray import tuning
from kdh_ray.tuning import TuneSettings


def test_former_tune_takes_its_former_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    from kdh_ray.jobs.tuning import tune

    calls: list[Any] = []
    monkeypatch.setattr(tuning, "tune", lambda *given, **named: calls.append((given, named)))
    with pytest.warns(FutureWarning, match=r"kdh_ray\.tuning"):
        tune(print, {"x": 1}, searcher="pso", storage="here", trials=3, metric="m", mode="min", also=("n",), job=None)
    ((given, named),) = calls
    assert given == (print, {"x": 1}, TuneSettings(trials=3, metric="m", mode="min", extra_results=("n",)))
    assert named == {"searcher": "pso", "storage": "here"}


def test_former_module_of_searchers_names_the_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from searchers import factory

    monkeypatch.delitem(sys.modules, "searchers.baselines", raising=False)
    with pytest.warns(FutureWarning, match=r"searchers\.factory"):
        former = importlib.import_module("searchers.baselines")
    assert former.make_searcher is factory.make_searcher
