"""The swarm as a Ray Tune searcher, and complete searches on a local Ray."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

ray = pytest.importorskip("ray")

from ray import tune  # noqa: E402
from ray.tune.schedulers import ASHAScheduler  # noqa: E402

from searchers import Categorical, Float  # noqa: E402
from searchers.pso_search import ParticleSwarmSearch  # noqa: E402

SPACE = {"a": tune.uniform(0.0, 5.0), "b": tune.choice(["x", "y"])}


def ready(mode="max", **arguments):
    search = ParticleSwarmSearch(seed=0, **arguments)
    search.set_search_properties("metric", mode, SPACE)
    return search


def report(search, trial_id, value, t=1, done=True):
    result = {"metric": value, "training_iteration": t}
    if done:
        search.on_trial_complete(trial_id, result)
    else:
        search.on_trial_result(trial_id, result)


def test_stopped_trial_never_displaces_full_one():
    search = ready()
    for trial in "abcd":
        search.suggest(trial)
    report(search, "a", 0.5, t=10)
    report(search, "b", 0.9, t=1)
    assert search.swarm.best[1] == -0.5
    report(search, "c", 0.6, t=10)
    assert search.swarm.best[1] == -0.6
    report(search, "d", 0.1, t=20)  # without max_t a full run is the longest so far
    assert search.swarm.best[1] == -0.1


def test_reports_are_compared_with_stopped_trials():
    search = ready(mode="min", max_t=3)
    for trial in "abc":
        search.suggest(trial)
    report(search, "a", 0.8, t=1, done=False)
    report(search, "a", 0.2, t=3)
    report(search, "b", 0.9, t=1)
    report(search, "c", 0.7, t=1)
    assert search.swarm.archive.comparable(3.0, 3)[1].tolist() == [0.8, 0.9, 0.7]


def test_trials_past_max_t_are_equal():
    search = ready(max_t=10)
    search.suggest("a"), search.suggest("b")
    report(search, "a", 0.5, t=10)
    report(search, "b", 0.1, t=12)
    assert search.swarm.best[1] == -0.5


def test_stop_criterion_defines_a_full_run():
    search = ParticleSwarmSearch(seed=0)
    search.set_search_properties("metric", "max", SPACE, stop={"training_iteration": 10}, num_samples=7)
    assert search.swarm.settings.budget == 7
    search.suggest("a")
    report(search, "a", 0.9, t=4)
    assert search.swarm.full_fidelity == 10
    search.add_evaluated_point({"a": 1.0, "b": "x"}, 0.2)
    assert search.swarm.best[1] == -0.2


def test_next_experiment_redefines_a_full_run(tmp_path):
    for given, full in ((None, 30), (20, 20)):
        search = ready("min", max_t=given)
        search.set_search_properties("metric", "min", SPACE, stop={"training_iteration": 10})
        search.suggest("a")
        report(search, "a", 0.5, t=10)
        search.save(str(tmp_path / "state"))
        later = ParticleSwarmSearch()
        later.restore(str(tmp_path / "state"))
        for again in (search, later):
            again.set_search_properties("metric", "min", SPACE, stop={"training_iteration": 30})
            assert again.swarm.full_fidelity == full
            again.suggest("b")
            report(again, "b", 0.7, t=30)
            assert again.swarm.best[1] == 0.7


def test_mode_cannot_change_after_results():
    search = ready("min")
    search.set_search_properties("metric", "max", SPACE)
    search.suggest("a")
    report(search, "a", 0.5)
    with pytest.raises(ValueError, match="results with mode 'max'"):
        search.set_search_properties("metric", "min", SPACE)


def test_earlier_trials_may_have_nested_metrics():
    search = ready("min")
    result = {"eval": {"loss": 0.5}, "training_iteration": 1}
    search.add_evaluated_trials(SimpleNamespace(status="TERMINATED", config={"a": 1.0, "b": "x"}, last_result=result),
                                "eval/loss")  # fmt: skip
    assert search.swarm.best == ({"a": 1.0, "b": "x"}, 0.5)


def test_earlier_results_count_as_full_runs():
    search = ready(points_to_evaluate=[{"a": 1.0, "b": "x"}], evaluated_rewards=[0.7])
    for trial, t in (("a", 1), ("b", 9)):
        search.suggest(trial)
        report(search, trial, 0.5, t=t)
        assert search.swarm.best[1] == -0.7


def test_earlier_trials_keep_their_fidelities():
    """A scheduler stopped some, one of them at ``max_t``; one failed, one never reported, one still runs."""
    trials = [
        SimpleNamespace(status=status, config={"a": a, "b": "x", "data": 3}, last_result=result)
        for status, a, result in (
            ("TERMINATED", 1.0, {"loss": 0.1, "training_iteration": 1, "done": False}),
            ("TERMINATED", 2.0, {"loss": 0.5, "training_iteration": 9, "done": False}),
            ("ERROR", 3.0, {"loss": 0.0, "training_iteration": 9}),
            ("TERMINATED", 4.0, {}),
            ("RUNNING", 4.5, {"loss": 0.0, "training_iteration": 9}),
        )
    ]
    search = ready("min")
    search.add_evaluated_trials(trials, "loss")
    search.add_evaluated_trials(trials[0], "loss")
    assert search.swarm.best == ({"a": 2.0, "b": "x"}, 0.5)
    assert search.swarm.archive.values == [0.1, 0.5, math.inf, 0.1]
    assert search.swarm.full_fidelity == 9


def test_trial_stopped_in_pause_keeps_last_report():
    search = ready("min")
    search.suggest("a")
    report(search, "a", 3.0, t=2, done=False)
    search.on_trial_complete("a")
    assert search.swarm.best[1] == 3.0


def test_last_report_with_the_metric_counts():
    """A trainable may evaluate only every fifth epoch: that epoch is the fidelity."""
    for last in (None, {"training_iteration": 6}):
        search = ready("min")
        search.suggest("a"), search.suggest("b")
        report(search, "a", 3.0, t=5, done=False)
        search.on_trial_result("a", {"training_iteration": 6})
        search.on_trial_complete("a", last)
        assert search.swarm.best[1] == 3.0
        assert search.swarm.archive.fidelities == [5]
        report(search, "b", 2.0, t=5, done=False)
        report(search, "b", math.nan, t=6, done=False)
        search.on_trial_complete("b")  # it diverged
        assert search.swarm.best[1] == 3.0


@pytest.mark.parametrize("lost", [3, 8])
@pytest.mark.parametrize("screening", [True, False])
def test_trials_cut_off_block_nothing(tmp_path, lost, screening):
    """Tune never completes them: fewer than there are particles, or more, in this session and the next."""

    def trial(search, number):
        config = search.suggest(f"t{number}")
        report(search, f"t{number}", (config["a"] - 2.0) ** 2 + (config["b"] == "y"))
        return config["a"], config["b"]

    search, later = ready("min", n_particles=4, screening=screening), ParticleSwarmSearch()
    cut = [search.suggest(f"cut{i}") for i in range(lost)]
    tried = [(config["a"], config["b"]) for config in cut] + [trial(search, i) for i in range(20)]
    search.save(str(tmp_path / "state"))
    later.restore(str(tmp_path / "state"))
    tried += [trial(later, i) for i in range(20, 40)]
    assert len(set(tried)) == lost + 40
    assert later.swarm.best[1] < 0.01
    assert len(later.swarm.pending) == lost
    report(later, "cut0", -1.0)  # after Tuner.restore it runs again, and counts
    assert later.swarm.best == (cut[0], -1.0)


def cut_off(tmp_path, n):
    """Return the file of a saved searcher with ``n`` live trials."""
    search = ready("min", n_particles=4)
    search.set_max_concurrency(n)
    assert all(search.suggest(f"cut{i}") for i in range(n))
    search.save(str(tmp_path / "state"))
    return str(tmp_path / "state")


def test_tuner_restore_keeps_trials_live(tmp_path):
    """`Tuner.restore` sets the properties, then restores the searcher, then runs the unfinished trials."""
    search = ParticleSwarmSearch()
    search.set_max_concurrency(2)
    search.set_search_properties("metric", "min", SPACE)
    search.restore(cut_off(tmp_path, 2))
    assert search.suggest("new") is None
    report(search, "cut0", 1.0)
    assert search.suggest("new") is not None


def test_searcher_with_own_space_never_hangs(tmp_path):
    """Tune passes it no properties. Old trials count as live only once they report."""
    search = ParticleSwarmSearch(SPACE, "metric", "min")
    search.restore(cut_off(tmp_path, 2))
    report(search, "cut0", 1.0, done=False)
    assert search.suggest("a") is not None
    assert search.suggest("b") is None


@pytest.mark.parametrize("sessions", [1, 2])
def test_restored_searcher_ignores_old_trials(tmp_path, sessions):
    """`restore` comes first, then a new Tuner sets the properties, as with Ray's OptunaSearch."""
    path = cut_off(tmp_path, 2)
    search = ParticleSwarmSearch()
    search.restore(path)
    search.set_max_concurrency(2)
    search.set_search_properties("metric", "min", SPACE)
    if sessions == 2:  # the new experiment is resumed, too
        search.save(path)
        search = ParticleSwarmSearch()
        search.set_search_properties("metric", "min", SPACE)
        search.restore(path)
    assert search.suggest("a") is not None
    assert search.suggest("b") is not None
    assert search.suggest("c") is None
    report(search, "a", 3.0)
    report(search, "cut0", 2.0, done=False)  # it reports after all, so it counts
    assert search.suggest("c") is None
    report(search, "cut0", 1.0)
    report(search, "cut1", 0.5)
    assert search.swarm.best[1] == 0.5
    assert search.suggest("c") is not None


