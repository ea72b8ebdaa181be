"""Members of a stage, trained side by side on Ray: each in a process of its own, as many at once as have room."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from kdh_ray.cluster import nodes, session
from kdh_ray.config import RunConfig
from kdh_ray.data.corpus import Corpus
from kdh_ray.errors import UserError
from kdh_ray.events import EventLog
from kdh_ray.hardware import precision
from kdh_ray.jobs.memory import memory_of_stage
from kdh_ray.jobs.plan import RunPlan
from kdh_ray.jobs.ray_train import TrainTask, failure, log_folder, train_stages, wait_for_results


def train_side_by_side(plan: RunPlan, corpus: Any) -> None:
    """Train stages that don't need each other; their results are in the run's folder afterwards.

    A process that is lost or fails starts again, up to ``job.max_failures`` times, after its last finished epoch.

    Args:
        plan: The stages.
        corpus: Reference to the corpus in Ray's object store.

    Raises:
        UserError: If the machines have less than a process needs, or one met bad input.
        JobError: If a process failed too often.
    """
    import ray

    names = [name for name in plan.stages if not plan.folder.stage(name).finished]
    resources = _resources(plan.config, names)
    train = ray.remote(_train_member).options(
        num_cpus=resources["CPU"], num_gpus=resources["GPU"], memory=resources["memory"],
        max_retries=plan.config.job.max_failures, retry_exceptions=True,
    )  # fmt: skip
    device = "cuda" if resources["GPU"] else "cpu"
    tasks = [TrainTask(replace(plan, stages=(name,)), int(resources["CPU"]), corpus, os.getcwd()) for name in names]
    waiting = [train.remote(task, device) for task in tasks]
    try:
        while waiting:
            ended, waiting = ray.wait(waiting)
            refusal = ray.get(ended[0])
            if refusal is not None:
                raise refusal
    except ray.exceptions.RayError as error:
        raise failure(error, plan.folder, log_folder()) from None
    finally:
        for reference in waiting:  # after a failure or Ctrl-C; they resume with the next run
            ray.cancel(reference, force=True)
    wait_for_results(plan)


def _train_member(task: TrainTask, device: str) -> UserError | None:
    """Train one stage in this process; return what it refuses, which no second try would mend."""
    try:
        train_stages(task, device)
    except UserError as error:
        return error
    return None


def _resources(config: RunConfig, members: Sequence[str]) -> dict[str, float]:
    """Return what Ray reserves for a member: all CPUs of the machines, divided by the members that run at once."""
    gpus = session.worker_resources(config.job)[1]
    machines = [node["Resources"] for node in nodes.alive_nodes()]
    # A machine that is too small for the estimate may be large enough for the training.
    most_memory = max(machine.get("memory", 0.0) for machine in machines)
    memory = float(int(min(most_memory, max(_memory(config, name, gpus > 0) for name in members))))
    at_once = nodes.Room({"CPU": config.job.cpus_per_worker or 1, "GPU": gpus, "memory": memory}).count()
    cpus = config.job.cpus_per_worker or nodes.most_cpus_each(max(1, min(at_once, len(members))), gpus)
    return {"CPU": float(cpus or 1), "GPU": gpus, "memory": memory}


def _memory(config: RunConfig, name: str, on_gpu: bool) -> float:
    try:
        return memory_of_stage(config, name, on_gpu)
    except UserError:  # the encoder of a finished stage that this one starts from; nothing else needs it any more
        return 0.0


def average_members(plan: RunPlan, corpus: Corpus) -> None:
    """Score the mean of each stage's members in this process, which takes seconds."""
    from kdh_ray.training.stages import StageRunner

    events = EventLog(plan.folder.events)
    runner = StageRunner(
        plan.config, corpus, plan.folder.path, precision=precision(plan.config.precision), events=events
    )
    for name in plan.stages:
        runner.run(name)
