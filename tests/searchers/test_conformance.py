"""Conformance suite: Ray Tune's contract, and the guarantees to users, for every searcher of the factory."""

import copy
import importlib.util
import json
import logging
import math
import os
import pickle
import subprocess
import sys
import time

import numpy as np
import pytest

tune = pytest.importorskip("ray.tune")

from ray.tune.search import ConcurrencyLimiter  # noqa: E402

from searchers import Float, Space  # noqa: E402
from searchers.factory import SEARCHERS, make_searcher  # noqa: E402
from searchers.peers import Nevergrad, OptunaTPE, ReplayedPeer  # noqa: E402

NEEDS = {"optuna-tpe": "optuna", "pyswarms": "pyswarms"}


def installed(name):
    package = NEEDS.get(name, "nevergrad" if name.startswith("nevergrad") else "numpy")
    return importlib.util.find_spec(package) is not None


SPACE = {
    "lr": tune.loguniform(1e-5, 1e-1),
    "layers": tune.randint(1, 7),
    "dropout": tune.quniform(0.0, 0.5, 0.1),
    "head": {"kind": tune.choice(["linear", "mlp", None]), "bias": True},
    "batch": tune.choice([8, 16]),
}


@pytest.fixture(params=SEARCHERS)
def make(request):
    name = request.param
    if not installed(name):
        pytest.skip(f"{name} needs a package that is not installed")

    def make(**arguments):
        return make_searcher(name, **{"seed": 1, **arguments})

    make.name = name
    return make


def ready(make, mode="min", **arguments):
    search = make(**arguments)
    assert search.set_search_properties("loss", mode, SPACE, num_samples=30)
    return search


def loss(config):
    return math.log10(config["lr"]) ** 2 + config["layers"] + config["dropout"] + (config["head"]["kind"] == "mlp")


def run(search, trials, report=loss, start=0):
    configs = []
    for i in range(start, start + trials):
        config = search.suggest(f"t{i}")
        configs.append(config)
        search.on_trial_complete(f"t{i}", {"loss": report(config), "training_iteration": 1})
    return configs


def test_configurations_are_plain_and_inside_the_space(make):
    for config in run(ready(make), 60):
        assert 1e-5 <= config["lr"] <= 1e-1
        assert config["layers"] in range(1, 7)
        assert round(config["dropout"] * 10, 9) in range(6)
        assert config["head"] == {"kind": config["head"]["kind"], "bias": True}
        assert config["head"]["kind"] in ("linear", "mlp", None)
        assert [type(config[name]) for name in ("lr", "layers", "dropout", "batch")] == [float, int, float, int]


@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, None, "text", "absent"])
def test_no_result_stops_the_search(make, mode, bad):
    search = ready(make, mode)
    for i in range(25):
        config = search.suggest(f"t{i}")
        assert config is not None
        result = {"loss": loss(config) if i % 4 == 0 else bad, "training_iteration": 1}
        if bad == "absent" and i % 4:
            del result["loss"]
        search.on_trial_complete(f"t{i}", result)
    json.dumps(search.get_state(), allow_nan=False)


def test_every_end_of_a_trial_is_learnt(make):
    search = ready(make)
    for i in range(24):
        assert search.suggest(f"t{i}") is not None
        result = {"loss": float(i), "training_iteration": 1}
        if i % 4 == 0:
            search.on_trial_result(f"t{i}", result)
            search.on_trial_complete(f"t{i}")  # was stopped while paused
        elif i % 4 == 1:
            search.on_trial_complete(f"t{i}", error=True)
        elif i % 4 == 2:
            search.on_trial_complete(f"t{i}", {})  # ended without a report
        else:
            search.on_trial_complete(f"t{i}", result)
        search.on_trial_complete(f"t{i}", {"loss": -1e9, "training_iteration": 9})  # replayed
        search.on_trial_result(f"t{i}", {"loss": -1e9, "training_iteration": 9})
    assert search.get_state()["live"] == {}


def test_unknown_trials_are_ignored_with_one_warning(make, caplog):
    search = ready(make)
    with caplog.at_level(logging.WARNING):
        for i in range(3):
            search.on_trial_result(f"stranger{i}", {"loss": 0.0, "training_iteration": 1})
            search.on_trial_complete(f"stranger{i}", {"loss": 0.0, "training_iteration": 1})
    assert [record.message for record in caplog.records].count(caplog.records[0].message) == 1
    assert len(run(search, 5)) == 5


def test_seed_fixes_the_sequence(make):
    assert run(ready(make), 45) == run(ready(make), 45)
    assert run(ready(make), 3) != run(ready(make, seed=2), 3)


