"""Pending moves: late ones and lost ones."""

import json

from searchers import Float, ParticleSwarm

SPACE = {"x": Float(-5.0, 5.0), "y": Float(-5.0, 5.0)}


def movers(swarm, n):
    """Return the particles of the next ``n`` moves, each told before the next is asked for."""
    moved = []
    for i in range(n):
        move = swarm.ask()
        moved.append(swarm.particle_of(move.id)["particle"])
        swarm.tell(move.id, 10.0 + i)
    return moved


def test_particle_of_lost_move_moves_again():
    """It does once every other particle has had three results; a late result of the lost move counts."""
    swarm = ParticleSwarm(SPACE, 4, seed=0)
    lost = swarm.ask()
    assert set(movers(swarm, 12)) == {1, 2, 3}
    swarm = ParticleSwarm.from_state(json.loads(json.dumps(swarm.get_state())))
    assert movers(swarm, 8).count(0) >= 2
    assert swarm.pending == [lost.id]
    swarm.tell(lost.id, 1.0)
    assert swarm.best == (lost.config, 1.0)
    assert swarm.pending == []
    assert set(movers(swarm, 4)) == {0, 1, 2, 3}


def test_slow_move_that_reports_is_awaited():
    swarm = ParticleSwarm(SPACE, 4, seed=0)
    slow = swarm.ask()
    for rung in range(1, 6):
        assert 0 not in movers(swarm, 10)
        swarm.report(slow.id, 5.0, fidelity=rung)
    assert 0 in movers(swarm, 20)  # silent for too long
    swarm.report(slow.id, 5.0, fidelity=6)  # reports again
    assert 0 not in movers(swarm, 10)


def test_many_workers_make_patience_longer():
    """A slow move is not lost just because all other pending moves have had one result each."""
    swarm = ParticleSwarm(SPACE, 4, seed=0)
    moves = [swarm.ask() for _ in range(40)]
    for move in moves[20:]:
        swarm.tell(move.id, 1.0)
    assert [swarm.particle_of(swarm.ask().id)["particle"] for _ in range(4)] == [0, 1, 2, 3]


def test_generation_continues_without_moves_given_up():
    swarm = ParticleSwarm(SPACE, 3, seed=0, generational=True)
    moves = [swarm.ask() for _ in range(3)]
    swarm.tell(moves[0].id, 1.0)
    assert swarm.ask() is None
    for move in moves:
        swarm.give_up(move.id)
    assert swarm.ask() is not None
    swarm.tell(moves[1].id, 0.5)
    assert swarm.best == (moves[1].config, 0.5)
