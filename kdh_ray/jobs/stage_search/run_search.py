"""``search``: find a stage's best settings, and train the stage with them.

The way of a search: a plan (``plan``), the stages that the tuned one needs, the trials (``run_trials``), and the best
configuration as a run of its own (``best``).
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kdh_ray.cluster import nodes, session
from kdh_ray.errors import UserError
from kdh_ray.events import EventLog
from kdh_ray.jobs.claim import claim_folder
from kdh_ray.jobs.data_checks import check_data, record_corpus
from kdh_ray.jobs.linear_baselines import TFIDF
from kdh_ray.jobs.plan import Listener, RunOptions, RunPlan, make_plan
from kdh_ray.jobs.preflight import check_plan, load_data
from kdh_ray.jobs.publish import publish_run
from kdh_ray.jobs.run import perform
from kdh_ray.jobs.run_rows import run_id
from kdh_ray.jobs.stage_search.best import BestRun
from kdh_ray.jobs.stage_search.choice import Choice, choose
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.run_trials import TrialRuns
from kdh_ray.jobs.stage_search.searcher import check_searcher, make_searcher, tuned_variant
from kdh_ray.jobs.stage_search.space import searches_by_start
from kdh_ray.jobs.stage_search.trial_rows import TrialRows
from kdh_ray.jobs.stage_search.trial_task import trial_resources
from kdh_ray.jobs.unlabelled import predict_text, with_text
from kdh_ray.results import load_runs, recorded
from kdh_ray.tuning.ledger import FILE, Ledger
from kdh_ray.tuning.trackers import check_trackers
from kdh_ray.tuning.trials import OUT_OF_TIME, Trial

if TYPE_CHECKING:
    import os

    import pandas as pd

    from kdh_ray.config import RunConfig
    from kdh_ray.data import Corpus
    from kdh_ray.events import Event


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
    columns: Mapping[str, Any] | None = None,
    allow_changed_data: bool = False,
) -> pd.DataFrame:
    """Search for a stage's best settings, train the stage with them, and test it once.

    >>> from kdh_ray.config import load_config
    >>> config = load_config("my.yaml", ["tune.trials=3"])
    >>> rows = search(config, "runs/my-short-search", local=True)  # trials run on Ray all the same
    >>> int((rows["kind"] == "trial").sum())
    3
    >>> score = rows[rows["variant"] == "swarm-tuned"]["test_f1_micro"]

    Args:
        config: A configuration, its tree of plain values, or its YAML file; see its ``tune`` section.
        out: The run's folder; ``runs/<name>`` if not given. The search is in ``search``, its best in ``best``.
        searcher: Any fresh ``ray.tune.search.Searcher``; it sees validation scores only. If not given, the one that
            ``tune.searcher`` names, which tries the stage's own settings first.
        whole: Train every stage with its own settings first, not only the stages that the tuned one needs. The tuned
            stage then becomes a finished trial of the search.
        resume: Resume the search in the folder, if there is one. A search that its time budget ended continues if the
            budget is longer now. If it then finds a better configuration, the run in ``best`` is replaced.
        local: Train teachers and the best student in this process instead of on Ray Train workers.
        verbose: Show Ray's own log lines.
        listener: Called with every event of teachers and of the best student.
        on_trial: Called with a trial when it starts, reports, and ends.
        columns: Further columns of the rows of trials and of the best student; they replace others of the same name.
        allow_changed_data: As for :func:`kdh_ray.run`. Trials that ended keep their scores on the data before.

    Returns:
        Every row: teachers, trials (``kind`` trial), and the best student, whose ``variant`` names the searcher
        (``swarm-tuned``, ``optuna-tpe-tuned``, ...).

    Raises:
        UserError: If the configuration, the data or the machine can't be used, or the folder holds a search and
            ``resume`` is False.
        JobError: If training teachers or the best student failed permanently.
    """
    run_plan = make_plan(config, out)
    plan = SearchPlan.of(run_plan)
    if searcher is not None:
        check_searcher(searcher, plan.config)
    columns = {"variant": tuned_variant(plan.config), **(columns or {})}
    steps = _Search(
        plan,
        make_searcher(plan.config) if searcher is None else searcher,
        RunOptions(local, verbose, hear_notes_once(listener), columns, allow_changed_data),
        on_trial,
        run_plan.stages if whole else tuple(plan.needed_stages),
    )
    return steps.perform(resume)


def hear_notes_once(listener: Listener | None) -> Listener | None:
    """Return a listener without repeated notes: the stages before a search and its best share a corpus's warnings."""
    heard: set[str] = set()

    def listen(event: Event) -> None:
        if listener is not None and not (event["kind"] == "note" and event["text"] in heard):
            heard.update([event["text"]] if event["kind"] == "note" else [])
            listener(event)

    return None if listener is None else listen


