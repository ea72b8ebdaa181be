"""Parts of the swarm: Sobol sequence, motion, archive and surrogates."""

import numpy as np
import pytest

from searchers import Float, ParticleSwarm
from searchers.archive import Archive
from searchers.dynamics import Settings, confine, constriction, informants
from searchers.forest import ExtraTrees
from searchers.gaussian_process import GaussianProcess
from searchers.particles import Particles
from searchers.screening import Results, Screen, Screening, local_steps, log_gaps
from searchers.sobol import Sobol


def test_unshifted_sobol_is_the_published_sequence():
    qmc = pytest.importorskip("scipy.stats.qmc")
    rng = np.random.default_rng(0)
    sobol = Sobol(40, rng)
    sobol.shift[:] = 0
    points = np.array([sobol.next(rng) for _ in range(64)])
    np.testing.assert_array_equal(points, qmc.Sobol(40, scramble=False).random(64))


def test_shifted_sobol_fills_every_stratum():
    rng = np.random.default_rng(1)
    sobol = Sobol(5, rng)
    points = np.array([sobol.next(rng) for _ in range(32)])
    for column in points.T:
        assert sorted((column * 32).astype(int)) == list(range(32))


def test_sobol_works_beyond_forty_dimensions():
    rng = np.random.default_rng(1)
    point = Sobol(60, rng).next(rng)
    assert point.shape == (60,)
    assert ((point >= 0) & (point < 1)).all()


def test_bounds_rules_move_particles_inside():
    position, velocity = np.array([-0.2, 1.3, 0.5, -1.2]), np.array([-0.4, 0.6, 0.1, -2.0])
    rng = np.random.default_rng(0)
    x, v = confine(position, velocity, "reflect", rng)
    np.testing.assert_allclose(x, [0.2, 0.7, 0.5, 0.8])
    np.testing.assert_allclose(v, [0.4, -0.6, 0.1, -2.0])  # -1.2 is reflected at both bounds
    x, v = confine(position, velocity, "absorb", rng)
    np.testing.assert_allclose(x, [0, 1, 0.5, 0])
    np.testing.assert_allclose(v, [0, 0, 0.1, 0])
    x, v = confine(position, velocity, "periodic", rng)
    np.testing.assert_allclose(x, [0.8, 0.3, 0.5, 0.8])
    np.testing.assert_allclose(v, velocity)
    x, v = confine(position, velocity, "random", rng)
    assert ((x >= 0) & (x <= 1)).all()
    np.testing.assert_allclose(v, [0, 0, 0.1, 0])


def test_constriction_equals_published_value():
    assert constriction(2.05, 2.05) == pytest.approx(0.7298, abs=1e-4)
    with pytest.raises(ValueError, match="> 4"):
        constriction(1.5, 1.5)


def test_ring_and_von_neumann_informants():
    assert list(informants("ring", 0, 6)) == [0, 1, 5]
    assert list(informants("von-neumann", 0, 9)) == [0, 1, 2, 3, 6]
    assert list(informants("von-neumann", 0, 1)) == [0]
    assert len(informants("global", 3, 7)) == 7


@pytest.mark.parametrize(("topology", "informer"), [("global", 7), ("ring", 1), ("von-neumann", 3)])
def test_particle_follows_its_best_informant(topology, informer):
    """Particle 0 of 9 has neighbours 1 and 8 on a ring, and 1, 2, 3, 6 on a 3 x 3 torus; 7 is the best of all."""
    rng = np.random.default_rng(0)
    particles = Particles(9, 1, topology, rng)
    for particle, value in enumerate([9.0, 3.0, 8.0, 2.0, 1.0, 7.0, 6.0, 0.0, 5.0]):
        assert particles.learn(particle, np.zeros(1), value, np.inf, rng)
    assert particles.best_informant(0) == informer


