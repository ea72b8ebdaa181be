"""The controller of Ray Tune that is calling a searcher, which knows what Ray Tune doesn't tell searchers."""

from __future__ import annotations

import sys
from types import FrameType

from ray.tune.execution.tune_controller import TuneController


def calling_controller() -> TuneController | None:
    """Return the controller that is calling; None outside Ray Tune."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, TuneController):
            return caller
        frame = frame.f_back
    return None
