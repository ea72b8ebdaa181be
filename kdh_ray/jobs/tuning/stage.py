"""``tune_stage``: teachers once, their logits once, a search over a stage's settings, and the best of them trained."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.config import RunConfig, StageConfig, load_config, parse_config
from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.errors import UserError
from kdh_ray.jobs.folder import run_folder
from kdh_ray.jobs.run import Listener, preflight, run, run_id
from kdh_ray.jobs.tuning.ledger import FILE, Trial
from kdh_ray.jobs.tuning.search import Search, make_scheduler, tune
from kdh_ray.jobs.tuning.space import configured, domains, longest, search_space, tuned_stage
from kdh_ray.results import load_runs, write_row
from kdh_ray.results.build import stage_row

if TYPE_CHECKING:
    import pandas as pd

VARIANT = "swarm-tuned"
BEST = "best"  # folder of the best configuration's own run


def tune_stage(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str],
    searcher: Any,
    out: str | os.PathLike[str] | None = None,
    *,
    resume: bool = False,
    local: bool = False,
    verbose: bool = False,
    listener: Listener | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    variant: str = VARIANT,
) -> pd.DataFrame:
    """Search for a stage's best settings, train the stage with them, and test it once.

    Args:
        config: A configuration, its tree of plain values, or its YAML file; see its ``tune`` section.
        searcher: Any fresh ``ray.tune.search.Searcher``. It hears validation scores alone.
        out: The run's folder; ``runs/<name>`` if not given. The search is in ``search``, its best in ``best``.
        resume: Go on with the search in the folder, if there is one.
        local: Train teachers and the best student in this process instead of on Ray Train workers.
        verbose: Show Ray's own log lines.
        listener: Is given every event of teachers and of the best student.
        on_trial: Called with a trial when it starts, reports, and ends.
        variant: What the row of the best student is called.

    Returns:
        Every row: teachers, trials (``kind`` trial), and the best student (``variant`` swarm-tuned).

    Raises:
        UserError: If the configuration, the data or the machine won't do, or the folder holds a search and ``resume``
            is False.
        JobError: If training teachers or the best student failed for good.
    """
    if not isinstance(config, RunConfig):
        config = parse_config(config) if isinstance(config, Mapping) else load_config(config)
    folder = Path(out) if out is not None else Path("runs") / config.name
    folder = folder.expanduser().absolute()
    name = tuned_stage(config)
    search_space(config)
    if (folder / "search" / FILE).exists() and not resume:
        raise UserError(f"{folder} holds a search: go on with it by --resume, or give another --out")
    needed = earlier_stages(config, name)
    preflight(config, folder, [*needed, name])
    from kdh_ray.jobs.cluster import ray_session

    with ray_session(config.job, verbose):  # one for teachers, trials and the best
        if needed:
            run(config, folder, stages=needed, local=local, verbose=verbose, listener=listener)
        with run_folder(folder, config):
            search = _search(config, name, folder, searcher, resume, verbose, on_trial)
        best = best_config(config, name, folder, search.best.config)
        run(best, folder / BEST, local=local, verbose=verbose, listener=listener, variant=variant)
    return load_runs(folder)


def _search(
    config: RunConfig,
    name: str,
    folder: Path,
    searcher: Any,
    resume: bool,
    verbose: bool,
    on_trial: Callable[[Trial], None],
) -> Search:
    """The trials, and a row for each."""
    from ray.tune import with_parameters

    from kdh_ray.jobs.cluster import has_gpus
    from kdh_ray.jobs.tuning.trial import METRIC, StageTrial

    corpus = corpus_from_config(config.data)
    settings, space = config.tune, search_space(config)
    max_t = longest(config.stages[name], space)
    gpus = float(has_gpus()) if settings.gpus_per_trial is None else settings.gpus_per_trial

    def watch(trial: Trial) -> None:
        if trial.ended:
            _write_trial(config, corpus, name, folder, trial)
        on_trial(trial)

    search = tune(
        with_parameters(StageTrial, task=_task(config, corpus, name, folder, gpus > 0)),
        domains(space),
        searcher=searcher,
        scheduler=make_scheduler(settings.scheduler, max_t, settings.grace, settings.reduction),
        trials=settings.trials,
        metric=METRIC,
        storage=folder / "search",
        max_t=max_t,
        concurrency=settings.concurrency,
        resources={"CPU": settings.cpus_per_trial, "GPU": gpus},
        time_budget=settings.time_budget,
        max_failures=settings.max_failures,
        resume=resume,
        listener=watch,
        verbose=verbose,
    )
    for trial in search.trials:  # a kill may have come between a trial's end and its row
        _write_trial(config, corpus, name, folder, trial)
    return search


def _task(config: RunConfig, corpus: Corpus, name: str, folder: Path, on_gpu: bool) -> Any:
    """What trials share. Teacher logits come from the run's cache, or are computed here."""
    import torch

    from kdh_ray.distillation.stages import StageRunner
    from kdh_ray.hardware import precision
    from kdh_ray.jobs.tuning.trial import PLACEHOLDER_DROPOUT, StageTask

    here = "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    runner = StageRunner(config, corpus, folder, precision=precision(config.precision), device=here)
    stage = config.stages[name]
    material = runner.prepare(name, stage.model_copy(update={"layers": None, "dropout": PLACEHOLDER_DROPOUT}))
    material.model.to("cpu")  # as it travels
    return StageTask(stage, material, config.precision, "cuda" if on_gpu else "cpu", config.tune.cpus_per_trial)