def test_random_informants_change_without_improvement():
    rng = np.random.default_rng(0)
    particles = Particles(12, 1, "random", rng)
    drawn = particles.get_state()["drawn"]
    assert all(group[0] == particle and len(group) == 4 for particle, group in enumerate(drawn))
    particles.learn(0, np.zeros(1), 1.0, np.inf, rng)
    for _ in range(11):
        particles.learn(1, np.zeros(1), 2.0, np.inf, rng)
    assert particles.get_state()["drawn"] == drawn
    particles.learn(1, np.zeros(1), 2.0, np.inf, rng)
    assert particles.get_state()["drawn"] != drawn


def settings(**changed):
    given = {"n_particles": 5, "topology": "global", "inertia": "linear", "inertia_start": 0.9, "inertia_end": 0.4}
    given |= {"cognitive": 1.5, "social": 2.0, "velocity_limit": 10.0, "bounds": "reflect", "budget": 9}
    return Settings(**{**given, "generational": False, **changed})


def test_velocities_follow_the_update_rule():
    """v <- w v + c1 r1 (p - x) + c2 r2 (g - x), with r1 and r2 per coordinate; chi (v + ...) with constriction."""
    velocity, own, group = np.array([0.1, -0.2]), np.array([0.3, 0.0]), np.array([0.0, 0.4])
    rng = np.random.default_rng(0)
    r1, r2 = rng.random((3, 2)), rng.random((3, 2))
    moved = settings().velocities(velocity, own, group, 0.6, 3, np.random.default_rng(0))
    np.testing.assert_allclose(moved, 0.6 * velocity + 1.5 * r1 * own + 2.0 * r2 * group)
    tight = settings(inertia="constriction", cognitive=2.05, social=2.05)
    moved = tight.velocities(velocity, own, group, 0.6, 3, np.random.default_rng(0))
    np.testing.assert_allclose(moved, constriction(2.05, 2.05) * (velocity + 2.05 * (r1 * own + r2 * group)))
    clamped = settings(velocity_limit=0.05).velocities(velocity, own, group, 0.6, 3, np.random.default_rng(0))
    assert np.abs(clamped).max() == 0.05


def inertia(name, values, **given):
    """Return the inertia weight of the next move of a swarm of four, after results with ``values``."""
    swarm = ParticleSwarm({"x": Float(0, 1)}, 4, seed=0, inertia=name, screening=False, **given)
    for value in values:
        swarm.tell(swarm.ask().id, value)
    weights, velocities = [], Settings.velocities
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Settings, "velocities", lambda *given: weights.append(given[4]) or velocities(*given))
        swarm.ask()
    return pytest.approx(weights[0])


def test_inertia_follows_budget_or_success():
    for n, weight in ((4, 0.6), (8, 0.5), (16, 0.3), (30, 0.3)):
        assert inertia("linear", range(n), budget=16) == weight
    assert inertia("constant", range(9)) == 0.729
    assert inertia("adaptive", [9.0] * 4 + [8.0] * 4) == 0.9  # each of the last four improved its particle's best
    assert inertia("adaptive", [9.0] * 4 + [8.0, 8.0, 9.0, 9.0]) == 0.65
    assert inertia("adaptive", [9.0] * 8) == 0.4


def test_swarm_starts_at_sobol_points():
    swarm = ParticleSwarm({"x": Float(0, 1), "y": Float(0, 1)}, 16, seed=3)
    configs = [swarm.ask().config for _ in range(16)]
    for name in "xy":
        assert sorted(int(16 * config[name]) for config in configs) == list(range(16))


def test_comparison_uses_highest_common_fidelity():
    archive = Archive(1)
    for value, fidelity, curve in [
        (5.0, 1.0, {}),
        (3.0, 9.0, {1.0: 7.0}),
        (np.inf, np.inf, {1.0: 0.0}),  # a failure compares with anything, whatever it showed before
        (4.0, 12.0, {1.0: 6.0}),
        (2.0, 3.0, {}),  # has no value at 1
    ]:
        archive.add(np.zeros(1), value, fidelity, curve)

    def compared(full, at_least):
        indices, values = archive.comparable(full, at_least)
        return dict(zip(indices.tolist(), values.tolist(), strict=True))

    assert compared(9.0, 2) == {1: 3.0, 2: np.inf, 3: 4.0}  # 12 counts as full
    assert compared(9.0, 3) == {0: 5.0, 1: 7.0, 2: np.inf, 3: 6.0}
    assert compared(np.inf, 2) == {0: 5.0, 1: 7.0, 2: np.inf, 3: 6.0}
    assert compared(9.0, 50) == {0: 5.0, 1: 7.0, 2: np.inf, 3: 6.0}


