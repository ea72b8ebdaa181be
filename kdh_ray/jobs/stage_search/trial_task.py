"""Input and resources that all trials of a search share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kdh_ray.config import RunConfig
from kdh_ray.data import Corpus
from kdh_ray.errors import UnavailableError
from kdh_ray.events import EventLog
from kdh_ray.jobs.stage_search.fold_scores import ValidationFolds
from kdh_ray.jobs.stage_search.memory import memory_per_trial
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.space import searches_by_start
from kdh_ray.jobs.stage_search.student_costs import measure_costs

if TYPE_CHECKING:
    from kdh_ray.jobs.stage_search.trial import StageTask


def trial_resources(config: RunConfig) -> dict[str, float]:
    """Return what Ray reserves for each worker of a trial, on the cluster that this process is connected to.

    Raises:
        UnavailableError: If no machine has room for one worker, or all together for one trial; says what to lower.
    """
    from kdh_ray.cluster.session import has_gpus

    gpus = float(has_gpus()) if config.tune.gpus_per_trial is None else config.tune.gpus_per_trial
    memory = memory_per_trial(config, gpus > 0)
    resources = {"CPU": float(config.tune.cpus_per_trial), "GPU": gpus, "memory": float(int(memory))}
    if not config.job.autoscaling:
        _check_room(resources, config.tune.workers_per_trial)
    return resources


def _check_room(resources: dict[str, float], workers: int) -> None:
    from kdh_ray.cluster.nodes import Room

    try:
        room = Room(resources)
        room.require()
        if room.count() < workers:
            raise UnavailableError(f"tune.workers_per_trial: there is room for {room.count()}; got {workers}")
    except UnavailableError as error:
        raise UnavailableError(
            f"{error}: lower tune.cpus_per_trial, tune.gpus_per_trial, or what takes memory (the largest batch_size,"
            " data.max_tokens, layers), or set tune.memory_per_trial if the estimate is too high"
        ) from None


def trial_task(plan: SearchPlan, corpus: Corpus, on_gpu: bool, log: EventLog | None = None) -> StageTask:
    """Prepare the input of all trials, in this process.

    Teacher logits come from the run's cache. If it lacks them, they are computed here, and ``log`` records progress.
    """
    import torch

    from kdh_ray.hardware import precision
    from kdh_ray.jobs.stage_search.student import PLACEHOLDER_DROPOUT
    from kdh_ray.jobs.stage_search.trial import StageTask
    from kdh_ray.training.stages import StageRunner

    config = plan.config
    here = "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    largest = {"layers": None, "max_tokens": None, "dropout": PLACEHOLDER_DROPOUT}  # trials cut this down
    materials: dict[str, list[Any]] = {}
    costs = {}
    for start, (search, space) in searches_by_start(config).items():
        runner = StageRunner(
            search, corpus, plan.folder.path, precision(config.precision), device=here, events=log or EventLog()
        )
        materials[start] = []
        for name in plan.trained:
            part = search.stages[name].model_copy(update=largest)
            materials[start].append(runner.on_documents_of(name).prepare(name, part))
            materials[start][-1].model.to("cpu")  # workers may lack this process's GPU
        costs[start] = measure_costs(materials[start][0], search.stages[plan.tuned], space, config.tune.cpus_per_trial)
    device = "cuda" if on_gpu else "cpu"
    folder, folds = plan.folder.search, ValidationFolds.of(corpus)
    return StageTask(plan.stage, materials, folds, config.precision, device, folder, config.tune, costs)
