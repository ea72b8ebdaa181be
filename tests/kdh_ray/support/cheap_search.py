"""A cheap search for tests. As a program, ``python cheap_search.py FOLDER TRIALS``, it is a search to kill."""

import json
import math
import os
import pickle
import random
import signal
import sys
import time
from pathlib import Path

from ray import tune as ray_tune
from ray.tune.search import Searcher

EPOCHS = 4


class RandomSearch(Searcher):
    """Draws x at random, and remembers the scores that were reported to it."""

    def __init__(self, seed=0):
        super().__init__()
        self.generator = random.Random(seed)
        self.scores = {}

    def set_search_properties(self, metric, mode, config, **spec):
        self._metric, self._mode = metric, mode
        return True

    def suggest(self, trial_id):
        return {"x": self.generator.random()}

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.scores[trial_id] = None if error or not result else result.get("score")

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_bytes(pickle.dumps((self.generator.getstate(), self.scores)))

    def restore(self, checkpoint_path):
        state, self.scores = pickle.loads(Path(checkpoint_path).read_bytes())  # noqa: S301
        self.generator.setstate(state)


class Cheap(ray_tune.Trainable):
    """Scores x times the epoch, fails if x is above 0.95, and writes a line per epoch to the file ``log``."""

    def setup(self, config):
        self.reset_config(config)

    def reset_config(self, config):
        self.x = config["x"]
        self.epoch = 0
        return True

    def step(self):
        if self.x > 0.95:
            raise ValueError("x must be at most 0.95")
        self.epoch += 1
        if self.config.get("log"):
            with open(self.config["log"], "a") as stream:
                stream.write(json.dumps([self.x, self.epoch, os.getpid()]) + "\n")
        done = self.epoch >= EPOCHS
        return {"score": self.x * self.epoch, "done": done, "should_checkpoint": not done}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "epoch").write_text(str(self.epoch))

    def load_checkpoint(self, checkpoint_dir):
        self.epoch = int(Path(checkpoint_dir, "epoch").read_text())


class Troubled(Cheap):
    """Fails in the way that ``config["trouble"]`` names for x; has no trouble with other x."""

    def step(self):
        trouble = self.config["trouble"].get(round(self.x, 9))
        if trouble == "hangs" and self.epoch == 1:
            while True:
                time.sleep(3600)
        if trouble == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        if trouble == "memory":
            raise MemoryError("lower batch_size")
        result = super().step()
        return {**result, "score": math.nan} if trouble == "nan" else result


def search(folder, trials, *, storage=None, scheduler="asha", resume=False, callbacks=(), listener=None, **settings):
    """Search with the cheap trainable, which logs its epochs to ``folder/epochs.jsonl``."""
    from kdh_ray.tuning import TuneSettings, make_scheduler, tune

    space = {"x": ray_tune.uniform(0, 1), "log": str(Path(folder) / "epochs.jsonl")}
    return tune(
        Cheap,
        space,
        TuneSettings(trials, "score", max_t=EPOCHS, **settings),
        searcher=RandomSearch(),
        storage=storage or Path(folder) / "search",
        scheduler=make_scheduler(scheduler, EPOCHS) if isinstance(scheduler, str) else scheduler,
        resume=resume,
        callbacks=callbacks,
        listener=listener or (lambda trial: None),
    )


def epochs_run(folder):
    """Return (x, epoch) of every step that a worker ran."""
    lines = (folder / "epochs.jsonl").read_text().splitlines()
    return [(x, epoch) for x, epoch, _ in map(json.loads, lines)]


def assert_whole(ledger, trials):
    """Assert that all ``trials`` ran once and ended, none with a gap in its curve."""
    assert [trial.number for trial in ledger.trials] == list(range(1, trials + 1))
    assert all(trial.ended for trial in ledger.trials)
    expected = RandomSearch()
    assert [trial.config["x"] for trial in ledger.trials] == [expected.suggest("")["x"] for _ in range(trials)]
    for trial in ledger.trials:
        assert [report.time for report in trial.reports] == list(range(1, len(trial.reports) + 1))
        assert [report.score for report in trial.reports] == [
            trial.config["x"] * report.time for report in trial.reports
        ]
        assert (trial.status == "ok") == (len(trial.reports) == EPOCHS)


if __name__ == "__main__":
    search(sys.argv[1], int(sys.argv[2]), resume=True, concurrency=2)
