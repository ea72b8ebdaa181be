"""No text leaves its files: words planted in every document are looked for in everything that the program writes."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest

from kdh_ray.run_folder import RunFolder

pytestmark = [pytest.mark.slow, pytest.mark.ray, pytest.mark.timeout(1800)]  # a run, a search and eleven verbs

CANARIES = {use: f"zqcanary{use}" for use in ("train", "unlabelled", "predicted", "headerless", "stdin", "refused")}
INPUTS = ("notes.csv", "more.jsonl", "headerless.csv")
ENCODER_WORDS = ["pain", "fever", "seen", "today", "in", "clinic", "."]
CONFIG = """
name: canaries
data: {{corpus: table, path: notes.csv, id_column: id, label_columns: [pain, fever], max_tokens: 16}}
precision: float32
stages:
  teacher: {{start: {encoder}, epochs: 2}}
  student: {{start: teacher, layers: 1, teachers: [teacher], epochs: 2}}
tune:
  trials: 3
  searcher: random
  scheduler: none
  space:
    loss.alpha: {{low: 0.1, high: 0.9}}
    head_multiplier: {{choices: [4.0, 1.0e+38]}}  # the second diverges: a trial that fails
"""


@dataclass
class Workplace:
    """A folder in which verbs are run, each with its output in a file of its own.

    Attributes:
        folder: Inputs, runs and outputs.
        ray: Where Ray keeps its sessions.
    """

    folder: Path
    ray: Path

    def start(self, name: str, *arguments: str, text: str = "") -> subprocess.Popen[str]:
        """Start a verb; its output goes to ``output-NAME.txt``."""
        (self.folder / "stdin").write_text(text, encoding="utf-8")
        with (self.folder / f"output-{name}.txt").open("w") as output, (self.folder / "stdin").open() as source:
            process = subprocess.Popen(
                [sys.executable, "-m", "kdh_ray.cli.main", *arguments], cwd=self.folder, stdin=source, stdout=output,
                stderr=subprocess.STDOUT, text=True, env={**os.environ, "RAY_TMPDIR": str(self.ray)},
            )  # fmt: skip
        (self.folder / "stdin").unlink()
        return process

    def run(self, name: str, *arguments: str, text: str = "", code: int = 0) -> None:
        """Run a verb to its end."""
        assert self.start(name, *arguments, text=text).wait(900) == code, self.output(name)

    def output(self, name: str) -> str:
        """Return what a verb printed."""
        return (self.folder / f"output-{name}.txt").read_text(encoding="utf-8", errors="replace")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workplace]:
    """Return a workplace in which everything has been done once."""
    ray = Path(tempfile.mkdtemp(prefix="kr", dir="/tmp"))  # paths of sockets may have 107 characters
    place = Workplace(tmp_path_factory.mktemp("canaries"), ray)
    try:
        write_inputs(place.folder)
        search(place)
        use(place)
        refuse(place)
        yield place
    finally:
        shutil.rmtree(ray, ignore_errors=True)


def write_inputs(folder: Path) -> None:
    """Write documents with a planted word in each, and an encoder that knows the other words."""
    import pandas as pd
    from transformers import BertConfig, BertModel, BertTokenizerFast

    generator = np.random.default_rng(0)
    rows = [
        {"id": f"d{i}", "pain": i % 2, "fever": int(i % 3 == 0),
         "text": f"{CANARIES['train']} {'pain ' * (i % 2)}{'fever ' * (i % 3 == 0)}today {generator.integers(99)} ."}
        for i in range(90)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(folder / "notes.csv", index=False)
    more = [{"text": f"{CANARIES['unlabelled']} {CANARIES['predicted']} pain today {i} ."} for i in range(20)]
    (folder / "more.jsonl").write_text("".join(json.dumps(row) + "\n" for row in more))
    (folder / "headerless.csv").write_text(f"{CANARIES['headerless']},I10.9\n" * 3)
    encoder = folder / "encoder"
    encoder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *ENCODER_WORDS]
    (encoder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(encoder / "vocab.txt")).save_pretrained(encoder)
    BertModel(
        BertConfig(
            vocab_size=len(words), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
            max_position_embeddings=64,
        )
    ).save_pretrained(encoder)  # fmt: skip
    (folder / "my.yaml").write_text(CONFIG.format(encoder=encoder))


def search(place: Workplace) -> None:
    """Train a teacher, interrupt the search, resume it with a failing trial, and look at the dashboard meanwhile."""
    first = place.start("interrupted", "tune", "my.yaml", "--out", "run", "-v")
    dashboard = await_dashboard(place.folder / "run" / "events.jsonl", first)
    (place.folder / "output-dashboard.txt").write_text(asked(dashboard))
    first.send_signal(signal.SIGINT)
    assert first.wait(120) == 130, place.output("interrupted")
    place.run("tune", "tune", "my.yaml", "--out", "run", "--resume", "-v")


def await_dashboard(events: Path, process: subprocess.Popen[str]) -> str:
    """Return the dashboard's address once a stage has trained an epoch."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        lines = [json.loads(line) for line in events.read_text().splitlines()] if events.exists() else []
        address = [line["text"].split()[-1] for line in lines if line.get("text", "").startswith("Ray dashboard:")]
        if address and any(line["kind"] == "epoch" for line in lines):
            return str(address[0])
        time.sleep(0.2)  # another process writes the file
    raise AssertionError("the teacher trained no epoch")


