"""Distribution of the tests over processes: ``make test`` and ``make test-slow`` run two."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all tests that start a Ray, which takes every core, and each other file stay in one."""
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
