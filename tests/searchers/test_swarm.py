"""Guarantees of the swarm to its users."""

import heapq
import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest

from searchers import Categorical, Float, Integer, Ordinal, ParticleSwarm, Screen
from searchers.screening import Screening

SPACE = {"x": Float(-5, 5), "y": Float(-5, 5), "k": Integer(1, 6), "c": Categorical(["a", "b", "c"])}


def sphere(config):
    return config["x"] ** 2 + config["y"] ** 2 + abs(config["k"] - 3) + (config["c"] != "b")


def run(swarm, n, function=sphere):
    values = []
    for _ in range(n):
        move = swarm.ask()
        values.append(function(move.config))
        swarm.tell(move.id, values[-1])
    return values


@pytest.mark.parametrize("screening", [False, True])
@pytest.mark.parametrize("topology", ["global", "ring", "von-neumann", "random"])
def test_every_topology_beats_random_search(topology, screening):
    regrets, random = [], []
    rng = np.random.default_rng(0)
    n = 60 if screening else 150
    for seed in range(4):
        swarm = ParticleSwarm(SPACE, topology=topology, seed=seed, budget=n, screening=screening)
        regrets.append(min(run(swarm, n)))
        draws = (swarm.space.decode(swarm.space.from_uniform(rng.random(4))) for _ in range(n))
        random.append(min(map(sphere, draws)))
    assert np.mean(regrets) < 0.8 * np.mean(random)


@pytest.mark.parametrize("inertia", ["constant", "constriction", "linear", "adaptive"])
@pytest.mark.parametrize("bounds", ["reflect", "absorb", "random", "periodic"])
def test_plain_swarm_converges(inertia, bounds):
    swarm = ParticleSwarm(
        {"x": Float(-5, 5), "y": Float(-5, 5)}, seed=1, inertia=inertia, bounds=bounds, screening=False
    )
    values = run(swarm, 300, lambda c: (c["x"] - 1) ** 2 + c["y"] ** 2)
    assert min(values) < 0.1
    assert swarm.best == (swarm.best[0], min(values))


@pytest.mark.parametrize("screening", [False, True])
def test_restored_swarm_continues_like_the_original(screening):
    first = ParticleSwarm(SPACE, seed=3, topology="random", screening=screening)
    run(first, 25)
    in_air = [first.ask() for _ in range(4)]
    second = ParticleSwarm.from_state(json.loads(json.dumps(first.get_state())))
    assert second.pending == first.pending
    assert second.best == first.best
    trails = []
    for swarm in (first, second):
        for move in reversed(in_air):
            swarm.tell(move.id, sphere(move.config))
        trails.append([run(swarm, 15), swarm.best])
    assert trails[0] == trails[1]


def test_seed_fixes_the_sequence_in_any_process():
    code = (
        "from searchers import *; s = ParticleSwarm({'x': Float(0, 1), 'c': Categorical(['a', 'b'])}, 4, seed=7)\n"
        "for _ in range(12):\n    m = s.ask(); s.tell(m.id, m.config['x']); print(m.config)"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment).stdout
        for environment in (
            {"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)},
            {"PYTHONHASHSEED": "2", "PYTHONPATH": ":".join(sys.path)},
        )
    ]
    assert runs[0] == runs[1]
    assert runs[0].count("x") == 12


def test_different_seeds_differ():
    assert run(ParticleSwarm(SPACE, seed=0), 5) != run(ParticleSwarm(SPACE, seed=1), 5)


@pytest.mark.parametrize("failure", [None, math.nan, math.inf, -math.inf])
def test_failures_stop_no_particle(failure):
    swarm = ParticleSwarm(SPACE, 4, seed=0)
    for i in range(40):
        move = swarm.ask()
        swarm.tell(move.id, failure if i % 3 else sphere(move.config))
    assert math.isfinite(swarm.best[1])
    json.loads(json.dumps(swarm.get_state()), parse_constant=pytest.fail)


def test_swarm_of_failures_keeps_searching():
    swarm = ParticleSwarm(SPACE, 3, seed=0)
    configs = []
    for _ in range(20):
        move = swarm.ask()
        configs.append(json.dumps(move.config))
        swarm.tell(move.id, math.nan)
    assert len(set(configs)) == 20
    assert swarm.best is None


def test_lower_fidelity_never_displaces_higher():
    swarm = ParticleSwarm(SPACE, 1, seed=0)
    full, stopped, longer = swarm.ask(), swarm.ask(), swarm.ask()
    swarm.tell(stopped.id, 0.1, fidelity=1)
    assert swarm.best == (stopped.config, 0.1)  # results at a lower fidelity are still used
    swarm.tell(longer.id, 7.0, fidelity=3)
    assert swarm.best == (longer.config, 7.0)
    swarm.tell(full.id, 9.0)
    assert swarm.best == (full.config, 9.0)
    swarm.tell(swarm.ask().id, 1.0, fidelity=3)
    assert swarm.best == (full.config, 9.0)


