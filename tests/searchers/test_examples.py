"""Examples in the docstrings of `searchers`."""

import doctest

import pytest

pytest.importorskip("ray")

import searchers.pso_search
import searchers.swarm


@pytest.mark.parametrize("module", [searchers.swarm, searchers.pso_search], ids=lambda module: module.__name__)
def test_docstring_examples_run(module, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AIR_LOCAL_CACHE_DIR", str(tmp_path))  # where a Tuner leaves its own state
    monkeypatch.setenv("HOME", str(tmp_path))
    results = doctest.testmod(module)
    assert results.attempted > 0
    assert results.failed == 0
