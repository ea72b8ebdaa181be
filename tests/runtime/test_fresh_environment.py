"""The runtime on its own: installed size, time to the first answer and memory, in a new virtual environment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from serving_process import TOKEN, answering, interrupt, post

ROOT = Path(__file__).parents[2]
MIB = 2**20
BROUGHT_ALONG = ("pip", "setuptools", "pkg_resources")  # with every virtual environment

MEASURE = """
import json, sys, time
from kdh_runtime import load
classifier = load(sys.argv[1], threads=1)
labels = classifier.predict(["No fever since Monday. Curcumin induced apoptosis in cells."]).labels
seconds = time.process_time()
classifier.predict(["No fever since Monday. Curcumin induced apoptosis in cells. " * 18] * 64)
lines = open("/proc/self/status").read().splitlines()  # ru_maxrss would include the process that started this one
peak = 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
foreign = sorted(set(sys.modules) & {"torch", "transformers", "ray", "kdh_ray", "pandas", "scipy"})
print(json.dumps({"seconds": seconds, "peak": peak, "foreign": foreign, "answers": len(labels)}))
"""


def install(folder: Path, extra: str = "") -> Path:
    """Make a virtual environment with kdh-runtime and what it needs."""
    subprocess.run([sys.executable, "-m", "venv", str(folder / "venv")], check=True)
    shutil.copytree(ROOT / "runtime", folder / "runtime")  # a build leaves files in the folder
    pip = [folder / "venv" / "bin" / "python", "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "--constraint", ROOT / "constraints.txt", f"{folder / 'runtime'}{extra}"], check=True)
    return folder / "venv"


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with kdh-runtime alone."""
    return install(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The int8 export of all-MiniLM-L6-v2 with untrained heads: the size of a real student."""
    from exports import make_checkpoint

    from kdh_ray.data.corpus import Texts
    from kdh_ray.export import export_onnx
    from kdh_ray.models.encoders import embedded_folder

    place = tmp_path_factory.mktemp("student")
    checkpoint = make_checkpoint(place / "checkpoint", embedded_folder(), max_tokens=256)
    texts = Texts.numbered(["Curcumin induced apoptosis. Mice were housed in pairs."] * 4)
    assert export_onnx(checkpoint, place / "out", texts, int8=True).precision == "int8"
    return place / "out"


@pytest.mark.slow
def test_installed_size_is_under_200_mib(environment: Path) -> None:
    packages = next((environment / "lib").glob("python*/site-packages"))
    files = [file for file in packages.rglob("*") if file.is_file()]
    own = [file for file in files if not file.relative_to(packages).parts[0].startswith(BROUGHT_ALONG)]
    assert sum(file.stat().st_size for file in own) < 200 * MIB


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_cold_start_and_memory(environment: Path, student: Path) -> None:
    result = subprocess.run(
        [environment / "bin" / "python", "-I", "-c", MEASURE, student], check=True, capture_output=True, text=True
    )
    measured = json.loads(result.stdout)
    assert measured["answers"] == 1
    assert measured["foreign"] == []
    assert measured["seconds"] < 1.0  # of CPU, from the start of Python to the first answer
    assert measured["peak"] < 250 * MIB


@pytest.mark.slow
def test_command_is_installed(environment: Path, student: Path) -> None:
    result = subprocess.run(
        [environment / "bin" / "kdh-predict", student], input=b"No fever.\n", check=True, capture_output=True
    )
    assert set(json.loads(result.stdout)) == {"labels", "probabilities"}


@pytest.mark.slow
def test_file_is_under_25_mb(student: Path) -> None:
    assert (student / "model.onnx").stat().st_size < 25e6


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount its root read-only")
def test_the_containers_command_serves_on_a_read_only_root(student: Path, tmp_path: Path) -> None:
    (entry,) = (
        json.loads(line.removeprefix("ENTRYPOINT"))
        for line in (ROOT / "deploy" / "runtime" / "Containerfile").read_text().splitlines()
        if line.startswith("ENTRYPOINT")
    )
    program = install(tmp_path, "[serve]") / "bin" / entry[0]
    (tmp_path / "token").write_text(TOKEN)
    places = {"/model": str(student), "/run/token": str(tmp_path / "token")}
    read_only = [
        "unshare",
        "--mount",
        "sh",
        "-c",
        'mount -o remount,bind,ro / && ! touch /new 2> /dev/null && exec "$@"',
    ]
    command = [*read_only, "sh", str(program), *(places.get(word, word) for word in entry[1:]), "--port", "0"]
    with answering(command) as (process, url):
        url = url.replace("0.0.0.0", "127.0.0.1")
        assert post(url, {"texts": ["No fever."]})[0] == 401
        assert post(url, {"texts": ["No fever."]}, Authorization=f"Bearer {TOKEN}")[0] == 200
        assert interrupt(process)[0] in (0, 130)
