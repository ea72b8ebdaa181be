"""A folder with planted words in every document, in which the program's verbs are run as users run them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np

CANARIES = {
    use: f"zqcanary{use}" for use in ("train", "unlabelled", "predicted", "headerless", "stdin", "refused", "served")
}
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
                stderr=subprocess.STDOUT, text=True, env=self._environment(),
            )  # fmt: skip
        (self.folder / "stdin").unlink()
        return process

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "RAY_TMPDIR": str(self.ray), "PYTHONPATH": os.pathsep.join(sys.path)}

    def run(self, name: str, *arguments: str, text: str = "", code: int = 0) -> None:
        """Run a verb to its end."""
        assert self.start(name, *arguments, text=text).wait(900) == code, self.output(name)

    @contextmanager
    def serve(self, name: str, *command: str) -> Iterator[str]:
        """Run a command that serves, and yield its address; its output goes to ``output-NAME.txt``."""
        with (self.folder / f"output-{name}.txt").open("w") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *command, "--port", "0"], cwd=self.folder, stdout=output,
                stderr=subprocess.STDOUT, env=self._environment(),
            )  # fmt: skip
        try:
            yield until(lambda: self._address(name), process, f"the service {name} does not answer")
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) in (0, 130), self.output(name)

    def _address(self, name: str) -> str | None:
        # Without a network, Ray prints a warning first.
        lines = [line for line in self.output(name).splitlines() if line.startswith("Serving ")]
        return lines[0].split(" at ")[1].split()[0] if lines else None

    def output(self, name: str) -> str:
        """Return what a verb printed."""
        return (self.folder / f"output-{name}.txt").read_text(encoding="utf-8", errors="replace")


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


def until(condition: Callable[[], Any], process: subprocess.Popen[Any], fault: str) -> Any:
    """Return what a condition returns once it is true; another process makes it so, while it runs."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline and process.poll() is None:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError(fault)


def ask(url: str, body: Any) -> tuple[int, Any]:
    """Send a request to a service; return the status and the answer."""
    request = Request(f"{url}/predict", json.dumps(body).encode(), {"Content-Type": "application/json"})
    try:
        with urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except HTTPError as error:
        return error.code, json.load(error)
