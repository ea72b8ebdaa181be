"""Provenance of a result: versions and commit."""

import platform
import subprocess
from pathlib import Path

import pytest

from kdh_ray import __version__
from kdh_ray.results import provenance


def test_columns_name_versions_and_commit() -> None:
    columns = provenance.columns()
    assert columns["version_python"] == platform.python_version()
    assert columns["version_kdh_ray"] == __version__
    assert {"version_torch", "version_transformers", "version_ray", "commit"} <= columns.keys()


def test_package_in_foreign_checkout_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    package = tmp_path / "site-packages" / "kdh_ray" / "results"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert provenance.commit.__wrapped__() is None


def test_commit_is_that_of_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "kdh_ray" / "results"
    package.mkdir(parents=True)
    (package.parent / "__init__.py").write_text("")

    def git(*arguments: str) -> str:
        identity = ["-c", "user.name=a", "-c", "user.email=a@b.example", "-c", "commit.gpgsign=false"]
        done = subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "x")
    monkeypatch.setattr(provenance, "__file__", str(package / "provenance.py"))
    assert provenance.commit.__wrapped__() == git("rev-parse", "HEAD")
    (package.parent / "__init__.py").write_text("changed")
    assert provenance.commit.__wrapped__() == git("rev-parse", "HEAD") + "-dirty"