def test_only_failures_can_be_compared():
    archive = Archive(1)
    assert not len(archive.comparable(np.inf, 1)[0])
    archive.add(np.zeros(1), np.inf, 3.0)
    assert archive.comparable(np.inf, 5)[1].tolist() == [np.inf]


def test_forest_learns_a_smooth_function():
    rng = np.random.default_rng(0)
    inputs, new = rng.random((300, 3)), rng.random((200, 3))

    def function(x):
        return (x[:, 0] - 0.3) ** 2 + x[:, 1] * x[:, 2]

    forest = ExtraTrees(inputs, function(inputs), 30, rng)
    np.testing.assert_allclose(forest.predict(inputs), np.tile(function(inputs), (30, 1)))
    assert np.corrcoef(forest.predict(new).mean(axis=0), function(new))[0, 1] > 0.95


def test_forest_averages_equal_inputs():
    forest = ExtraTrees(np.array([[0.5], [0.5], [0.1]]), np.array([1.0, 3.0, 7.0]), 5, np.random.default_rng(0))
    np.testing.assert_allclose(forest.predict(np.array([[0.5], [0.1]])), [[2.0, 7.0]] * 5)


def known(positions, values):
    """Return results whose noise is unknown."""
    return Results(positions, values, np.full(len(values), np.nan))


@pytest.mark.parametrize("surrogate", ["gaussian-process", "trees"])
def test_screening_prefers_good_regions(surrogate):
    rng = np.random.default_rng(0)
    positions = rng.random((60, 2))
    values = ((positions - 0.8) ** 2).sum(axis=1)
    values[positions[:, 0] < 0.2] = np.inf  # failed
    candidates = np.array([[0.1, 0.1], [0.8, 0.8], [0.2, 0.9]])
    assert Screening(Screen(surrogate, kappa=0.0)).order(candidates, known(positions, values), np.empty((0, 2)))[0] == 1


def test_screening_avoids_pending_moves():
    positions = 0.5 * np.random.default_rng(0).random((20, 2))
    values = np.sin(9 * positions[:, 0]) + np.cos(7 * positions[:, 1])
    candidates = np.array([[0.9, 0.3], [0.3, 0.9]])

    def chosen(flying):
        return Screening(Screen(kappa=3.0)).order(
            candidates, known(positions, values), np.array(flying).reshape(-1, 2)
        )[0]

    assert chosen([]) != chosen([candidates[chosen([])]])


def test_believing_keeps_means_shrinks_deviations():
    inputs = 0.5 * np.random.default_rng(0).random((15, 2))
    process = GaussianProcess(inputs, np.sin(9 * inputs[:, 0]) + np.cos(7 * inputs[:, 1]), None, 8)
    new = np.array([[0.9, 0.1], [0.5, 0.5]])
    mean, deviation = process.predict(new)
    process.believe(new[:1])
    believed, shrunk = process.predict(new)
    np.testing.assert_allclose(believed, mean, atol=1e-3)
    assert shrunk[0] < 0.3 * deviation[0]
    assert shrunk[1] <= deviation[1]


