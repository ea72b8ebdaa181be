"""A user of a cluster, who works on the laptop with the commands of the README."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import cluster_lab as labs

DOCUMENTS = 160
T = TypeVar("T")
WAIT = 900.0  # seconds; generous, because a busy machine is slow but not broken


def eventually(what: str, look: Callable[[], T | None], pause: float = 0.3) -> T:
    """Call ``look`` until its answer is true, and return that answer."""
    deadline = time.monotonic() + WAIT
    while time.monotonic() < deadline:
        answer = look()
        if answer:
            return answer
        time.sleep(pause)
    raise AssertionError(f"{what}: not within {WAIT:g} s")


class Cluster:
    """A cluster in a lab, as its user on the laptop sees it."""

    def __init__(self, lab: labs.Lab) -> None:
        self.lab, self.home = lab, lab.folder / "laptop" / "root"
        self.file = self.home / "kdh-ray" / "cluster.yaml"
        self._template = self.file.read_text()

    def fill_in(self, workers: int, tls: bool = False) -> None:
        """Fill in addresses and SSH user as the README says, for machines without internet and with one CPU.

        Machines give up on a lost head after 20 seconds instead of Ray's 60, which saves the tests that time.
        """
        head, *others = (machine.address for machine in self.lab.machines)
        text = self._template.replace("192.0.2.11, 192.0.2.12", ", ".join(others[:workers]))
        text = text.replace("192.0.2.10", head).replace("ssh_user: ubuntu", "ssh_user: root")
        text = text.replace('# "~/kdh-ray/wheelhouse"', '"~/kdh-ray/wheelhouse"')
        text = text.replace('# "~/.ray/tls"', '"~/.ray/tls"') if tls else text
        start = r"RAY_gcs_rpc_server_reconnect_timeout_s=20 \1 --num-cpus=1 --object-store-memory=200000000"
        self.file.write_text(re.sub(r"(\S+node.sh ray start.*)", start, text))

    def up(self, *options: str) -> None:
        """Run ``ray up``."""
        self.lab.laptop.run("ray", "up", "-y", "--no-config-cache", *options, "cluster.yaml", timeout=WAIT)

    def down(self) -> None:
        """Run ``ray down``, and wait until Ray has ended on all machines."""
        self.lab.laptop.run("ray", "down", "-y", "cluster.yaml", timeout=WAIT)
        for machine in self.lab.machines:
            eventually(f"Ray ends on {machine.name}", lambda machine=machine: not machine.ray_processes())

    def joined(self, machines: int) -> None:
        """Wait until the cluster has this number of machines."""

        def look() -> bool:
            output = self.lab.laptop.run("ray", "exec", "cluster.yaml", "ray status", code=None)
            return f"/{machines}.0 CPU" in output

        eventually(f"{machines} machines join", look, pause=3.0)

    def submit(self, tree: dict[str, Any], out: str, *options: str) -> subprocess.Popen[str]:
        """Start ``kdh-ray submit``; ``out`` is the name of a folder in the shared storage."""
        (self.home / "kdh-ray" / f"{out}.yaml").write_text(json.dumps(tree))  # JSON is valid YAML
        command = [sys.executable, "-m", "kdh_ray.cli.main", "submit", f"{out}.yaml", "--out", f"/mnt/{out}"]
        return self.lab.laptop.start(*command, *options)

    @contextmanager
    def dashboard(self) -> Iterator[None]:
        """Run ``ray dashboard`` for the length of a block."""
        self.lab.laptop.start("ray", "dashboard", "cluster.yaml")
        eventually("the dashboard is there", lambda: "127.0.0.1:8265" in self.lab.laptop.listening())
        try:
            yield
        finally:
            self.lab.laptop.run("pkill", "-f", "ray dashboard|8265:localhost")  # sees only the processes of the laptop

    def trials(self, out: str) -> list[dict[str, Any]]:
        """Return the trials in the ledger of a search."""
        file = self.lab.shared / out / "search" / "search.json"
        return list(json.loads(file.read_text())["trials"]) if file.exists() else []


def ended(job: subprocess.Popen[str]) -> None:
    """Fail if the job has ended."""
    if job.poll() is not None:
        raise AssertionError(f"the job has ended with {job.returncode}:\n{job.communicate()[0]}")


def output_of(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for a command, check its exit code, and return its output."""
    output, _ = process.communicate(timeout=2 * WAIT)
    assert process.returncode == code, output
    return output


def make_encoder(folder: Path) -> None:
    """Save an untrained BERT of 32 hidden units over the words of the synthetic corpus."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    from kdh_ray import load_corpus

    texts = load_corpus("synthetic", documents=DOCUMENTS).splits["train"].texts
    words = sorted({word for text in texts for word in re.findall(r"\w+", text.lower())})
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]))
    tokenizer = BertTokenizerFast(str(folder / "vocab.txt"))
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=len(tokenizer), max_position_embeddings=64, **shape)).save_pretrained(folder)
