"""Rich output on stdout: as it is on a terminal, plain and without trailing blanks elsewhere."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_WIDTH = 1000  # characters: a pipe or a file gets columns that are never cut


@contextmanager
def stdout_console() -> Iterator[Console]:
    """Yield a console whose output is on stdout when the block ends, at the latest."""
    from rich.console import Console

    if sys.stdout.isatty():
        yield Console(highlight=False)
        return
    console = Console(width=_WIDTH, color_system=None, highlight=False, file=io.StringIO())
    with console.capture() as captured:
        yield console
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