def asked(dashboard: str) -> str:
    """Return the dashboard's answers about tasks, actors, workers and jobs."""
    token = (Path.home() / ".ray" / "auth_token").read_text().strip()
    answers = []
    for kind in ("tasks", "actors", "workers", "jobs", "objects"):
        request = Request(f"{dashboard}/api/v0/{kind}?detail=1", headers={"Authorization": f"Bearer {token}"})
        with urlopen(request, timeout=30) as answer:
            answers.append(answer.read().decode())
    return "\n".join(answers)


def use(place: Workplace) -> None:
    """Predict files and lines, distil from unlabelled text, evaluate, and write a report."""
    checkpoint = str(RunFolder(place.folder / "run").best.stage("student").checkpoint)
    place.run("predict", "predict", checkpoint, "--input", "more.jsonl", "--output", "predictions", "--logits")
    place.run("lines", "predict", checkpoint, text=f"{CANARIES['stdin']} pain .\n")
    more = ["--set", "data.unlabelled=[predictions]", "--out", "unlabelled", "--local"]
    place.run("unlabelled", "run", "my.yaml", "--set", "tune.trials=null", *more)
    place.run("evaluate", "evaluate", checkpoint, "my.yaml", "--json")
    place.run("report", "report", "run", "unlabelled", "-o", "report.html")
    place.run("results", "results", "run", "--all", "--format", "csv")
    place.run("describe", "corpus", "describe", "my.yaml", "--encoder", "encoder")


def refuse(place: Workplace) -> None:
    """Give verbs what they must refuse, with text where names should be."""
    checkpoint = str(RunFolder(place.folder / "run").best.stage("student").checkpoint)
    headerless = ["--set", "data.path=headerless.csv"]
    place.run("no-header", "run", "my.yaml", *headerless, "--out", "refused", "--local", code=2)
    place.run("no-column", "predict", checkpoint, "--input", "headerless.csv", "--output", "refused", "--local", code=2)
    place.run("labels", "run", "my.yaml", "--set", "data.label_columns=[text]", "--out", "refused", "--local", code=2)
    place.run("surrogate", "predict", checkpoint, text=f"{CANARIES['refused']}\n", code=0)


def planted_words(file: Path) -> set[str]:
    """Return the planted words in a file, whatever it is compressed with."""
    if file.suffix == ".parquet":
        import pyarrow.parquet as pq

        content = str(pq.read_table(file).to_pydict()).encode()
    elif file.suffix == ".gz":
        content = gzip.decompress(file.read_bytes())
    else:
        content = file.read_bytes()
    return {use for use, word in CANARIES.items() if word.encode() in content}


def files_below(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file() and not file.is_symlink()]


def test_planted_words_are_in_the_inputs(workplace: Workplace) -> None:
    assert {use for name in INPUTS for use in planted_words(workplace.folder / name)} == {
        "train", "unlabelled", "predicted", "headerless",
    }  # fmt: skip


def test_no_written_file_holds_a_text(workplace: Workplace) -> None:
    written = [file for file in files_below(workplace.folder) if file.name not in INPUTS]
    kinds = {file.suffix for file in written}
    assert {".parquet", ".safetensors", ".json", ".jsonl", ".html", ".txt", ".yaml", ".arrow", ".npy"} <= kinds
    assert {str(file): found for file in written if (found := planted_words(file))} == {}


def test_no_log_of_ray_holds_a_text(workplace: Workplace) -> None:
    logs = files_below(workplace.ray)
    assert any("worker" in file.name for file in logs)
    assert {str(file): found for file in logs if (found := planted_words(file))} == {}


def test_the_search_failed_once_and_went_on(workplace: Workplace) -> None:
    from kdh_ray import load_runs

    trials = load_runs(workplace.folder / "run").query("kind == 'trial'")
    assert len(trials) == 3
    assert set(trials["status"]) >= {"ok"}
    assert (workplace.folder / "output-dashboard.txt").stat().st_size > 1000
