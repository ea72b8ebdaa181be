"""State of this process that Ray Tune changes or reads: the handler of Ctrl-C, environment variables, and logging."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self


class InterruptWatch:
    """Context manager around a run of Ray Tune that detects Ctrl-C, and restores the handler of Ctrl-C afterwards.

    On the first Ctrl-C, Tune puts the former handler back and ends early, without an error. Without one, it leaves its
    own handler in place, which would swallow the next Ctrl-C. So Ctrl-C came if the former handler is in place at the
    end, unless Tune was told not to set its own.

    Attributes:
        interrupted: True if Ctrl-C came; False in a thread other than the main one, where Python handles no signals.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._handler: Any = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._handler = signal.getsignal(signal.SIGINT)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handler is None:  # another thread, or a handler that was not set from Python
            return
        disabled = os.environ.get("TUNE_DISABLE_SIGINT_HANDLER", "0") != "0"
        self.interrupted = signal.getsignal(signal.SIGINT) is self._handler and not disabled
        signal.signal(signal.SIGINT, self._handler)


@contextmanager
def tune_environment(verbose: bool) -> Iterator[None]:
    """Set the environment variables that configure Ray Tune, and its log level; variables of the user's stay.

    Args:
        verbose: Let Ray Tune log and print.
    """
    settings = {
        "RAY_CHDIR_TO_TRIAL_DIR": "0",  # so that relative paths in objectives stay valid
        "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # searches resume from the ledger, not from Tune's snapshots
        "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results are in the ledger; trackers are opt-in
        "TUNE_PRINT_ALL_TRIAL_ERRORS": "1" if verbose else "0",
        "RAY_AIR_NEW_OUTPUT": "1" if verbose else "0",  # the new output prints tables even with verbose=0
    }
    added = [name for name in settings if name not in os.environ]
    os.environ.update({name: settings[name] for name in added})
    logger = logging.getLogger("ray.tune")
    level = logger.level
    if not verbose:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(level)
        for name in added:
            del os.environ[name]