def test_screening_works_under_early_stopping():
    """Values at low rungs have an offset, and full runs are few; the screened swarm still finds the optimum."""

    def near(screening):
        swarm = ParticleSwarm({"x": Float(0, 1), "y": Float(0, 1)}, seed=0, screening=screening)
        swarm.full_fidelity = 9
        for i in range(90):
            move = swarm.ask()
            value = (move.config["x"] - 0.3) ** 2 + (move.config["y"] - 0.7) ** 2
            if i % 3:
                swarm.tell(move.id, value - 5.0, fidelity=1)
            else:
                swarm.report(move.id, value - 5.0, fidelity=1)
                swarm.tell(move.id, value, fidelity=9)
        return swarm.best[1]

    assert near(True) < 1e-3
    assert near(True) < near(False)


def test_reports_of_a_move_survive_a_restart():
    swarm = ParticleSwarm(SPACE, seed=0)
    move = swarm.ask()
    swarm.report(move.id, 4.0, fidelity=1)
    swarm.report(move.id, math.nan, fidelity=2)
    swarm = ParticleSwarm.from_state(json.loads(json.dumps(swarm.get_state())))
    swarm.tell(move.id, 2.0, fidelity=3)
    other = swarm.ask()
    swarm.tell(other.id, 3.0, fidelity=1)
    restored = ParticleSwarm.from_state(json.loads(json.dumps(swarm.get_state())))
    assert restored.archive.comparable(9.0, 2)[1].tolist() == [4.0, 3.0]
    assert restored.archive.comparable(9.0, 1)[1].tolist() == [2.0]
    with pytest.raises(ValueError, match=">= 0"):
        swarm.report(swarm.ask().id, 1.0, fidelity=-1)


def test_results_at_full_fidelity_are_equal():
    swarm = ParticleSwarm(SPACE, 2, seed=0)
    known, other = swarm.ask(), swarm.ask()
    swarm.tell(known.id, 1.0, fidelity=10)
    swarm.tell(other.id, 2.0)
    assert swarm.best == (other.config, 2.0)
    swarm.full_fidelity = 10
    assert swarm.best == (known.config, 1.0)


def test_no_configuration_repeats_while_unseen_remain():
    swarm = ParticleSwarm({"a": Integer(0, 5), "m": Categorical([{"b": Ordinal([1, 2, 3])}, None])}, 5, seed=0)
    size = int(swarm.space.size)
    assert size == 24
    seen = []
    for _ in range(size):
        move = swarm.ask()
        seen.append(json.dumps(move.config))
        swarm.tell(move.id, move.config["a"])
    assert len(set(seen)) == size
    assert swarm.ask() is not None  # exhausted: it repeats rather than stops


@pytest.mark.parametrize("best", [0.0, 0.3])
def test_no_real_number_repeats(best):
    """A converged plain swarm moves by less than the 12 digits of a value, or against a bound."""
    swarm = ParticleSwarm({"x": Float(0, 1)}, 4, seed=0, budget=40, screening=False)
    configs = []
    run(swarm, 300, lambda config: configs.append(config["x"]) or (config["x"] - best) ** 2)
    assert len(set(configs)) == 300


@pytest.mark.parametrize("infinite", [Float(0, 1), {"a": Integer(0, 2**39), "b": Integer(0, 2**39)}])
def test_unseen_rest_of_a_space_is_found(infinite):
    """Most points of the Sobol sequence decode to one of the 100 choices that are soon exhausted."""
    swarm = ParticleSwarm({"c": Categorical([*range(10, 110), infinite])}, 4, seed=0, screening=False)
    configs = []
    run(swarm, 160, lambda config: configs.append(json.dumps(config)) or 0.0)
    assert len(set(configs)) == 160


def test_constant_space_has_one_configuration():
    swarm = ParticleSwarm({"a": 3}, seed=0)
    assert run(swarm, 12, lambda config: config["a"]) == [3] * 12
    assert swarm.exhausted()
    assert ParticleSwarm.from_state(json.loads(json.dumps(swarm.get_state()))).ask().config == {"a": 3}


def test_running_configurations_count_as_seen():
    swarm = ParticleSwarm({"a": Integer(0, 29)}, 4, seed=0)
    assert len({swarm.ask().config["a"] for _ in range(30)}) == 30