def test_time_attr_can_be_none():
    search = ready("min", time_attr=None)
    search.suggest("a"), search.suggest("b")
    report(search, "a", 1.0, t=1)
    report(search, "b", 2.0, t=10)
    assert search.swarm.best[1] == 1.0


def test_a_finite_space_finishes():
    search = ParticleSwarmSearch({"n": tune.randint(0, 4)}, "metric", "max", seed=0)
    assert sorted(search.suggest(str(i))["n"] for i in range(4)) == [0, 1, 2, 3]
    assert search.suggest("more") == search.FINISHED


def test_exhausted_space_is_said_once(caplog):
    search = ParticleSwarmSearch({"n": tune.randint(0, 4)}, "metric", "max", seed=0)
    for i in range(6):
        search.suggest(str(i))
    assert [record.message for record in caplog.records] == [
        "The search space is exhausted: all 4 configurations have been suggested."
    ]


def test_noisy_objective_may_repeat_a_finite_space():
    """The swarm stays among the best of the nine."""
    search = ParticleSwarmSearch({"n": tune.randint(0, 9)}, "metric", "max", seed=0, repeats=True)
    noise, tried = np.random.default_rng(0), []
    for i in range(40):
        tried.append(search.suggest(str(i))["n"])
        report(search, str(i), -abs(tried[-1] - 6) + noise.normal(0, 0.3))
    assert sorted(tried[:9]) == list(range(9))
    assert np.mean(np.abs(np.array(tried[9:]) - 6)) < 1.5