def test_process_is_uncertain_far_from_samples():
    rng = np.random.default_rng(0)
    inputs, new = rng.random((60, 3)) * 0.6, rng.random((100, 3)) * 0.6

    def function(x):
        return np.sin(5 * x[:, 0]) + x[:, 1]  # the third coordinate does not matter

    targets = function(inputs)
    scaled = (targets - targets.mean()) / targets.std()
    process = GaussianProcess(inputs, scaled, None, 8)
    mean, deviation = process.predict(new)
    assert np.corrcoef(mean, function(new))[0, 1] > 0.98
    assert process.theta[2] > process.theta[0]  # a long length scale means little influence
    far = process.predict(np.ones((1, 3)))[1]
    assert far > 2 * deviation.mean()
    np.testing.assert_allclose(process.predict(inputs)[0], scaled, atol=0.2)


def test_trend_finds_a_bowl_under_ripples():
    rng = np.random.default_rng(0)
    inputs, new = rng.random((60, 3)), rng.random((100, 3))

    def function(x):
        return ((x - 0.3) ** 2).sum(1)

    targets = (function(inputs) - function(inputs).mean()) / function(inputs).std()
    short = np.log([0.02, 0.02, 0.02, 0.1])
    mean, _ = GaussianProcess(inputs, targets, short, 0).predict(new)
    assert np.corrcoef(mean, function(new))[0, 1] > 0.8


def test_process_gradient_matches_its_loss():
    rng = np.random.default_rng(0)
    inputs = rng.random((20, 3))
    process = GaussianProcess(inputs, log_gaps(inputs[:, 0]), None, 0)
    process.theta = start = process.theta + rng.normal(0.0, 0.5, 4)
    slope = process._loss()[1]
    for i, step in enumerate(1e-5 * np.eye(4)):
        process.theta = start + step
        above = process._loss()[0]
        process.theta = start - step
        assert slope[i] == pytest.approx((above - process._loss()[0]) / 2e-5, rel=1e-4, abs=1e-6)


def test_equal_samples_do_not_break_the_process():
    inputs = np.full((12, 2), 0.5)
    mean, _ = GaussianProcess(inputs, np.zeros(12), None, 5).predict(inputs)
    np.testing.assert_allclose(mean, 0.0, atol=1e-6)


def test_log_gaps_keep_order_without_unit():
    values = np.array([1.0, 2.0, 1e9, 4.0, np.inf, 4.0])
    gaps = log_gaps(values)
    assert list(np.argsort(gaps, kind="stable")) == [0, 1, 3, 5, 2, 4]
    assert gaps[3] == gaps[5]
    assert gaps[2] == gaps[4]
    assert gaps.std() == pytest.approx(1.0)
    np.testing.assert_allclose(log_gaps(1000 * values - 7.0), gaps, atol=1e-6)
    np.testing.assert_allclose(log_gaps(1e-20 * values), gaps, atol=1e-6)
    tied = log_gaps(np.array([0.0, 1e-20, 0.0, 0.0, 1e30, 2e-20]))
    assert tied[0] == tied[2] == tied[3] < tied[1] < tied[5] < tied[4]
    for same in ([3.0, 3.0], [np.inf, np.inf]):
        np.testing.assert_allclose(log_gaps(np.array(same)), 0.0, atol=1e-6)
    assert np.isfinite(log_gaps(np.array([-1.7e308, 1.7e308, 0.0]))).all()


def test_local_steps_change_some_coordinates():
    steps = local_steps(np.full(10, 0.5), 200, np.random.default_rng(0))
    changed = (steps != 0.5).mean(axis=1)
    assert 0.3 < changed.mean() < 0.8
    assert np.median(np.abs(steps[steps != 0.5] - 0.5)) < 0.15


def test_screening_computes_in_one_thread(monkeypatch):
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads():
        pools = [pool for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]
        return {pool["num_threads"] for pool in pools if "numpy" in pool["filepath"]}  # SciPy's is not used

    during, predict = [], GaussianProcess.predict
    monkeypatch.setattr(
        GaussianProcess, "predict", lambda self, inputs: during.append(threads()) or predict(self, inputs)
    )
    points = np.random.default_rng(0).random((12, 2))
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        Screening(Screen()).order(points[:4], known(points, points.sum(axis=1)), points[:1])
        assert threads() == {2}
    assert during
    assert all(count == {1} for count in during)
