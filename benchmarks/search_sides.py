"""The searches that ``benchmarks.search_end_to_end`` times: one side, in a process of its own.

    python -m benchmarks.search_sides SIDE FOLDER [--trials 12] [...]

Every side looks for the same settings of the same encoder on the same documents, batches and epochs, validates after
each epoch by micro F1 at the best threshold, and may stop trials early after 1, 3, 9 ... epochs, of which one in three
goes on. No side has a teacher. A side appends a line to ``FOLDER/reports.txt`` for each epoch of a trial: the time, and
the validation score.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.training_step import BATCH, DEVICE, hugging_face_model, plain_trainer, trainer_rows
from kdh_ray.hardware import precision

REPORTS = "reports.txt"
SCORE = "f1"
REDUCTION = 3  # one trial in three goes on at each rung
RATES, DECAYS, WARMUPS = (2e-5, 1e-3), (1e-4, 1e-1), (0.0, 0.3)


@dataclass(frozen=True)
class Task:
    """A search.

    Attributes:
        folder: Folder for everything that the side writes.
        encoder: ``embedded``, a folder or a hub name.
        documents: Documents of the synthetic corpus, in all splits.
        tokens: Most tokens of a document.
        epochs: Of a trial that is not stopped.
        trials: Number of configurations to try.
        cores: CPU cores to use; trials of one thread run on each, except where only one trial can run at a time.
        seed: Of corpus, searcher and trainings.
    """

    folder: Path
    encoder: str
    documents: int
    tokens: int
    epochs: int
    trials: int
    cores: int
    seed: int

    def tree(self) -> dict[str, Any]:
        """Return the configuration of the search for kdh-ray."""
        space = {
            name: {"low": low, "high": high, "log": log}
            for name, (low, high), log in (
                ("learning_rate", RATES, True), ("weight_decay", DECAYS, True), ("warmup", WARMUPS, False),
            )
        }  # fmt: skip
        return {
            "name": "search",
            "seed": self.seed,
            "data": {"corpus": "synthetic", "documents": self.documents, "max_tokens": self.tokens, "segments": False},
            "stages": {"student": {"start": self.encoder, "epochs": self.epochs, "batch_size": BATCH}},
            "tune": {
                "stage": "student", "space": space, "trials": self.trials, "concurrency": self.cores,
                "cpus_per_trial": 1, "gpus_per_trial": self.gpu_share, "reduction": REDUCTION,
            },
        }  # fmt: skip

    @property
    def gpu_share(self) -> float:
        """Share of the GPU that each of the trials at once has; 0 without one."""
        return 1 / self.cores if DEVICE == "cuda" else 0.0

    def record(self, score: float) -> None:
        """Append the time and the score of an epoch; one short write, so that processes don't mix their lines."""
        with (self.folder / REPORTS).open("a", encoding="utf-8") as file:
            file.write(f"{time.time()} {score}\n")