def test_swarm_of_another_kind_is_not_resumed(tmp_path):
    search = ready("min", screening=False)
    search.suggest("a")
    search.save(str(tmp_path / "state"))
    ParticleSwarmSearch().restore(str(tmp_path / "state"))  # takes the saved one's settings
    with pytest.raises(ValueError, match="has screening False; it can't be resumed with True"):
        ParticleSwarmSearch(screening=True).restore(str(tmp_path / "state"))


def test_particle_of_a_trial_is_known():
    search = ready()
    config = search.suggest("t")
    row = search.particle_of("t")
    assert row["particle"] == 0
    assert row["personal_best"] is None
    assert row["velocity_norm"] > 0
    np.testing.assert_allclose(search.swarm.space.encode(config), row["position"])
    report(search, "t", 0.25)
    assert search.particle_of("t")["personal_best"] == 0.25
    json.dumps(row)
    with pytest.raises(KeyError, match="not suggested"):
        search.particle_of("other")


def test_invalid_settings_fail_at_construction():
    for wrong in (
        {"n_particles": 0},
        {"topology": "star"},
        {"max_t": 0},
        {"max_t": math.inf},
        {"budget": 0},
        {"evaluated_rewards": [1.0]},
    ):
        with pytest.raises(ValueError, match=r"got|one number"):
            ParticleSwarmSearch(**wrong)


