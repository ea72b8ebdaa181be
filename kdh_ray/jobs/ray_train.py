"""A run's stages as one Ray Train job: its workers go through the stages together, and a lost one is replaced.

One job for all stages, since starting a worker group costs more than many a stage. After a lost worker the group starts
anew and goes on after the last finished stage and epoch, from files in the run's folder.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdh_ray import errors
from kdh_ray.cluster.session import resources
from kdh_ray.config import RunConfig, parse_config
from kdh_ray.data.corpus import Corpus
from kdh_ray.events import EVENTS, EventLog

SEEN_SECONDS = 90.0
REFUSAL = "refused.json"  # a UserError of a worker on its way to the driver: no reason to try again


class JobError(Exception):
    """A job that failed for good; the message names the cause and where the logs are."""


@dataclass(frozen=True)
class Task:
    """What every worker is given. The corpus travels through Ray's object store, once a machine.

    Attributes:
        working_folder: The driver's, from which relative paths of encoders, teachers and the cache start: Ray Train
            puts its workers into a folder of their own.
    """

    tree: dict[str, Any]
    folder: str
    stages: list[str]
    threads: int
    corpus: Any
    working_folder: str


def run_on_ray(config: RunConfig, corpus: Corpus, folder: Path, stages: list[str]) -> None:
    """Run stages on Ray Train workers; results are in the run's folder afterwards.

    Raises:
        UserError: If a worker met bad input, or a full disk.
        JobError: If workers failed more often than ``job.max_failures``.
        KeyboardInterrupt: After Ctrl-C, when the workers have been taken down.
    """
    import ray
    from ray.train import FailureConfig, ScalingConfig
    from ray.train import RunConfig as TrainRun
    from ray.train.torch import TorchTrainer

    cpus, gpus = resources(config.job)
    task = Task(config.model_dump(mode="json"), str(folder), stages, int(cpus), ray.put(corpus), os.getcwd())
    (folder / REFUSAL).unlink(missing_ok=True)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"task": task},
        scaling_config=ScalingConfig(
            num_workers=config.job.workers, use_gpu=gpus > 0, resources_per_worker={"CPU": cpus, "GPU": gpus}
        ),
        run_config=TrainRun(
            name=f"{config.name}-{ray.get_runtime_context().get_job_id()}",
            storage_path=str(folder / "ray"),
            failure_config=FailureConfig(max_failures=config.job.max_failures),
        ),
    )
    with _interrupts():
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise failure(error, folder, _logs()) from None
    _await_results(folder, stages)


@contextmanager
def _interrupts() -> Iterator[None]:
    """Ctrl-C as ``KeyboardInterrupt`` in a block that runs Ray Train, and as it was before once the block has ended.

    Ray Train answers it with a handler of its own, which takes the workers down, leaves the program without a word
    (``SystemExit``), and stays when the job is done.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit:
        raise KeyboardInterrupt from None
    finally:
        if before is not None:  # set by what is not Python, and not to be put back from here
            signal.signal(signal.SIGINT, before)


def _await_results(folder: Path, stages: list[str]) -> None:
    """Until what rank 0 wrote on its machine is seen on this one: a minute at most on NFS.

    Raises:
        UserError: If a worker met bad input.
        JobError: If a stage has left nothing.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    while True:
        if (folder / REFUSAL).exists():
            refusal = json.loads((folder / REFUSAL).read_text(encoding="utf-8"))
            raise getattr(errors, refusal["kind"])(refusal["message"])
        unseen = [name for name in stages if not (folder / "stages" / name / "result.json").exists()]
        if not unseen:
            return
        if time.monotonic() > deadline:
            raise JobError(
                f"{folder}: the job is done, but nothing is seen of {', '.join(unseen)}; is it shared storage?"
            )
        time.sleep(0.5)


def _work(config: dict[str, Any]) -> None:
    """What each worker does; imported by name on every machine."""
    import ray
    import torch
    from ray import train

    from kdh_ray.hardware import precision
    from kdh_ray.training.stages import StageRunner

    task: Task = config["task"]
    with suppress(OSError):  # a machine may not have it
        os.chdir(task.working_folder)
    torch.set_num_threads(task.threads)
    rank = train.get_context().get_world_rank()
    folder = Path(task.folder)
    run = parse_config(task.tree)
    runner = StageRunner(
        run,
        ray.get(task.corpus),
        folder,
        precision=precision(run.precision),
        device=train.torch.get_device().type,
        events=EventLog(folder / EVENTS),
        on_epoch=lambda stage, report: train.report(
            {"stage": stage, "epoch": report.epoch, "validation_f1_micro": report.score}
        ),
    )
    try:
        for stage in task.stages:
            runner.run(stage)
    except errors.UserError as error:
        if rank == 0:
            content = {"kind": type(error).__name__, "message": str(error)}
            (folder / REFUSAL).write_text(json.dumps(content), encoding="utf-8")


def failure(error: BaseException, folder: Path, logs: str) -> Exception:
    """What to raise for what ended a job of the run in ``folder``."""
    if os.strerror(errno.ENOSPC) in str(error):  # of a worker, whose exceptions arrive as text
        return errors.UnavailableError(f"{folder}: no disk space left; the run goes on from here when there is")
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return JobError(f"{lines[-1][:300] if lines else type(error).__name__} (Ray's logs: {logs})")


def _logs() -> str:
    import ray

    return str(Path(ray._private.worker._global_node.get_session_dir_path()) / "logs" / "train")
