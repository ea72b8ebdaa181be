"""Packages that only some features need, installed as extras of this package."""

from __future__ import annotations

from importlib.util import find_spec

from kdh_ray.errors import UnavailableError


def require(purpose: str, extra: str, *packages: str) -> None:
    """Check that optional packages are installed.

    Args:
        purpose: The feature that needs them, as the subject of a sentence.
        extra: The extra that installs them.
        packages: Names by which they are imported.

    Raises:
        UnavailableError: If one is missing; says how to install it.

    Example:
        >>> require("a report", "report", "json")
    """
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise UnavailableError(f"{purpose} needs {' and '.join(missing)}: pip install 'kdh-ray[{extra}]'")