def test_opaque_choices_wait_for_the_space(tmp_path):
    space = {"f": tune.choice([len, max]), "x": tune.uniform(0, 1)}
    search, fresh = ParticleSwarmSearch(seed=0), ParticleSwarmSearch()
    search.set_search_properties("m", "min", space)
    assert search.suggest("t")["f"] in (len, max)
    search.save(str(tmp_path / "s"))
    fresh.restore(str(tmp_path / "s"))
    with pytest.raises(RuntimeError, match="search space"):
        fresh.suggest("u")
    fresh.save(str(tmp_path / "s"))  # nothing is lost in between
    assert fresh.set_search_properties("m", "min", space)
    fresh.on_trial_complete("t", {"m": 1.0, "training_iteration": 1})
    assert fresh.suggest("u") is not None


def test_own_parameters_work_without_tune_domains():
    space = {"x": Float(0, 1), "m": Categorical([{"k": Float(0, 1)}, None])}
    assert set(ParticleSwarmSearch(space, "m", "min").suggest("t")) == {"x", "m"}


# Ray's own searcher tests (python/ray/tune/tests/test_searchers.py), applied to this class


@pytest.fixture(scope="session")
def local_ray():
    ray.init(
        num_cpus=2, include_dashboard=False, configure_logging=False, log_to_driver=False, ignore_reinit_error=True
    )
    yield
    ray.shutdown()


def fit(trainable, space, tmp_path, search, samples, scheduler=None, **config):
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=search,
            scheduler=scheduler,
            num_samples=samples,
            max_concurrent_trials=2,
            reuse_actors=True,
            **config,
        ),
        run_config=tune.RunConfig(storage_path=str(tmp_path), name="run", verbose=0),
    )
    return tuner.fit()


@pytest.mark.ray
def test_ray_invalid_values(local_ray, tmp_path):
    def trainable(config):
        value = config["report"]
        bad = float("inf") if value > 4 else float("-inf") if value > 3 else float("nan") if value > 2 else None
        tune.report({"_metric": value or 0.1 if bad is None else bad})

    space = {"report": tune.uniform(0.0, 5.0), "list": [1, 2, 3], "num": 4}
    search = ParticleSwarmSearch(seed=1)
    results = fit(trainable, space, tmp_path, search, 12, mode="max")
    assert results.num_errors == 0
    best = results.get_best_result("_metric", "max", scope="last", filter_nan_and_inf=True)
    assert best.config["report"] <= 2.0
    assert (best.config["list"], best.config["num"]) == ([1, 2, 3], 4)
    assert search.swarm.best[1] == -best.metrics["_metric"]
    # Tune saved it as the run went, and the file is JSON.
    (saved,) = (tmp_path / "run").glob("searcher-state-*.pkl")
    assert json.loads(saved.read_text())["mode"] == "max"
    # AddEvaluatedPoint: an earlier experiment's trials are learnt from.
    later = ParticleSwarmSearch({"report": tune.uniform(0.0, 5.0)}, "_metric", "max", seed=0)
    later.add_evaluated_trials(results._experiment_analysis, "_metric")
    assert len(later.swarm.archive) == 12
    assert later.suggest("1") is not None


