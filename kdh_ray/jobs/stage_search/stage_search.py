"""``search``: teachers once, their logits once, a search over a stage's settings, and the best of them trained."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.config import RunConfig, StageConfig, load_config
from kdh_ray.data import Corpus
from kdh_ray.errors import UnavailableError, UserError
from kdh_ray.events import EVENTS, EventLog
from kdh_ray.jobs.linear_baselines import TFIDF
from kdh_ray.jobs.publish import publish
from kdh_ray.jobs.run import NO_COLUMNS, Listener, encoders, load_data, preflight, run, run_id
from kdh_ray.jobs.run_folder import place, run_folder
from kdh_ray.jobs.stage_search.best import best_config, earlier_stages
from kdh_ray.jobs.stage_search.memory import PROCESS, memory_per_trial
from kdh_ray.jobs.stage_search.searcher import make_searcher, tuned_variant
from kdh_ray.jobs.stage_search.space import configured, domains, longest, own_settings, search_space, tuned_stage
from kdh_ray.jobs.stage_search.student_costs import LATENCY, PARAMETERS, check_budget, measure
from kdh_ray.jobs.stage_search.trained_stage import TrainedStage, enter, take_over
from kdh_ray.results import load_runs, recorded, write_row
from kdh_ray.results.stage_rows import stage_row
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning import SearchResult, TuneSettings, make_scheduler, tune
from kdh_ray.tuning.ledger import FILE, Ledger
from kdh_ray.tuning.trackers import check_trackers, make_trackers
from kdh_ray.tuning.trials import OUT_OF_TIME, RATE, VIOLATION, Trial

if TYPE_CHECKING:
    import pandas as pd

BEST = "best"  # folder of the best configuration's own run


def search(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    searcher: Any = None,
    whole: bool = False,
    resume: bool = False,
    local: bool = False,
    verbose: bool = False,
    listener: Listener | None = None,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    columns: Mapping[str, Any] = NO_COLUMNS,
) -> pd.DataFrame:
    """Search for a stage's best settings, train the stage with them, and test it once.

    >>> rows = search("my.yaml", "runs/my-search")  # doctest: +SKIP
    >>> rows[rows["variant"] == "swarm-tuned"]["test_f1_micro"]  # doctest: +SKIP

    Args:
        config: A configuration, its tree of plain values, or its YAML file; see its ``tune`` section.
        out: The run's folder; ``runs/<name>`` if not given. The search is in ``search``, its best in ``best``.
        searcher: Any fresh ``ray.tune.search.Searcher``; it sees validation scores only. If not given, the one that
            ``tune.searcher`` names, which tries the stage's own settings first.
        whole: Train every stage with its own settings first, not only those that the tuned one needs. The tuned one is
            then a finished trial of the search, and not trained again.
        resume: Go on with the search in the folder, if there is one; also where its time budget ended it and is longer
            now. If another configuration is the best then, its run takes the place of the former one's.
        local: Train teachers and the best student in this process instead of on Ray Train workers.
        verbose: Show Ray's own log lines.
        listener: Is given every event of teachers and of the best student.
        on_trial: Called with a trial when it starts, reports, and ends.
        columns: Further columns of the rows of trials and of the best student; they replace others of the same name.

    Returns:
        Every row: teachers, trials (``kind`` trial), and the best student, whose ``variant`` names the searcher
        (``swarm-tuned``, ``optuna-tpe-tuned``, ...).

    Raises:
        UserError: If the configuration, the data or the machine won't do, or the folder holds a search and ``resume``
            is False.
        JobError: If training teachers or the best student failed for good.
    """
    config, folder = place(config, out)
    name = tuned_stage(config)
    search_space(config)
    columns = {"variant": tuned_variant(config), **columns}
    searcher = make_searcher(config) if searcher is None else searcher
    if (folder / "search" / FILE).exists() and not resume:
        raise UserError(f"{folder} holds a search: go on with it by --resume, or give another --out")
    check_trackers(config.tune.trackers)
    needed, baseline = _left(config, folder, list(config.stages) if whole else earlier_stages(config, name))
    preflight(config, folder, [*needed, *({name} - set(needed))])
    corpus = load_data(config, [*needed, name])
    with run_folder(folder, config):  # before a cluster is started: another run there, or another configuration
        best = _trained_best(folder)
    if best is not None and not _goes_on(config, folder):
        if not _has_rows(best, folder / BEST, columns):
            _run_best(best, folder, local, verbose, listener, columns)
        return load_runs(folder)
    from kdh_ray.cluster.nodes import check_machines
    from kdh_ray.cluster.session import ray_session

    def check() -> None:
        check_machines(folder, encoders(config, [*needed, name]))

    log = EventLog(folder / EVENTS, listener)
    with ray_session(config.job, verbose, check=check, log=log):  # one for teachers, trials and the best
        trial_resources(config)  # a refusal before the teacher is trained
        if needed or baseline:
            run(config, folder, stages=needed, local=local, verbose=verbose, listener=listener)
        with run_folder(folder, config):
            found = _search(config, corpus, name, folder, searcher, verbose, log, on_trial, columns)
            if config.results:
                publish(folder, run_id(config), config.results)
        _train_best(config, name, folder, found.best.config, local, verbose, listener, columns)
    return load_runs(folder)


def _goes_on(config: RunConfig, folder: Path) -> bool:
    """Whether a time budget ended the search in ``folder``, and has been raised since."""
    if not (folder / "search" / FILE).exists():
        return False
    ledger, budget = Ledger(folder / "search"), config.tune.time_budget
    ended = any(trial.error == OUT_OF_TIME for trial in ledger.trials)
    return ended and len(ledger.trials) < config.tune.n_trials and (budget is None or ledger.seconds < budget)


def _left(config: RunConfig, folder: Path, wanted: Sequence[str]) -> tuple[list[str], bool]:
    """Stages without a result or a row, since a kill may come between the two; and whether the baseline has none."""
    from kdh_ray.training.stages import read_result

    identity, rows = run_id(config), recorded(folder / "rows")
    stages = [name for name in wanted if read_result(folder / "stages" / name) is None or (identity, name) not in rows]
    return stages, config.baselines.tfidf and (identity, TFIDF) not in rows


def _has_rows(best: RunConfig, folder: Path, columns: Mapping[str, Any]) -> bool:
    """Whether every stage of the best configuration has its row there, of the experiment that asks."""
    identity = run_id(best, columns.get("experiment"))
    return {(identity, stage) for stage in best.stages} <= recorded(folder)


def _train_best(
    config: RunConfig,
    name: str,
    folder: Path,
    values: Mapping[str, Any],
    local: bool,
    verbose: bool,
    listener: Listener | None,
    columns: Mapping[str, Any],
) -> None:
    """The best configuration as a run of its own, trained and tested once; copied where it is trained already."""
    best, trained = best_config(config, name, RunFolder(folder), values), trained_stage(config, name, folder)
    if _trained_best(folder) not in (None, best):
        shutil.rmtree(folder / BEST)  # of fewer trials
    if trained is not None and trained.has(values):
        take_over(folder, folder / BEST, best.stages)
    _run_best(best, folder, local, verbose, listener, columns)


def _run_best(
    best: RunConfig, folder: Path, local: bool, verbose: bool, listener: Listener | None, columns: Mapping[str, Any]
) -> None:
    run(best, folder / BEST, local=local, verbose=verbose, listener=listener, columns=columns)


def _trained_best(folder: Path) -> RunConfig | None:
    """The best configuration of the search in ``folder``, where each of its stages is finished."""
    from kdh_ray.training.stages import read_result

    file = folder / BEST / "config.yaml"
    if not file.exists():
        return None
    best = load_config(file)
    return best if all(read_result(folder / BEST / "stages" / name) is not None for name in best.stages) else None


def trained_stage(config: RunConfig, name: str, folder: Path) -> TrainedStage | None:
    """The tuned stage as it is configured, if it is finished in ``folder``."""
    from kdh_ray.training.stages import read_result

    result = read_result(folder / "stages" / name)
    if result is None:
        return None
    return TrainedStage(own_settings(config), frozenset(search_space(config)), result)


def _search(
    config: RunConfig,
    corpus: Corpus,
    name: str,
    folder: Path,
    searcher: Any,
    verbose: bool,
    log: EventLog,
    on_trial: Callable[[Trial], None],
    columns: Mapping[str, Any],
) -> SearchResult:
    """The trials, and a row for each."""
    from ray.tune import with_parameters

    from kdh_ray.jobs.stage_search.multi_worker_trial import trial_of_workers
    from kdh_ray.jobs.stage_search.trial import SCORES, StageTrial

    settings, space = config.tune, search_space(config)
    stage = config.stages[name]
    max_t, resources = longest(stage, space), trial_resources(config)

    written = {key for key, _ in recorded(folder / "search" / "rows")}

    def watch(trial: Trial) -> None:
        if trial.ended:
            _write_trial(config, corpus, name, folder, trial, written, columns)
        on_trial(trial)

    task = trial_task(config, corpus, name, folder, resources["GPU"] > 0, log)
    check_budget(task.costs, settings)
    first = _enter_trained(config, name, folder, searcher, task)
    if first is not None:
        watch(first)
    log.write("note", "", text=f"Searching: {settings.n_trials} trials of {name} by {settings.searcher}")
    tune_settings = TuneSettings(
        trials=settings.n_trials,
        metric=SCORES[settings.objective],
        max_t=max_t,
        full_length=partial(_epochs, stage),
        extra_results=(*SCORES.values(), RATE, LATENCY, PARAMETERS, VIOLATION),
        concurrency=settings.concurrency or _concurrency(resources, settings.workers_per_trial),
        # Ray Train asks for its workers itself; beside them is the process that waits for them.
        resources=resources if settings.workers_per_trial == 1 else {"memory": float(int(PROCESS))},
        time_budget=settings.time_budget,
        trial_time_limit=settings.trial_time_limit,
        max_failures=settings.max_failures,
        name=config.name,
        job=config.job,
        verbose=verbose,
    )
    found = tune(
        with_parameters(StageTrial if settings.workers_per_trial == 1 else trial_of_workers, task=task),
        domains(space),
        tune_settings,
        searcher=searcher,
        storage=folder / "search",
        scheduler=make_scheduler(settings.scheduler, max_t, settings.grace, settings.reduction),
        resume=True,
        callbacks=make_trackers(settings.trackers, config.name, folder / "search"),
        listener=watch,
    )
    for trial in found.trials:  # a kill may have come between a trial's end and its row
        _write_trial(config, corpus, name, folder, trial, written, columns)
    return found


def _enter_trained(config: RunConfig, name: str, folder: Path, searcher: Any, task: Any) -> Trial | None:
    """The tuned stage as the first trial of a fresh search, where it is finished; see :func:`enter`."""
    from kdh_ray.jobs.stage_search.trial import SCORES, costs_of

    trained, space, stage = trained_stage(config, name, folder), search_space(config), config.stages[name]
    if trained is None:
        return None
    return enter(
        trained, searcher, folder / "search", domains(space), metric=SCORES[config.tune.objective], scores=SCORES,
        costs=partial(costs_of, task), full=partial(_epochs, stage), max_t=longest(stage, space),
        trials=config.tune.n_trials,
    )  # fmt: skip


def _epochs(stage: StageConfig, values: Mapping[str, Any]) -> int:
    """Of a trial that runs to its end."""
    return configured(stage, values).total_epochs


def _concurrency(resources: Mapping[str, float], workers: int) -> int | None:
    """None: as many trials as there is room for at the time. The room for trials of several workers is that of now."""
    from kdh_ray.cluster.nodes import Room

    return None if workers == 1 else max(1, Room(resources).count() // workers)


def trial_resources(config: RunConfig) -> dict[str, float]:
    """What Ray sets aside for each worker of a trial, on the cluster that this process is connected to.

    Raises:
        UnavailableError: If no machine has room for one worker, or all together for a trial; says what to lower.
    """
    from kdh_ray.cluster.nodes import Room
    from kdh_ray.cluster.session import has_gpus

    gpus = float(has_gpus()) if config.tune.gpus_per_trial is None else config.tune.gpus_per_trial
    memory = memory_per_trial(config, gpus > 0)
    resources = {"CPU": float(config.tune.cpus_per_trial), "GPU": gpus, "memory": float(int(memory))}
    if config.job.autoscaling:
        return resources
    try:
        room = Room(resources)
        room.require()
        if room.count() < config.tune.workers_per_trial:
            raise UnavailableError(
                f"tune.workers_per_trial: there is room for {room.count()}; got {config.tune.workers_per_trial}"
            )
    except UnavailableError as error:
        raise UnavailableError(
            f"{error}: lower tune.cpus_per_trial, tune.gpus_per_trial, or what takes memory (the largest batch_size,"
            " data.max_tokens, layers), or set tune.memory_per_trial if the estimate is too high"
        ) from None
    return resources


def trial_task(
    config: RunConfig, corpus: Corpus, name: str, folder: Path, on_gpu: bool, log: EventLog | None = None
) -> Any:
    """What trials share. Teacher logits come from the run's cache, or are computed here, as ``log`` is told."""
    import torch

    from kdh_ray.hardware import precision
    from kdh_ray.jobs.stage_search.student import PLACEHOLDER_DROPOUT
    from kdh_ray.jobs.stage_search.trial import StageTask
    from kdh_ray.training.stages import StageRunner

    here = "cuda" if on_gpu and torch.cuda.is_available() else "cpu"
    runner = StageRunner(
        config, corpus, folder, precision=precision(config.precision), device=here, events=log or EventLog()
    )
    stage = config.stages[name]
    whole = {"layers": None, "max_tokens": None, "dropout": PLACEHOLDER_DROPOUT}
    material = runner.prepare(name, stage.model_copy(update=whole))
    material.model.to("cpu")  # as it travels
    costs = measure(material, stage, search_space(config), config.tune.cpus_per_trial)
    return StageTask(stage, material, config.precision, "cuda" if on_gpu else "cpu", config.tune, costs)


def _write_trial(
    config: RunConfig,
    corpus: Corpus,
    name: str,
    folder: Path,
    trial: Trial,
    written: set[str],
    columns: Mapping[str, Any],
) -> None:
    """A trial's result row, unless its run is among those ``written``; then it is."""
    key = f"{run_id(config)}-trial-{trial.number:04d}"
    if key in written:
        return
    settings = {name: configured(config.stages[name], trial.config)}
    row = stage_row(
        config.model_copy(update={"stages": {**config.stages, **settings}}),
        name,
        key,
        corpus.name,
        kind="trial",
        variant="trial",
        status=trial.status,
        metric=corpus.metric,
        objective=config.tune.objective,
        score=trial.score,
        trial=trial.number,
        epochs_run=int(trial.time),
        epochs_full=None if trial.full is None else int(trial.full),
        curve=[report.score for report in trial.reports],
        searcher=config.tune.searcher,
        scheduler=config.tune.scheduler,
        seconds=trial.seconds,
        started=trial.started,
        worker=trial.worker,
        **trial.particle,
    )
    own = {"error": trial.error or None, "experiment": columns.get("experiment", config.name)}
    write_row(folder / "search" / "rows", {**columns, **row, **trial.values, **own})
    written.add(key)