def test_more_asks_than_particles_are_shared():
    swarm = ParticleSwarm(SPACE, 4, seed=0)
    moves = [swarm.ask() for _ in range(12)]
    assert [swarm.particle_of(move.id)["particle"] for move in moves] == [0, 1, 2, 3] * 3
    swarm.tell(moves[5].id, 1.0)
    assert swarm.particle_of(swarm.ask().id)["particle"] == 1  # the one with the fewest pending moves


def test_generation_waits_for_its_last_particle():
    swarm = ParticleSwarm(SPACE, 3, seed=0, generational=True)
    moves = [swarm.ask() for _ in range(3)]
    assert swarm.ask() is None
    for move in moves[:2]:
        swarm.tell(move.id, 1.0)
        assert swarm.ask() is None
    swarm.tell(moves[2].id, 1.0)
    assert swarm.ask() is not None


def test_points_come_first_and_once():
    points = [{"x": 1.5, "y": -2.0, "k": 2, "c": "c"}, {"k": 6}, {"x": 1.5, "y": -2.0, "k": 2, "c": "c"}]
    swarm = ParticleSwarm(SPACE, 4, seed=0, points_to_evaluate=points)
    first, second, third = (swarm.ask().config for _ in range(3))
    assert first == points[0]
    assert second["k"] == 6
    assert third != points[0]


def test_earlier_results_seed_the_swarm():
    swarm = ParticleSwarm(SPACE, 4, seed=0)
    known = {"x": 0.01, "y": 0.0, "k": 3, "c": "b", "epochs": 3}
    swarm.add_evaluated(known, 0.0001)
    swarm.add_evaluated({**known, "x": 4.0}, None)
    assert swarm.best[1] == 0.0001
    values = run(swarm, 40)
    assert np.median(values[20:]) < np.median(values[:4])
    with pytest.raises(ValueError, match="missing y"):
        swarm.add_evaluated({"x": 1.0, "k": 3, "c": "b"}, 1.0)


def test_swarm_moves_after_its_first_results():
    swarm = ParticleSwarm(SPACE, 10, seed=0)
    values = run(swarm, 40)
    assert np.median(values[12:40]) < 0.3 * np.median(values[:10])


def test_result_updates_the_particle_that_asked():
    """In any order of results, a personal best is at a position of its own particle."""
    swarm = ParticleSwarm(SPACE, 5, seed=0, screening=False)
    for _ in range(4):
        flown = {}
        for move in [swarm.ask() for _ in range(5)]:
            flown[move.id] = swarm.particle_of(move.id), move.config
        for id, (particle, config) in reversed(flown.items()):
            before = swarm.personal_best(particle["particle"])
            swarm.tell(id, sphere(config))
            expected = sphere(config) if before is None else min(before, sphere(config))
            assert swarm.personal_best(particle["particle"]) == expected


def test_equal_positions_decode_to_equal_configurations():
    """Categories follow from the position; they are not drawn at random."""
    space = {"c": Categorical(["a", "b", "c", "d"]), "k": Integer(0, 9), "x": Float(1e-4, 1.0, log=True)}
    swarm = ParticleSwarm(space, 4, seed=1)
    told = {}
    for i in range(30):
        move = swarm.ask()
        value = float((i * 7) % 30)
        told[value] = move.config
        swarm.tell(move.id, value)
        assert swarm.best == (told[min(told)], min(told))


def test_second_tell_changes_nothing():
    swarm = ParticleSwarm(SPACE, 2, seed=0)
    move = swarm.ask()
    swarm.tell(move.id, 2.0)
    before = json.dumps(swarm.get_state())
    swarm.tell(move.id, 1.0)
    assert json.dumps(swarm.get_state()) == before
    with pytest.raises(KeyError, match="no move 99"):
        swarm.tell(99, 1.0)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"n_particles": 0}, "n_particles"),
        ({"topology": "star"}, "global, ring"),
        ({"inertia": "wild"}, "constant, constriction"),
        ({"bounds": "soft"}, "reflect, absorb"),
        ({"velocity_limit": 0}, "velocity_limit"),
        ({"budget": 0}, "budget"),
        ({"social": math.nan}, "finite"),
        ({"cognitive": math.inf}, "finite"),
        ({"inertia": "constriction", "cognitive": 1.0}, "> 4"),
        ({"screening": True, "topology": 3}, "global, ring"),
        ({"points_to_evaluate": [{"z": 1}]}, "no z"),
    ],
)
def test_invalid_setting_error_states_the_rule(settings, words):
    with pytest.raises(ValueError, match=words):
        ParticleSwarm(SPACE, **settings)


