"""Points to evaluate with objects of the space, which Ray Tune hides from searchers."""

import copy

import numpy as np
import pytest

tune = pytest.importorskip("ray.tune")

from ray.tune.execution.tune_controller import TuneController  # noqa: E402
from ray.tune.impl.placeholder import create_resolvers_map, inject_placeholders, resolve_placeholders  # noqa: E402
from ray.tune.schedulers import FIFOScheduler  # noqa: E402

from searchers.factory import make_searcher  # noqa: E402


class Data:
    """An object without equality, such as a data set, which Ray Tune copies."""


SPACE = {
    "act": tune.choice([len, max, "auto"]),
    "width": tune.choice(list(np.arange(8, 64, 8))),
    "model": {"loss": tune.choice([Data, None]), "parts": [Data(), 2]},
    "data": Data(),
    "x": tune.uniform(0.0, 1.0),
}
POINT = {"act": max, "width": 16, "model": {"loss": Data, "parts": SPACE["model"]["parts"]}, "data": Data(), "x": 0.25}


class Controller(TuneController):
    """Ray Tune's controller without Ray."""

    def __init__(self, search):
        self._scheduler_alg, self._placeholder_resolvers, self.search = FIFOScheduler(), create_resolvers_map(), search
        space = inject_placeholders(copy.deepcopy(SPACE), self._placeholder_resolvers)
        search.set_search_properties("m", "min", space)

    def next_config(self, name):
        config = copy.deepcopy(self.search.suggest(name))
        resolve_placeholders(config, self._placeholder_resolvers)
        return config


@pytest.mark.parametrize("name", ["pso", "random"])
def test_points_may_name_objects(name):
    partial = {"act": "auto", "model/loss": None, "x": 0.75}
    controller = Controller(make_searcher(name, seed=0, points_to_evaluate=[POINT, partial]))
    first, second = controller.next_config("a"), controller.next_config("b")
    assert (first["act"], first["width"], first["model"]["loss"], first["x"]) == (max, 16, Data, 0.25)
    assert (second["act"], second["model"]["loss"], second["x"]) == ("auto", None, 0.75)


def test_results_of_points_with_objects_are_learnt_from():
    controller = Controller(make_searcher("pso", seed=0, points_to_evaluate=[POINT], evaluated_rewards=[0.5]))
    assert controller.next_config("a")["x"] != 0.25
    assert controller.search.swarm.best[1] == 0.5


def test_object_that_is_no_choice_is_refused():
    controller = Controller(make_searcher("pso", points_to_evaluate=[{**POINT, "act": min}]))
    with pytest.raises(ValueError, match="act takes one of"):
        controller.next_config("a")
