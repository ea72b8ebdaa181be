"""A trial of several workers: a Ray Train job inside a trial of Tune, for large students or small machines.

Each trial pays for the start of a job, and an interrupted trial starts again. So one worker is the default.
"""

from __future__ import annotations

from typing import Any

from ray.tune.integration.ray_train import TuneReportCallback

from kdh_ray.jobs.stage_search.trial import StageTask, TrialTraining


def trial_of_workers(config: dict[str, Any], task: StageTask) -> None:
    """Train one configuration on ``tune.workers_per_trial`` workers: the objective that Tune calls."""
    import ray
    from ray import tune
    from ray.train import RunConfig, ScalingConfig
    from ray.train.torch import TorchTrainer

    over = task.over_budget(config)
    if over is not None:
        tune.report(over)
        return
    context, settings = tune.get_context(), task.tune
    gpus = (settings.gpus_per_trial or 1.0) if task.device == "cuda" else 0.0
    TorchTrainer(
        _work,
        train_loop_config={"values": config, "task": ray.put(task), "trial": context.get_trial_name()},
        scaling_config=ScalingConfig(
            num_workers=settings.workers_per_trial,
            use_gpu=gpus > 0,
            resources_per_worker={"CPU": settings.cpus_per_trial, "GPU": gpus},
        ),
        run_config=RunConfig(
            name=context.get_trial_name(), storage_path=context.get_trial_dir(), callbacks=[TuneReportCallback()]
        ),
    ).fit()


def _work(config: dict[str, Any]) -> None:
    """Train in one worker; Tune receives the reports of the first."""
    import ray
    import torch
    from ray import train

    from kdh_ray.hardware import precision

    task: StageTask = ray.get(config["task"])
    torch.set_num_threads(task.tune.cpus_per_trial)
    trial = TrialTraining(task, config["values"], precision(task.precision))
    done, name = False, config["trial"] if train.get_context().get_world_rank() == 0 else ""
    while not done:
        result = trial.epoch(name)
        done = result.pop("done")
        train.report(result)