def test_settings_survive_json():
    """Among them NumPy numbers, and an infinite velocity limit."""
    screen = Screen(n_candidates=np.int64(20), kappa=np.float32(1.0))
    settings = {"n_particles": np.int64(3), "budget": np.int64(50), "velocity_limit": math.inf, "screening": screen}
    first = ParticleSwarm(SPACE, seed=np.int64(1), **settings)
    run(first, 5)
    second = ParticleSwarm.from_state(json.loads(json.dumps(first.get_state(), allow_nan=False)))
    assert second.settings == first.settings
    assert run(second, 5) == run(first, 5)


def test_state_of_another_version_is_refused():
    state = ParticleSwarm(SPACE, seed=0).get_state()
    with pytest.raises(ValueError, match="version"):
        ParticleSwarm.from_state({**state, "version": 0})
    with pytest.raises(ValueError, match="not the one"):
        ParticleSwarm.from_state(state, space={"x": Float(0, 1)})


def test_functions_may_be_choices():
    space = {"activation": Categorical([len, max]), "x": Float(0, 1)}
    swarm = ParticleSwarm(space, 2, seed=0)
    move = swarm.ask()
    assert move.config["activation"] in (len, max)
    again = ParticleSwarm.from_state(json.loads(json.dumps(swarm.get_state())), space=space)
    assert again.pending == [move.id]


def test_cost_does_not_grow_with_the_swarm():
    """Ten times the particles and as many moves take well under ten times the time."""
    space = {f"x{i}": Float(0, 1) for i in range(50)}
    seconds = []
    for n in (100, 1000):
        swarm = ParticleSwarm(space, n, seed=0, screening=False)
        for move in [swarm.ask() for _ in range(n)]:
            swarm.tell(move.id, float(move.id))
        started = time.process_time()
        run(swarm, 300, lambda config: config["x0"])
        seconds.append(time.process_time() - started)
    assert seconds[1] < 4 * seconds[0]


def test_import_needs_numpy_only():
    code = (
        "import sys, searchers; print([m for m in ('ray', 'torch', 'sklearn', 'scipy', 'pandas') if m in sys.modules])"
    )
    path = {"PYTHONPATH": ":".join(sys.path)}
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=path).stdout
    assert printed.strip() == "[]"


def test_candidates_are_scored_once_per_move(monkeypatch):
    """If the optimum is in a corner, many candidates are reflected to it or decode to it."""
    scored = []
    order = Screening.order
    monkeypatch.setattr(Screening, "order", lambda self, *known: scored.append(1) or order(self, *known))
    swarm = ParticleSwarm({"x": Float(0, 1), "y": Float(0, 1)}, seed=0)
    seen = set()
    for _ in range(80):
        move = swarm.ask()
        seen.add(tuple(move.config.values()))
        swarm.tell(move.id, sum(move.config.values()))
    assert len(scored) == 80 - 10  # the first of each particle are Sobol points
    assert len(seen) == 80


def test_screening_stays_cheap_at_many_results():
    """The bound is 100 ms per suggestion, and twice that here, since the machine may be busy."""
    swarm = ParticleSwarm({f"x{i}": Float(0, 1) for i in range(10)}, seed=0)
    rng = np.random.default_rng(0)
    for _ in range(1000):
        config = {f"x{i}": float(rng.random()) for i in range(10)}
        swarm.add_evaluated(config, sum(config.values()))
    run(swarm, 12, lambda config: sum(config.values()))  # every particle has a result
    started = time.process_time()
    run(swarm, 10, lambda config: sum(config.values()))
    assert (time.process_time() - started) / 10 < 0.2


@pytest.mark.parametrize("workers", [8, 128])
def test_asynchronous_workers_stay_busy(workers):
    """With log-normal durations, workers are in use for most of the time up to the last ask."""
    shares = {}
    for generational in (False, True):
        n = max(10, workers)
        swarm = ParticleSwarm(SPACE, n, seed=0, screening=False, generational=generational)
        durations = np.random.default_rng(0).lognormal(0.0, 1.0, 5 * n)
        flying, spans, now = [], [], 0.0
        while len(spans) < 5 * n:
            while len(flying) < workers and len(spans) < 5 * n and (move := swarm.ask()) is not None:
                spans.append((now, now + durations[len(spans)]))
                heapq.heappush(flying, (spans[-1][1], move.id))
            last_ask = spans[-1][0]
            now, move_id = heapq.heappop(flying)
            swarm.tell(move_id, float(move_id % 7))
        used = sum(min(end, last_ask) - start for start, end in spans)
        shares[generational] = used / (workers * last_ask)
    assert shares[False] > 0.98
    assert shares[True] < 0.7
