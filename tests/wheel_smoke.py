"""Install a built wheel in an empty folder and use it from another directory, away from the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = """
import sys, kdh_ray, kdh_runtime, searchers
from kdh_ray import load_corpus
from kdh_ray.cli.quickstart import CONFIG
from kdh_ray.config import load_config
from kdh_runtime.serving.page import page_and_policy

for module in (kdh_ray, kdh_runtime, searchers):
    if not module.__file__.startswith(sys.argv[1]):
        sys.exit(f"{module.__name__} comes from {module.__file__}, not from the wheel")
page_and_policy()
corpus = load_corpus("synthetic", documents=200)
print(f"{len(corpus.labels)} labels, stages {', '.join(load_config(CONFIG).stages)}")
"""


def main(wheel: str) -> None:
    """Fail unless the installed wheel imports, finds its data files, and runs on the command line."""
    with tempfile.TemporaryDirectory() as target, tempfile.TemporaryDirectory() as elsewhere:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", target, wheel]
        subprocess.run(pip, check=True)
        environment = {**os.environ, "PYTHONPATH": target}
        for command in (["-c", PROGRAM, target], ["-m", "kdh_ray.cli.main", "--version"]):
            subprocess.run([sys.executable, *command], check=True, cwd=elsewhere, env=environment)


if __name__ == "__main__":
    main(str(Path(sys.argv[1]).resolve()))
