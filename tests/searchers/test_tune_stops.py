"""Who ended a trial: its own code, or Ray Tune's scheduler."""

import copy
from types import SimpleNamespace

import pytest

tune = pytest.importorskip("ray.tune")

from ray.tune.execution.tune_controller import TuneController  # noqa: E402
from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, HyperBandScheduler  # noqa: E402

from searchers.factory import make_searcher  # noqa: E402
from searchers.pso_search import ParticleSwarmSearch  # noqa: E402


class Trial(SimpleNamespace):
    """The attributes of a Tune trial that schedulers read."""

    __hash__ = object.__hash__


class Controller(TuneController):
    """Ray Tune's controller without Ray: it asks its scheduler, and calls the searcher, as the real one does."""

    def __init__(self, scheduler, search):
        self._scheduler_alg, self.search = scheduler, search
        scheduler.set_search_properties("m", "min")
        self.trials = {}

    def start(self, name):
        self.trials[name] = Trial(trial_id=name, status="RUNNING")
        self._scheduler_alg.on_trial_add(self, self.trials[name])
        return self.search.suggest(name)

    def report(self, name, value, t, done=False):
        """Pass a report on; return True if the trial ends with it. Both kinds of end set ``done``."""
        result = {"m": value, "training_iteration": t, "done": done}
        decision = "STOP" if done else self._scheduler_alg.on_trial_result(self, self.trials[name], result)
        if decision == "STOP":
            self.search.on_trial_complete(name, {**result, "done": True})
        else:
            self.search.on_trial_result(name, result)
        return decision == "STOP"


def searched(**arguments):
    search = ParticleSwarmSearch(seed=0, **arguments)
    search.set_search_properties("m", "min", {"x": tune.uniform(0.0, 1.0)})
    return search


def test_own_ends_are_full_runs():
    """A plain Tuner: trials of different lengths, because epochs are searched or patience ran out."""
    search = searched()
    controller = Controller(FIFOScheduler(), search)
    controller.start("short"), controller.start("long")
    assert controller.report("short", 0.1, 3, done=True)
    assert not controller.report("long", 0.2, 3)
    assert controller.report("long", 0.6, 50, done=True)
    assert search.swarm.best[1] == 0.1


def test_met_stop_criterion_is_a_full_run():
    search = ParticleSwarmSearch(seed=0)
    space = {"x": tune.uniform(0.0, 1.0)}
    search.set_search_properties("m", "max", space, stop={"m": 0.95, "training_iteration": 50})
    for name, value, t in (("early", 0.96, 7), ("late", 0.3, 50)):
        search.suggest(name)
        search.on_trial_complete(name, {"m": value, "training_iteration": t, "done": True})
    assert search.swarm.best[1] == -0.96


@pytest.mark.parametrize("max_t", [None, 27])
def test_scheduler_stops_are_no_full_runs(max_t):
    search = searched(max_t=max_t)
    controller = Controller(ASHAScheduler(max_t=27, grace_period=1, reduction_factor=3), search)
    for name in ("good", "poor", "own end"):
        controller.start(name)
    assert not any(controller.report("good", 0.5, t) for t in range(1, 10))
    assert controller.report("poor", 0.7, 1)  # better than the own end, but stopped by the rung
    assert not controller.report("own end", 0.45, 1)
    assert controller.report("own end", 0.8, 2, done=True)
    assert search.swarm.archive.fidelities == [1, float("inf")]
    assert search.swarm.best[1] == 0.8


def test_stop_by_hyperband_is_no_full_run():
    """It stops trials at the reports of others, with a last result that is not done."""
    search = searched()
    controller = Controller(HyperBandScheduler(max_t=9), search)
    controller.start("a")
    search.on_trial_result("a", {"m": 0.5, "training_iteration": 3, "done": False})
    search.on_trial_complete("a", {"m": 0.5, "training_iteration": 3, "done": False})
    assert search.swarm.archive.fidelities == [3]


def test_scheduler_unknown_at_the_stop_counts_as_one():
    """``Tuner.restore`` may end a trial before it calls the searcher otherwise."""
    search = searched()
    search.suggest("a")
    controller = Controller(ASHAScheduler(max_t=27), search)
    controller.trials["a"] = Trial(trial_id="a")
    controller.report("a", 0.5, 1, done=True)
    assert search.swarm.archive.fidelities == [1]


def test_copied_scheduler_notes_its_own_stops():
    search = searched()
    controller = Controller(ASHAScheduler(max_t=27), search)
    controller.start("a")
    other = copy.deepcopy(controller._scheduler_alg)
    assert other.on_trial_result.__self__ is other


@pytest.mark.parametrize("name", ["pso", "pso-plain"])
def test_short_own_ends_are_found(name):
    """The best length is 12 of 100 units; a longer run overfits."""

    def search(seed):
        search, best = make_searcher(name, seed=seed), 1.0
        search.set_search_properties("m", "min", {"epochs": tune.randint(1, 101), "x": tune.uniform(0, 1)})
        for trial in map(str, range(40)):
            config = search.suggest(trial)
            curve = [config["x"] + abs(t - 12) / 88 for t in range(1, config["epochs"] + 1)]
            for t, value in enumerate(curve[:-1], start=1):
                search.on_trial_result(trial, {"m": value, "training_iteration": t})
            search.on_trial_complete(trial, {"m": curve[-1], "training_iteration": len(curve), "done": True})
            best = min(best, curve[-1])
        return best

    assert sum(map(search, range(3))) / 3 < 0.1