def main() -> None:
    """Search once."""
    parser = argparse.ArgumentParser(
        allow_abbrev=False, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("side", choices=SIDES)
    parser.add_argument("folder", type=Path, help="folder of the search; made if it is missing")
    add_task_arguments(parser)
    args = vars(parser.parse_args())
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing leaves the machine
    side = SIDES[args.pop("side")]
    args["folder"].mkdir(parents=True, exist_ok=True)
    side(Task(**args))


def add_task_arguments(parser: argparse.ArgumentParser) -> None:
    """Add an option for each attribute of :class:`Task` but the folder."""
    parser.add_argument("--encoder", default="embedded", help="embedded, a folder or a hub name")
    for name, default, text in (
        ("documents", 400, "documents of the synthetic corpus, in all splits"),
        ("tokens", 128, "most tokens of a document"),
        ("epochs", 4, "epochs of a trial that is not stopped"),
        ("trials", 12, "number of configurations to try"),
        ("cores", 2, "CPU cores to use, and trials at once where a side can have several"),
        ("seed", 0, "seed of corpus, searcher and trainings"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, help=text)


def ours(task: Task) -> None:
    """Search as ``kdh-ray tune`` does: the best configuration is trained, tested, and saved at the end."""
    from kdh_ray import search
    from kdh_ray.tuning.trials import Trial

    recorded = set()

    def on_trial(trial: Trial) -> None:
        if trial.score is not None and (trial.number, trial.time) not in recorded:
            recorded.add((trial.number, trial.time))
            task.record(trial.score)

    search(task.tree(), task.folder / "run", on_trial=on_trial)


def trainer_on_ray(task: Task) -> None:
    """Search as ``Trainer.hyperparameter_search`` does on Ray, with Optuna's TPE and ASHA."""
    import ray
    from ray.tune import CLIReporter

    ray.init(address="local", num_cpus=task.cores, log_to_driver=False, logging_level="ERROR")
    _trainer(task).hyperparameter_search(
        lambda _: _ray_space(), compute_objective=_objective, n_trials=task.trials, direction="maximize", backend="ray",
        resources_per_trial={"cpu": 1, "gpu": task.gpu_share},
        search_alg=_tpe_on_ray(task), scheduler=_asha(task), max_concurrent_trials=task.cores,
        progress_reporter=CLIReporter(metric_columns=["objective"]), verbose=0, storage_path=str(task.folder / "ray"),
    )  # fmt: skip


def trainer_on_optuna(task: Task) -> None:
    """Search as ``Trainer.hyperparameter_search`` does on Optuna: TPE and its successive halving, a trial at a time.

    Trials at once would share one ``Trainer``, which is not made for that; so a trial has all cores.
    """
    import optuna
    import torch

    def space(trial: optuna.Trial) -> dict[str, Any]:
        return {
            "learning_rate": trial.suggest_float("learning_rate", *RATES, log=True),
            "weight_decay": trial.suggest_float("weight_decay", *DECAYS, log=True),
            "warmup_steps": trial.suggest_float("warmup_steps", *WARMUPS),
        }

    torch.set_num_threads(task.cores)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    trainer = _trainer(task)
    # Trainer reports steps to the pruner, not epochs.
    steps = -(-len(trainer.train_dataset) // BATCH)
    pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=steps, reduction_factor=REDUCTION)
    trainer.hyperparameter_search(
        space, compute_objective=_objective, n_trials=task.trials, direction="maximize", backend="optuna",
        sampler=optuna.samplers.TPESampler(seed=task.seed), pruner=pruner,
    )  # fmt: skip


SIDES: dict[str, Callable[[Task], None]] = {
    "kdh-ray": ours,
    "Trainer, Optuna": trainer_on_optuna,
    "Trainer, Ray": trainer_on_ray,
}


def _trainer(task: Task) -> Any:
    """Return a ``Trainer``, in the format in which this machine trains fastest."""
    from kdh_ray.config import parse_config
    from kdh_ray.data import corpus_from_config

    corpus = corpus_from_config(parse_config(task.tree()).data)
    arguments = {
        "num_train_epochs": task.epochs, "eval_strategy": "epoch", "per_device_eval_batch_size": 32,
        "lr_scheduler_type": "cosine", "warmup_steps": 0.1, "bf16": precision() == "bfloat16", "seed": task.seed,
    }  # fmt: skip
    rows = {name: trainer_rows(task.encoder, corpus.splits[name], task.tokens) for name in ("train", "validation")}
    return plain_trainer(
        task.encoder, str(task.folder), arguments,
        model_init=partial(hugging_face_model, task.encoder, len(corpus.labels)),
        train_dataset=rows["train"], eval_dataset=rows["validation"], compute_metrics=partial(_validated, task),
    )  # fmt: skip


def _validated(task: Task, prediction: Any) -> dict[str, float]:
    """Return micro F1 at the best threshold, as kdh-ray validates, and record it."""
    from kdh_ray.evaluation.metrics import score
    from kdh_ray.evaluation.thresholds import tune_global
    from kdh_ray.inference.logits import logistic

    targets, probabilities = prediction.label_ids.astype(np.int8), logistic(prediction.predictions)
    reached = score(targets, probabilities, tune_global(targets, probabilities))["f1_micro"]
    task.record(reached)
    return {SCORE: reached}


def _objective(metrics: dict[str, float]) -> float:
    return metrics[f"eval_{SCORE}"]


def _ray_space() -> dict[str, Any]:
    from ray import tune

    return {
        "learning_rate": tune.loguniform(*RATES),
        "weight_decay": tune.loguniform(*DECAYS),
        "warmup_steps": tune.uniform(*WARMUPS),
    }


def _tpe_on_ray(task: Task) -> Any:
    from ray.tune.search.optuna import OptunaSearch

    return OptunaSearch(metric="objective", mode="max", seed=task.seed)


def _asha(task: Task) -> Any:
    from ray.tune.schedulers import ASHAScheduler

    return ASHAScheduler(metric="objective", mode="max", max_t=task.epochs, grace_period=1, reduction_factor=REDUCTION)


if __name__ == "__main__":
    main()
