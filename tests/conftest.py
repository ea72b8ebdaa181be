"""Settings of all tests: how they are spread over processes, and which examples hypothesis draws.

``make test`` and ``make test-slow`` run two processes. Hypothesis draws the same examples each time, so that a change
fails for what it changed; ``--hypothesis-profile=default`` draws others.
"""

from __future__ import annotations

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # busy machines are slow
settings.load_profile("repeatable")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let one process run all tests that start a Ray, which takes every core, and each other file stay in one."""
    for item in items:
        group = "ray" if item.get_closest_marker("ray") else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