SEQUENCES = """
import json, sys
from ray import tune
from searchers.factory import make_searcher
for name in sys.argv[1:]:
    search = make_searcher(name, seed=5, metric="m", mode="max")
    search.set_search_properties(None, None, {"x": tune.uniform(0, 1), "c": tune.choice(["a", "b", "c"])})
    configs = []
    for i in range(12):
        configs.append(search.suggest(str(i)))
        search.on_trial_complete(str(i), {"m": configs[-1]["x"]})
    print("SEQUENCE", name, json.dumps(configs))
"""


@pytest.fixture(scope="module")
def sequences():
    """Suggestions as {hash seed: {searcher: configurations}}, from one process per hash seed."""
    names = [name for name in SEARCHERS if installed(name)]
    processes = {}
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
        command = [sys.executable, "-c", SEQUENCES, *names]
        processes[hash_seed] = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    printed = {hash_seed: process.communicate()[0].splitlines() for hash_seed, process in processes.items()}
    return {
        hash_seed: dict(line.split(" ", 2)[1:] for line in lines if line.startswith("SEQUENCE"))
        for hash_seed, lines in printed.items()
    }


def test_seed_fixes_the_sequence_in_any_process(make, sequences):
    assert sequences["1"][make.name] == sequences["2"][make.name]
    assert len(json.loads(sequences["1"][make.name])) == 12


def test_restored_search_continues_alike(make, tmp_path):
    search = ready(make, points_to_evaluate=[{"lr": 1e-3}])
    run(search, 13)
    flying = {f"f{i}": search.suggest(f"f{i}") for i in range(4)}
    search.save(str(tmp_path / "state"))
    json.loads((tmp_path / "state").read_text())
    fresh = make(seed=99)
    fresh.restore(str(tmp_path / "state"))
    trails = []
    for searcher in (search, fresh):
        for trial_id, config in reversed(flying.items()):
            searcher.on_trial_complete(trial_id, {"loss": loss(config), "training_iteration": 1})
        trails.append(run(searcher, 20, start=50))
    assert trails[0] == trails[1]


def test_restore_before_properties_are_set(make, tmp_path):
    search = ready(make, "max")
    run(search, 3)
    search.save_to_dir(str(tmp_path), "one")
    fresh = make()
    fresh.restore_from_dir(str(tmp_path))
    assert fresh.mode == "max"
    assert fresh.metric == "loss"
    assert fresh.set_search_properties("loss", "max", SPACE)
    assert not fresh.set_search_properties("loss", "max", {"other": tune.uniform(0, 1)})


def test_new_experiment_waits_for_no_old_trial(make, tmp_path):
    search = ready(make)
    search.set_max_concurrency(4)
    for i in range(4):
        assert search.suggest(f"old{i}") is not None
    search.save(str(tmp_path / "state"))
    fresh = make()
    fresh.restore(str(tmp_path / "state"))
    fresh.set_max_concurrency(4)
    assert fresh.set_search_properties("loss", "min", SPACE)
    fresh.save(str(tmp_path / "state"))
    again = make()
    again.restore(str(tmp_path / "state"))
    trails = [run(searcher, 30) for searcher in (fresh, again)]
    assert None not in trails[0]
    assert trails[0] == trails[1]
    fresh.on_trial_result("old0", {"loss": 1.0, "training_iteration": 1})
    fresh.on_trial_complete("old0", {"loss": 1.0, "training_iteration": 1})
    assert fresh.suggest("new") is not None


def test_new_experiment_first_runs_what_was_running(make, tmp_path):
    """After two crashes, each configuration has one result."""
    search = ready(make)
    run(search, 3)
    lost = [search.suggest(name) for name in ("old0", "old1", "old2")]
    search.save(str(tmp_path / "state"))
    second = make()
    second.restore(str(tmp_path / "state"))
    assert second.set_search_properties("loss", "min", SPACE)
    assert second.suggest("a") == lost[0]
    second.on_trial_complete("a", {"loss": 1.0, "training_iteration": 1})
    assert second.suggest("b") == lost[1]
    second.save(str(tmp_path / "state"))
    third = make()
    third.restore(str(tmp_path / "state"))
    assert third.set_search_properties("loss", "min", SPACE)
    assert [third.suggest(name) for name in "cd"] == lost[1:]
    assert third.suggest("new") not in lost


def test_another_search_is_not_resumed(make, tmp_path):
    search = ready(make)
    run(search, 2)
    search.save(str(tmp_path / "state"))
    for name in SEARCHERS:
        if name != make.name and installed(name):
            with pytest.raises(ValueError, match=r"the saved search has .*; it can't be resumed with"):
                make_searcher(name).restore(str(tmp_path / "state"))
    for metric, mode in (("score", "min"), ("loss", "max")):
        other = make()
        other.set_search_properties(metric, mode, SPACE)
        with pytest.raises(
            ValueError, match=r"the saved search has (metric 'loss'|mode 'min'); it can't be resumed with"
        ):
            other.restore(str(tmp_path / "state"))
        with pytest.raises(ValueError, match=r"this searcher has results with .*; it can't be resumed with"):
            search.set_search_properties(metric, mode, SPACE)


