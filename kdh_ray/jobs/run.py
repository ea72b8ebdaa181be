"""``run``: train the stages of a configuration, and return their result rows.

The way of a run: a plan (``plan``), its checks (``preflight``), the training (here, or ``on_ray``), its rows
(``run_rows``), and their copies in a shared place (``publish``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from kdh_ray.data.describe import leak_warnings, near_duplicate_warnings
from kdh_ray.events import EventLog
from kdh_ray.hardware import precision
from kdh_ray.jobs.claim import claim_folder
from kdh_ray.jobs.data_checks import check_data, record_corpus
from kdh_ray.jobs.linear_baselines import TFIDF
from kdh_ray.jobs.on_ray import train_on_ray
from kdh_ray.jobs.plan import Listener, RunOptions, RunPlan, make_plan
from kdh_ray.jobs.preflight import check_plan, load_data
from kdh_ray.jobs.publish import publish_run
from kdh_ray.jobs.run_rows import RunRows
from kdh_ray.jobs.unlabelled import predict_text, with_text
from kdh_ray.results import load_runs

if TYPE_CHECKING:
    import os

    import pandas as pd

    from kdh_ray.config import RunConfig
    from kdh_ray.data import Corpus


def run(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    stages: Sequence[str] | None = None,
    local: bool = False,
    verbose: bool = False,
    listener: Listener | None = None,
    columns: Mapping[str, Any] | None = None,
    allow_changed_data: bool = False,
) -> pd.DataFrame:
    """Train the stages of a configuration, or resume where an earlier call in the same folder was interrupted.

    >>> rows = run("my.yaml", local=True)  # in runs/my; without local, on Ray Train workers
    >>> sorted(rows["stage"])
    ['student', 'teacher', 'tf-idf']
    >>> scores = rows[["stage", "variant", "test_f1_micro"]]

    Args:
        config: A configuration, its tree of plain values, or its YAML file.
        out: The run's folder; ``runs/<name>`` if not given.
        stages: The stages to train; all if not given. A stage that they need must be finished or among them.
        local: Train in this process instead of on Ray Train workers, for debugging.
        verbose: Show Ray's own log lines.
        listener: Called with every event (see ``kdh_ray.events``).
        columns: Further columns of the stages' rows, such as ``experiment``, ``method`` or ``variant`` (``distilled``
            or ``fine-tuned`` by default). A finished stage gets a row for each experiment that asks for it.
        allow_changed_data: Go ahead with a warning if documents were added, removed or relabelled since the run began,
            or if a teacher was trained on documents that are held out now.

    Returns:
        One row per stage and baseline; see ``kdh_ray.results.rows`` for the columns.

    Raises:
        UserError: If the configuration, the data or the machine can't be used.
        JobError: If the job failed permanently. Finished stages keep their rows, and the failed one gets a row.
    """
    options = RunOptions(local, verbose, listener, columns or {}, allow_changed_data)
    return perform(make_plan(config, out, stages), options)


def perform(plan: RunPlan, options: RunOptions) -> pd.DataFrame:
    """Perform a planned run; see :func:`run`."""
    notes = check_plan(plan)
    corpus = load_data(plan)
    warnings = check_data(plan, corpus, options.allow_changed_data)
    corpus = with_text(plan, corpus, options)
    rows = RunRows(plan, corpus, options.columns)
    with claim_folder(plan.folder, plan.config), ThreadPoolExecutor(1) as background:
        record_corpus(plan.folder, corpus)
        log = EventLog(plan.folder.events, options.listener)
        if not plan.finished:
            warnings += near_duplicate_warnings(corpus)
        warnings = [*corpus.warnings, *leak_warnings(corpus), *warnings, *(corpus.pool.warnings if corpus.pool else ())]
        finished = [name for name in plan.stages if plan.folder.stage(name).finished]
        if finished and not plan.finished:
            notes = [*notes, f"finished earlier, not trained again: {', '.join(finished)}"]
        for note in [*notes, *(f"warning: {warning}" for warning in warnings)]:
            log.note(note)
        baseline = background.submit(rows.write_tfidf)  # while workers start
        try:
            if options.local:
                _train_here(plan, corpus, options)
            else:
                train_on_ray(plan, corpus, options)
        except Exception as error:  # not KeyboardInterrupt: an interrupted run resumes, it has not failed
            rows.write_stages(error)
            publish_run(plan.config, plan.folder, error)
            raise
        rows.write_stages()
        if reason := baseline.result():
            log.note(f"warning: no {TFIDF} baseline: {reason}")
        publish_run(plan.config, plan.folder)
    return load_runs(plan.folder.rows)


def _train_here(plan: RunPlan, corpus: Corpus, options: RunOptions) -> None:
    """Train the stages in this process."""
    import torch

    from kdh_ray.training.stages import StageRunner

    runner = StageRunner(
        plan.config,
        corpus,
        plan.folder.path,
        precision=precision(plan.config.precision),
        device="cuda" if torch.cuda.is_available() else "cpu",
        events=EventLog(plan.folder.events, options.listener),
    )
    for name in plan.stages:
        predict_text(plan.config, plan.folder, [name], corpus, options, runner.events)
        runner.run(name)
