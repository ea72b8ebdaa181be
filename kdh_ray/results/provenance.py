"""Provenance of a result: installed versions and the commit of the code."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from kdh_ray import __version__

_PACKAGES = ("torch", "transformers", "ray", "scikit-learn", "numpy")


@cache
def versions() -> dict[str, str | None]:
    """Return the version of Python, of kdh_ray and of its main packages, without importing them; None if absent."""
    installed: dict[str, str | None] = {"python": platform.python_version(), "kdh_ray": __version__}
    for package in _PACKAGES:
        try:
            installed[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:
            installed[package.replace("-", "_")] = None
    return installed


@cache
def commit() -> str | None:
    """Return the commit that this package's files belong to, followed by ``-dirty`` if they differ from it.

    None if the package does not run from its checkout, or git is not installed.
    """
    package = Path(__file__).resolve().parents[1]
    # A package installed inside another project's checkout must not report that project's commit.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(package, "rev-parse", "HEAD")
    return head and head + ("-dirty" if _git(package, "status", "--porcelain", "--untracked-files=no", ".") else "")


def columns() -> dict[str, str | None]:
    """Return ``version_*`` and ``commit``, the columns of a result row."""
    return {**{f"version_{name}": installed for name, installed in versions().items()}, "commit": commit()}


def _git(folder: Path, *arguments: str) -> str | None:
    """Return the output of a git command in ``folder``; None if it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