def earlier_stages(config: RunConfig, name: str) -> list[str]:
    """Stages that ``name`` starts from or learns from, directly or not, in order."""
    needed = {name}
    for earlier in reversed(list(config.stages)):
        if earlier in needed:
            needed |= {ref for ref in _references(config.stages[earlier]) if ref in config.stages}
    return [stage for stage in config.stages if stage in needed - {name}]


def best_config(config: RunConfig, name: str, folder: Path, values: Mapping[str, Any]) -> RunConfig:
    """A configuration of the tuned stage with ``values``, and of the stages that build on it.

    Earlier stages are named by their checkpoints in ``folder``, so that it is an ordinary run of its own.
    """
    kept = {name: configured(config.stages[name], values)}
    for later, stage in config.stages.items():
        if later not in kept and any(reference in kept for reference in _references(stage)):
            kept[later] = stage

    def place(reference: str) -> str:
        known = reference in config.stages and reference not in kept
        return str(folder / "stages" / reference / "checkpoint") if known else reference

    stages = {
        key: stage.model_copy(
            update={"start": place(stage.start), "teachers": tuple(place(teacher) for teacher in stage.teachers)}
        )
        for key, stage in kept.items()
    }
    tree = config.model_dump(mode="json", exclude={"stages", "tune", "cache", "baselines"})
    tree["stages"] = {key: stage.model_dump(mode="json") for key, stage in stages.items()}
    return parse_config({**tree, "cache": str(config.cache or folder / "cache"), "baselines": {"tfidf": False}})


def _references(stage: StageConfig) -> tuple[str, ...]:
    return (stage.start, *stage.teachers)


def _write_trial(config: RunConfig, corpus: Corpus, name: str, folder: Path, trial: Trial) -> None:
    """A trial's result row, unless it is there already."""
    rows = folder / "search" / "rows"
    if any(rows.glob(f"row-*-trial-{trial.number:04d}-*")):
        return
    settings = {name: configured(config.stages[name], trial.config)}
    row = stage_row(
        config.model_copy(update={"stages": {**config.stages, **settings}}),
        name,
        f"{run_id(config)}-trial-{trial.number:04d}",
        corpus.name,
        kind="trial",
        variant="trial",
        status=trial.status,
        metric=corpus.metric,
        validation_f1_micro=trial.score,
        trial=trial.number,
        epochs_run=int(trial.time),
        curve=[report.score for report in trial.reports],
        searcher=config.tune.searcher,
        scheduler=config.tune.scheduler,
        seconds=trial.seconds,
        started=trial.started,
        worker=trial.worker,
        **trial.particle,
    )
    write_row(rows, {**row, "error": trial.error or None})