@dataclass(frozen=True)
class _Search:
    """The steps of a search.

    Attributes:
        plan: The search.
        searcher: Fresh searcher of Ray Tune.
        options: How stages are trained, with the columns of the rows.
        on_trial: Called with a trial when it starts, reports, and ends.
        first: Stages to train with their own settings before the search.
    """

    plan: SearchPlan
    searcher: Any
    options: RunOptions
    on_trial: Callable[[Trial], None]
    first: tuple[str, ...]

    def perform(self, resume: bool) -> pd.DataFrame:
        """Perform the steps that earlier calls have not finished, and return every row."""
        plan, folder, best = self.plan, self.plan.folder, BestRun(self.plan, self.options)
        self._check_new_or_resumed(resume)
        check_trackers(plan.config.tune.trackers)
        earlier = self._unfinished_stages()
        tuned = plan.config.with_parts(plan.tuned)
        everything = RunPlan(plan.config, folder, tuple(dict.fromkeys([*earlier.stages, *tuned])))
        starts = self._with_each_start(everything)
        notes = list(dict.fromkeys(note for each in starts for note in check_plan(each)))
        corpus = load_data(everything)
        allowed = self.options.allow_changed_data
        warnings = list(dict.fromkeys(said for each in starts for said in check_data(each, corpus, allowed)))
        with claim_folder(folder, plan.config):  # refuse before a cluster is started
            record_corpus(folder, corpus)
            for warning in warnings:
                self._log.note(f"warning: {warning}")
            if warnings:  # the data have changed: trials that ended have learnt from others
                shutil.rmtree(folder.search.all_weights, ignore_errors=True)
            trained = best.trained()
            for note in [*notes, *self._done_earlier()]:
                self._log.note(note)
        if trained is not None and not self._has_more_time():
            if not best.has_rows(trained):
                best.perform(trained)
            return load_runs(folder)
        corpus = with_text(everything, corpus, self.options)
        for warning in corpus.pool.warnings if corpus.pool else ():
            self._log.note(f"warning: {warning}")
        with self._ray_session(starts):  # one for teachers, trials and the best
            trial_resources(plan.config)  # refuse before the teacher is trained
            if earlier.stages or self._lacks_baseline():
                perform(earlier, replace(self.options, columns={}))
            best.train(self._search(corpus))
            shutil.rmtree(folder.search.all_weights, ignore_errors=True)
        return load_runs(folder)

    def _check_new_or_resumed(self, resume: bool) -> None:
        folder = self.plan.folder
        if (folder.search.path / FILE).exists() and not resume:
            raise UserError(f"{folder} holds a search: resume it with --resume, or give another --out")

    def _done_earlier(self) -> list[str]:
        """Return a note about the trials of earlier calls, if there are any."""
        folder, number = self.plan.folder.search.path, self.plan.config.tune.n_trials
        ended = sum(trial.ended for trial in Ledger(folder).trials) if (folder / FILE).exists() else 0
        return [f"resuming the search: {ended} of {number} trials are done"] if ended else []

    def _unfinished_stages(self) -> RunPlan:
        """Plan the stages to train first that lack a result or its row; a kill may come between the two."""
        config, folder = self.plan.config, self.plan.folder
        identity, rows = run_id(config), recorded(folder.rows)
        stages = [name for name in self.first if not folder.stage(name).finished or (identity, name) not in rows]
        return RunPlan(config, folder, tuple(stages))

    def _lacks_baseline(self) -> bool:
        config = self.plan.config
        return config.baselines.tfidf and (run_id(config), TFIDF) not in recorded(self.plan.folder.rows)

    def _has_more_time(self) -> bool:
        """Return True if the search ended for lack of time, and its budget has been raised since."""
        folder, settings = self.plan.folder.search.path, self.plan.config.tune
        if not (folder / FILE).exists():
            return False
        ledger = Ledger(folder)
        ended = any(trial.error == OUT_OF_TIME for trial in ledger.trials)
        within_budget = settings.time_budget is None or ledger.seconds < settings.time_budget
        return ended and len(ledger.trials) < settings.n_trials and within_budget

    def _with_each_start(self, everything: RunPlan) -> list[RunPlan]:
        """Return the plan with each start that the tuned stage may have, in a trial or with its own settings."""
        configs = [config for config, _ in searches_by_start(everything.config).values()]
        if self.plan.tuned in self.first and everything.config not in configs:
            configs.append(everything.config)
        return [replace(everything, config=config) for config in configs]

    def _ray_session(self, starts: Sequence[RunPlan]) -> Any:
        def check_machines() -> None:
            encoders = sorted({encoder for each in starts for encoder in each.encoders})
            nodes.check_machines(self.plan.folder.path, encoders)

        job = self.plan.config.job
        return session.ray_session(job, self.options.verbose, check=check_machines, log=self._log)

    @property
    def _log(self) -> EventLog:
        return EventLog(self.plan.folder.events, self.options.listener)

    def _search(self, corpus: Corpus) -> Choice:
        """Run the trials, and choose among them."""
        plan = self.plan
        rows = TrialRows(plan, corpus, self.options.columns)
        with claim_folder(plan.folder, plan.config):
            predict_text(plan.config, plan.folder, plan.trained, corpus, self.options, self._log)
            trials = TrialRuns(plan, self.searcher, rows, self.on_trial, self._log, self.options.verbose)
            choice = choose(plan, corpus, trials.run())
            choice.save(plan.folder.search.choice)
            publish_run(plan.config, plan.folder)
        return choice
