"""Searches that are killed and resumed."""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import cheap_search
import pytest
from cheap_search import assert_whole, epochs_run
from small_stage import small

from kdh_ray.config import dump_config
from kdh_ray.results import load_runs
from kdh_ray.tuning.ledger import Ledger

pytestmark = pytest.mark.ray
ROOT = Path(__file__).parents[3]
CHEAP = [sys.executable, cheap_search.__file__]


def _reached(folder, ended):
    ledger = Ledger(folder / "search")
    return bool(ledger.trials) and ledger.n_ended() >= ended


def killed(command, folder, after, generator, by=signal.SIGKILL):
    """Run a search, send it the signal ``by`` once ``after`` more trials have ended, and return its exit code."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = Ledger(folder / "search").n_ended() + after
    with (folder / "output").open("a") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
        try:
            while process.poll() is None and not _reached(folder, ended):
                time.sleep(0.01)
            time.sleep(generator.uniform(0.0, 0.3))  # to hit any moment between two events
            if process.poll() is None:
                os.killpg(process.pid, by) if by == signal.SIGINT else process.send_signal(by)  # as Ctrl-C does
            return process.wait(timeout=120)
        finally:
            if process.poll() is None:
                process.kill()


def kill_and_resume(folder, trials, kills, seed, by=(signal.SIGKILL,)):
    generator, command = random.Random(seed), [*CHEAP, str(folder), str(trials)]
    for number in range(kills):
        code = killed(command, folder, generator.randint(0, 2), generator, by[number % len(by)])
        assert code in (-signal.SIGKILL, -signal.SIGINT, 130), (folder / "output").read_text()
    assert killed(command, folder, trials, generator) == 0, (folder / "output").read_text()
    ledger = Ledger(folder / "search")
    assert_whole(ledger, trials)
    steps = Counter(epochs_run(folder))
    for trial in ledger.trials:  # at most the epoch of each kill is repeated
        repeated = sum(steps[trial.config["x"], int(report.time)] - 1 for report in trial.reports)
        assert repeated <= kills
    assert sum(count - 1 for count in steps.values()) <= 2 * kills  # two trials run at once


def test_interrupted_search_resumes_where_it_was(tmp_path):
    kill_and_resume(tmp_path, trials=24, kills=3, seed=0, by=(signal.SIGKILL, signal.SIGINT, signal.SIGTERM))
    assert (
        "SIGTERM received" not in (tmp_path / "output").read_text()
    )  # Ray's own handler, which prints a stack and exits


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_twelve_kills_lose_nothing(tmp_path):
    kill_and_resume(tmp_path, trials=180, kills=12, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_killed_distillation_keeps_every_row(encoder, tmp_path):
    config, out = tmp_path / "config.yaml", tmp_path / "out"
    config.write_text(dump_config(small(encoder, trials=6, particles=3)))
    command = [sys.executable, "-m", "kdh_ray.cli.main", "tune", str(config), "--out", str(out), "--local", "--resume"]
    (out / "search").mkdir(parents=True)
    generator = random.Random(0)
    for after in (0, 2):
        assert killed(command, out, after, generator) == -signal.SIGKILL, (out / "output").read_text()
    assert killed(command, out, 99, generator) == 0, (out / "output").read_text()
    assert len(list((out / "search" / "rows").glob("row-*.parquet"))) == 6  # a kill may leave a hidden, unfinished file
    frame = load_runs(out)
    trials = frame[frame.kind == "trial"]
    assert sorted(trials.trial) == [1, 2, 3, 4, 5, 6]
    assert trials.particle.notna().all()
    assert (frame.variant == "swarm-tuned").sum() == 1
    output = (out / "output").read_text()
    assert all(output.count(f"\ntrial {number} (particle") == 1 for number in range(1, 7)), output