def test_state_of_an_earlier_version_is_restored(make, tmp_path):
    search = ready(make)
    run(search, 4)
    state = {key: value for key, value in search.get_state().items() if key not in ("algorithm", "lost")}
    (tmp_path / "state").write_text(json.dumps(state))
    fresh = make()
    fresh.restore(str(tmp_path / "state"))
    assert run(fresh, 3, start=9) == run(search, 3, start=9)
    other = make_searcher("random" if make.name.startswith("pso") else "pso")
    if make.name.startswith("pso") or make.name == "random":
        with pytest.raises(ValueError, match="can't be resumed with"):
            other.restore(str(tmp_path / "state"))


def test_batches_are_told_together(make):
    search = ready(make)
    limiter = ConcurrencyLimiter(search, max_concurrent=2, batch=True)
    assert limiter.suggest("a")
    assert limiter.suggest("b")
    limiter.on_trial_complete("a", {"loss": 1.0, "training_iteration": 1})
    assert limiter.suggest("c") is None
    assert "a" in search.get_state()["live"]
    limiter.on_trial_complete("b", {"loss": 1.0, "training_iteration": 1})
    assert search.get_state()["live"] == {}
    assert limiter.suggest("c") is not None


def test_constants_alone_are_refused(make):
    with pytest.raises(ValueError, match=r"needs a domain, such as tune\.uniform"):
        make().set_search_properties("loss", "min", {"epochs": 3})


def test_ten_thousand_choices_are_quick(make):
    if make.name == "nevergrad-pso":
        pytest.skip("Nevergrad itself takes seconds")
    search = make(metric="loss", mode="min")
    search.set_search_properties(
        None, None, {"c": tune.choice([f"v{i}" for i in range(10_000)]), "x": tune.uniform(0, 1)}
    )
    seconds = []
    for i in range(15):
        start = time.process_time()
        config = search.suggest(str(i))
        seconds.append(time.process_time() - start)
        search.on_trial_complete(str(i), {"loss": config["x"], "training_iteration": 1})
    assert sorted(seconds)[-3] < 0.1


def test_ngopt_runs_on_current_numpy():
    """Its surrogate, used from about thirty results on, converts an array of one element to float."""
    pytest.importorskip("nevergrad")
    optimiser = type("NGOpt", (Nevergrad,), {"name": "NGOpt", "n_workers": 8})
    search = ReplayedPeer(optimiser, Space({"x": Float(0, 1), "y": Float(0, 1)}), seed=0, budget=60)
    for _ in range(60):
        move = search.ask()
        search.tell(move.id, move.config["x"] ** 2 + move.config["y"])


def test_tpe_searches_logarithmic_floats_of_step_one():
    """Optuna refuses a step for logarithmic floats, whatever its value."""
    pytest.importorskip("optuna")
    search = ReplayedPeer(OptunaTPE, Space({"x": Float(1.0, 64.0, log=True, step=1.0)}), seed=0, budget=None)
    assert all(search.ask().config["x"] in range(1, 65) for _ in range(5))


def test_points_to_evaluate_run_first(make):
    points = [
        {"lr": 1e-3, "layers": 2, "dropout": 0.3, "head": {"kind": "mlp"}, "batch": 8},
        {"lr": 1e-2, "head/kind": None},
        {"layers": 6},
    ]
    first, second, third = run(ready(make, points_to_evaluate=points), 3)
    assert first == {**points[0], "head": {"kind": "mlp", "bias": True}}
    assert (second["lr"], second["head"]["kind"]) == (1e-2, None)
    assert third["layers"] == 6


def test_wrong_point_error_names_the_parameter(make):
    with pytest.raises(ValueError, match="no learning_rate"):
        ready(make, points_to_evaluate=[{"learning_rate": 1}])


def test_results_from_elsewhere_are_accepted(make):
    search = ready(make)
    known = {"lr": 1e-3, "layers": 2, "dropout": 0.3, "head": {"kind": "mlp", "bias": True}, "batch": 8, "epochs": 9}
    search.add_evaluated_point(known, 0.5)
    search.add_evaluated_point({**known, "layers": 3}, float("nan"), error=True)
    search.add_evaluated_point({**known, "layers": 4}, 0.1, pruned=True, intermediate_values=[0.3, 0.1])
    assert search.suggest("next") is not None


def test_properties_are_taken_from_tune_once(make):
    search = make()
    with pytest.raises(RuntimeError, match="search space"):
        search.suggest("early")
    assert ready(make).metric == "loss"
    given = make(space={"x": tune.uniform(0, 1)}, metric="m", mode="min")
    assert not given.set_search_properties("m", "min", SPACE)
    assert set(given.suggest("t")) == {"x"}
    anonymous = make()
    anonymous.set_search_properties(None, "max", {"x": tune.uniform(0, 1)})
    assert anonymous.metric == "_metric"
    with pytest.raises(ValueError, match="one metric"):
        make(metric=["a", "b"], mode=["min", "max"])


