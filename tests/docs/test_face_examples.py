"""The examples in the docstrings of the five public functions run as they are printed."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

import kdh_ray

FACE = {name: getattr(kdh_ray, name) for name in kdh_ray.__all__}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.ray, pytest.mark.slow] if name == "search" else [])
        for name in kdh_ray.__all__
    ],
)
def test_docstring_example_runs(name: str, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workspace)
    finder = doctest.DocTestFinder(recurse=False)
    (found,) = finder.find(FACE[name], name, globs=dict(FACE))
    assert found.examples
    assert not any(doctest.SKIP in example.options for example in found.examples)
    assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found).failed == 0
