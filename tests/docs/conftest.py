"""A folder in which the documentation's commands and code blocks run: a table, a configuration, a finished run."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LABELS = ("pain", "fever", "cough", "fatigue")


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with ``notes.csv``, notes without labels in ``more.csv``, ``my.yaml``, and finished runs of it in
    ``runs/my`` and ``runs/notes``.
    """
    from kdh_ray import run
    from kdh_ray.config import dump_config, parse_config

    folder = tmp_path_factory.mktemp("workspace")
    runpy.run_path(str(ROOT / "examples/invented_notes.py"))["main"](str(folder / "notes.csv"), 120)
    more = [f'"Has had a dry cough for {day} days. Denies having chills."' for day in range(2, 42)]
    (folder / "more.csv").write_text("\n".join(["text", *more]), encoding="utf-8")
    encoder = tmp_path_factory.mktemp("encoder")
    support = runpy.run_path(str(ROOT / "tests/kdh_ray/conftest.py"))
    support["make_encoder"](encoder, ["has", "denies", "having", "a", *LABELS], layers=2)
    for name in ("my", "notes"):
        config = {
            "name": name,
            "data": {"corpus": "table", "path": str(folder / "notes.csv"), "label_columns": LABELS, "max_tokens": 32},
            "stages": {
                "teacher": {"start": str(encoder), "epochs": 1},
                "student": {"start": "teacher", "layers": 1, "teachers": ["teacher"], "epochs": 1},
            },
        }
        (folder / f"{name}.yaml").write_text(dump_config(parse_config(config)), encoding="utf-8")
        run(folder / f"{name}.yaml", folder / "runs" / name, local=True)
    return folder
