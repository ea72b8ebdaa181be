"""Where a result comes from: versions and commit."""

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
    """Installed versions, without importing anything: python, kdh_ray, torch, transformers, ray, ..."""
    found: dict[str, str | None] = {"python": platform.python_version(), "kdh_ray": __version__}
    for package in _PACKAGES:
        try:
            found[package.replace("-", "_")] = version(package)
        except PackageNotFoundError:
            found[package.replace("-", "_")] = None
    return found


@cache
def commit() -> str | None:
    """The commit that this package's files belong to, with ``-dirty`` where they differ from it.

    None where it is installed elsewhere than in its checkout, or git is not there.
    """
    package = Path(__file__).resolve().parents[1]
    # A wheel in some project's virtual environment must not be given that project's commit.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    head = _git(package, "rev-parse", "HEAD")
    return head and head + ("-dirty" if _git(package, "status", "--porcelain", "--untracked-files=no", ".") else "")


def columns() -> dict[str, str | None]:
    """``version_*`` and ``commit``, as they stand in result rows."""
    return {**{f"version_{name}": found for name, found in versions().items()}, "commit": commit()}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
