"""Imports of heavy packages: they cost seconds, so only the commands that need them import them."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "transformers", "ray", "pandas", "pyarrow", "sklearn", "datasets", "scipy", "rich"}
NOT_FOR_HELP = HEAVY | {"numpy", "pydantic", "yaml"}
HELP = "from kdh_ray.cli.main import main\ntry: main([{}'--help'])\nexcept SystemExit: pass"


def imported_by(program: str) -> set[str]:
    command = f"import sys\n{program}\nprint(*sys.modules, file=sys.stderr)"
    return set(
        subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stderr.split()
    )


@pytest.mark.parametrize(
    "program", ["import kdh_ray", *(HELP.format(verb) for verb in ("", "'quickstart', ", "'run', "))]
)
def test_heavy_packages_are_imported_late(program: str) -> None:
    assert not NOT_FOR_HELP & imported_by(program)


def test_configurations_need_no_heavy_packages() -> None:
    assert not HEAVY & imported_by("import kdh_ray.data, kdh_ray.config")


@pytest.mark.parametrize("room", ["training.stages", "models.checkpoint", "evaluation.metrics", "data.tokens"])
def test_only_jobs_import_ray(room: str) -> None:
    assert "ray" not in imported_by(f"import kdh_ray.{room}")


def test_the_public_names_are_there() -> None:
    import kdh_ray

    assert all(callable(getattr(kdh_ray, name)) for name in kdh_ray.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = kdh_ray.nothing
