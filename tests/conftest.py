"""Settings of all tests: the examples that hypothesis draws.

They are the same each time, so that a change fails for what it changed; ``--hypothesis-profile=default`` draws others.
"""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)  # busy machines are slow
settings.load_profile("repeatable")