def test_concurrency_is_limited(make):
    search = ConcurrencyLimiter(ready(make), max_concurrent=3)
    assert all(search.suggest(f"t{i}") for i in range(3))
    assert search.suggest("t3") is None
    search.on_trial_complete("t1", {"loss": 1.0, "training_iteration": 1})
    if make.name not in ("pso-generational", "pyswarms"):
        assert search.suggest("t4") is not None


def test_new_concurrency_limit_overrides_restored_one(make, tmp_path):
    search = ConcurrencyLimiter(make(space=SPACE, metric="loss", mode="min"), max_concurrent=8)
    assert search.suggest("old") is not None
    search.save(str(tmp_path / "state"))
    search = ConcurrencyLimiter(make(space=SPACE, metric="loss", mode="min"), max_concurrent=1)
    search.restore(str(tmp_path / "state"))
    assert search.suggest("a") is not None
    assert search.suggest("b") is None


def test_searchers_can_be_copied_and_pickled(make):
    """Tune does both with its Tuner. Here a search is under way, and a point to evaluate is pending."""
    search = ready(make, points_to_evaluate=[{"lr": 1e-3}])
    config = search.suggest("point")
    run(search, 6)
    trails = []
    for copied in (pickle.loads(pickle.dumps(search)), copy.deepcopy(search), search):  # noqa: S301
        copied.on_trial_complete("point", {"loss": loss(config), "training_iteration": 1})
        trails.append(run(copied, 12, start=9))
    assert trails[0] == trails[1] == trails[2]


def test_state_is_a_snapshot(make):
    search = ready(make)
    state = search.get_state()
    before = json.dumps(state)
    search.suggest("later")
    search.on_trial_result("later", {"loss": 1.0, "training_iteration": 1})
    assert json.dumps(state) == before


def test_numpy_numbers_are_saved(make, tmp_path):
    search = make(seed=np.int64(3), budget=np.int64(40), max_t=np.int64(9), metric="loss", mode="min")
    search.set_search_properties(None, None, SPACE)
    run(search, 3, lambda config: np.float32(loss(config)))
    search.save(str(tmp_path / "state"))
    fresh = make()
    fresh.restore(str(tmp_path / "state"))
    assert run(fresh, 3, start=9) == run(search, 3, start=9)


def test_points_survive_a_state_without_space(make, tmp_path):
    make().save(str(tmp_path / "state"))
    search = make(metric="loss", mode="min", points_to_evaluate=[{"lr": 1e-3}])
    search.restore(str(tmp_path / "state"))
    search.set_search_properties(None, None, SPACE)
    assert search.suggest("first")["lr"] == 1e-3


def test_tune_does_not_unwrap_searchers(make):
    """Tune treats objects with an attribute ``searcher`` as wrappers, and saves the inner object only."""
    assert not hasattr(ready(make), "searcher")


def test_trial_has_one_suggestion(make):
    search = ready(make)
    assert search.suggest("t") is not None
    with pytest.raises(ValueError, match="trial t has a suggestion already"):
        search.suggest("t")


def test_unknown_name_error_lists_searchers():
    with pytest.raises(ValueError, match="optuna-tpe"):
        make_searcher("gradient")


def pyswarms(topology, dims=3, **arguments):
    pytest.importorskip("pyswarms")
    search = make_searcher("pyswarms", seed=1, topology=topology, **arguments)
    search.set_search_properties("loss", "min", {f"x{i}": tune.uniform(-1, 1) for i in range(dims)})
    return search


def test_pyswarms_topologies_search_differently():
    ways = {}
    for topology in ("star", "ring", "von-neumann"):
        configs = run(pyswarms(topology), 80, lambda config: sum(x * x for x in config.values()))
        losses = [sum(x * x for x in config.values()) for config in configs]
        assert min(losses[10:]) < min(losses[:10])
        ways[topology] = configs
    assert ways["star"][:10] == ways["ring"][:10] == ways["von-neumann"][:10]  # one start
    assert ways["star"][20:] != ways["ring"][20:] != ways["von-neumann"][20:]


def test_impossible_pyswarms_topologies_are_refused():
    with pytest.raises(ValueError, match="star, ring, von-neumann; got 'pyramid'"):
        pyswarms("pyramid")
    with pytest.raises(ValueError, match="2 x 5 \\+ 1 neighbours in 5 dimensions; got 10 particles"):
        pyswarms("von-neumann", dims=5)
    assert pyswarms("von-neumann", dims=5, n_particles=11).suggest("a")
