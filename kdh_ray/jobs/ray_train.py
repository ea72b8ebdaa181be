"""The stages of a run as one Ray Train job, whose workers train them together and are replaced when they are lost.

One job trains stages in order, because starting its workers takes longer than many a stage. After a lost worker, Ray
Train restarts all workers. They resume after the last finished stage and epoch, from the files in the run's folder.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray import errors
from kdh_ray.cluster import session
from kdh_ray.events import EventLog
from kdh_ray.jobs.plan import RunPlan
from kdh_ray.run_folder import RunFolder

if TYPE_CHECKING:
    from kdh_ray.training.loop import EpochReport

SEEN_SECONDS = 90.0  # NFS shows other machines a new file within a minute
POLL_SECONDS = 0.5
REFUSAL = "refused.json"  # carries a worker's UserError to the driver, which must not try again


class JobError(Exception):
    """A job that failed permanently; the message names the cause and where the logs are."""


@dataclass(frozen=True)
class TrainTask:
    """The input of every worker.

    Attributes:
        plan: The run.
        threads: Threads of each worker.
        corpus: Reference into Ray's object store, which sends the corpus once to each machine.
        working_folder: The driver's working directory. Relative paths of encoders, teachers and the cache start there;
            Ray Train starts its workers in a folder of their own.
    """

    plan: RunPlan
    threads: int
    corpus: Any
    working_folder: str


def train_in_order(plan: RunPlan, corpus: Any) -> None:
    """Train the stages of a plan in one job; their results are in the run's folder afterwards.

    Args:
        plan: The stages.
        corpus: Reference to the corpus in Ray's object store.

    Raises:
        UserError: If the machines have less than a worker needs, or a worker met bad input.
        JobError: If workers failed more often than ``job.max_failures``.
        KeyboardInterrupt: After Ctrl-C, once the workers have been stopped.
    """
    import ray
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    job, folder = plan.config.job, plan.folder
    cpus, gpus = session.worker_resources(job)
    task = TrainTask(plan, int(cpus), corpus, os.getcwd())
    # A refusal of an earlier attempt would end this one.
    (folder.path / REFUSAL).unlink(missing_ok=True)
    trainer = TorchTrainer(
        _work,
        train_loop_config={"task": task},
        scaling_config=ScalingConfig(
            num_workers=job.workers, use_gpu=gpus > 0, resources_per_worker={"CPU": cpus, "GPU": gpus}
        ),
        run_config=RunConfig(
            # Ray Train would continue a job of the same name, which another part of the run may have been.
            name=f"{plan.config.name}-{plan.stages[0]}-{ray.get_runtime_context().get_job_id()}",
            storage_path=str(folder.ray),
            failure_config=FailureConfig(max_failures=job.max_failures),
        ),
    )
    with ctrl_c_as_interrupt():
        try:
            trainer.fit()
        except ray.train.TrainingFailedError as error:
            raise failure(error, folder, log_folder()) from None
    wait_for_results(plan)


@contextmanager
def ctrl_c_as_interrupt() -> Iterator[None]:
    """Turn Ctrl-C into ``KeyboardInterrupt`` while Ray Train runs, and restore the handler afterwards.

    Ray Train installs a handler of its own, which stops the workers, raises ``SystemExit``, and stays installed when
    the job is done. If the workers are already done, the handler swallows Ctrl-C; so signals are counted here too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)
    with _signals_received() as received:
        try:
            yield
        except SystemExit:
            raise KeyboardInterrupt from None
        finally:
            if before is not None:  # None: not installed from Python, so Python can't restore it
                signal.signal(signal.SIGINT, before)
        if {signal.SIGINT, signal.SIGTERM} & received():
            raise KeyboardInterrupt


@contextmanager
def _signals_received() -> Iterator[Callable[[], set[int]]]:
    """Provide a function that returns the signals received since the block began, whatever their handlers did."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)

    def received() -> set[int]:
        try:
            return set(os.read(reader, 4096))  # Python writes one byte a signal: its number
        except BlockingIOError:
            return set()

    try:
        yield received
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def wait_for_results(plan: RunPlan) -> None:
    """Wait until this machine sees what rank 0 wrote on its own.

    Raises:
        UserError: If a worker met bad input.
        JobError: If a stage left no result.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    refusal_file = plan.folder.path / REFUSAL
    while True:
        if refusal_file.exists():
            refusal = json.loads(refusal_file.read_text(encoding="utf-8"))
            raise getattr(errors, refusal["kind"])(refusal["message"])
        missing = [name for name in plan.stages if not plan.folder.stage(name).finished]
        if not missing:
            return
        if time.monotonic() > deadline:
            raise JobError(
                f"{plan.folder}: the job is done, but there is no result of {', '.join(missing)}; is this folder on"
                " storage that all machines share?"
            )
        time.sleep(POLL_SECONDS)


def _work(config: dict[str, Any]) -> None:
    """Train the stages in a worker; Ray imports this function by name on every machine."""
    from ray import train

    task: TrainTask = config["task"]
    try:
        train_stages(
            task,
            train.torch.get_device().type,
            lambda stage, report: train.report(
                {"stage": stage, "epoch": report.epoch, "validation_f1_micro": report.score}
            ),
        )
    except errors.UserError as error:  # raising it would make Ray Train start the workers again
        if train.get_context().get_world_rank() == 0:
            content = {"kind": type(error).__name__, "message": str(error)}
            (task.plan.folder.path / REFUSAL).write_text(json.dumps(content), encoding="utf-8")


def train_stages(
    task: TrainTask, device: str, on_epoch: Callable[[str, EpochReport], None] = lambda stage, report: None
) -> None:
    """Train the stages of a task in this worker.

    Raises:
        UserError: If a start, a teacher or the data can't be used.
    """
    import ray
    import torch

    from kdh_ray.hardware import precision
    from kdh_ray.training.stages import StageRunner

    with suppress(OSError):  # other machines may not have this folder
        os.chdir(task.working_folder)
    torch.set_num_threads(task.threads)
    config, folder = task.plan.config, task.plan.folder
    runner = StageRunner(
        config, ray.get(task.corpus), folder.path, precision=precision(config.precision), device=device,
        events=EventLog(folder.events), on_epoch=on_epoch,
    )  # fmt: skip
    for stage in task.plan.stages:
        runner.run(stage)


def failure(error: BaseException, folder: RunFolder, logs: str) -> Exception:
    """Return the exception to raise for ``error``, which ended a job of the run in ``folder``."""
    if os.strerror(errno.ENOSPC) in str(error):  # exceptions of workers arrive as text
        return errors.UnavailableError(f"{folder}: no disk space left; free some, and run again to resume")
    # The last line of a traceback names the cause.
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return JobError(f"{lines[-1][:300] if lines else type(error).__name__} (Ray's logs: {logs})")


def log_folder() -> str:
    """Return the folder of Ray Train's logs."""
    import ray

    return str(Path(ray._private.worker._global_node.get_session_dir_path()) / "logs" / "train")