@pytest.mark.ray
def test_ray_restored_searcher_runs_new_experiment(local_ray, tmp_path):
    """As many trials were cut off as may run at once: a search that waits for them starts none."""
    search = ParticleSwarmSearch()
    search.restore(cut_off(tmp_path, 2))
    results = fit(lambda config: tune.report({"metric": config["a"]}), SPACE, tmp_path, search, 5, mode="min",
                  metric="metric", time_budget_s=60)  # fmt: skip
    assert len(results) == 5
    assert len(search.swarm.archive) == 5


@pytest.mark.ray
def test_ray_scheduler_stops_reach_the_swarm(local_ray, tmp_path):
    def trainable(config):
        for epoch in range(1, 10):
            tune.report({"loss": abs(config["x"] - 0.3) + 1 / epoch})

    search = ParticleSwarmSearch(seed=1, n_particles=4)
    scheduler = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3)
    fit(trainable, {"x": tune.uniform(0, 1)}, tmp_path, search, 14, scheduler, metric="loss", mode="min")
    archive = search.swarm.archive
    assert len(archive) == 14
    assert search.swarm.pending == []
    assert min(archive.fidelities) < max(archive.fidelities) == 9
    full = [value for value, reached in zip(archive.values, archive.fidelities, strict=True) if reached == 9]
    assert search.swarm.best[1] == min(full)


@pytest.mark.ray
def test_ray_own_ends_differ_from_stops(local_ray, tmp_path):
    """Ray Tune ends both with the same result."""

    class Patient(tune.Trainable):
        def setup(self, config):
            self.epoch, self.epochs = 0, config["epochs"]

        def reset_config(self, config):
            self.setup(config)
            return True

        def step(self):
            self.epoch += 1
            return {"loss": self.epoch / self.epochs, "done": self.epoch >= self.epochs}

        def save_checkpoint(self, checkpoint_dir):
            return {}

    search = ParticleSwarmSearch(seed=1)
    space = {"epochs": tune.randint(1, 9), "x": tune.uniform(0, 1)}
    scheduler = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=2)
    results = fit(Patient, space, tmp_path, search, 8, scheduler, metric="loss", mode="min")
    stopped = [r.metrics["training_iteration"] for r in results if r.metrics["loss"] < 1]
    assert sorted(f for f in search.swarm.archive.fidelities if f < math.inf) == sorted(stopped)
    assert 0 < len(stopped) < 8


def test_ray_save_restore_checkpoint(tmp_path):
    path = str(tmp_path / "checkpoint.pkl")

    def callbacks(searcher, trial_id):
        result = {"training_iteration": 1, "metric": 1, "config/a": 1.0, "time_total_s": 1}
        searcher.on_trial_result(trial_id, result)
        searcher.on_trial_complete(trial_id, result)

    search = ParticleSwarmSearch()
    search.set_search_properties(metric="metric", mode="max", config={"a": tune.uniform(0.0, 5.0)})
    for trial_id in ("1", "2", "not_completed"):
        search.suggest(trial_id)
    callbacks(search, "1")
    search.save(path)

    restored = ParticleSwarmSearch()
    restored.restore(path)
    callbacks(restored, "2")
    restored.suggest("3")
    callbacks(restored, "3")
    assert "not_completed" in restored._live_trial_mapping


def test_ray_report_after_complete():
    search = ready()
    search.suggest("trial_1")
    report(search, "trial_1", 1.0, done=False)
    report(search, "trial_1", 2.0, t=2)
    before = json.dumps(search.get_state())
    report(search, "trial_1", 3.0, t=3, done=False)
    report(search, "trial_1", 3.0, t=3)
    assert json.dumps(search.get_state()) == before
