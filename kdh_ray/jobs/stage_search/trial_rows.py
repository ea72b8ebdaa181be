"""The result rows of a search's trials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from kdh_ray.data import Corpus
from kdh_ray.jobs.run_rows import run_id
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.space import configured
from kdh_ray.results import recorded, write_row
from kdh_ray.results.stage_rows import stage_row
from kdh_ray.tuning.ledger import Ledger
from kdh_ray.tuning.trials import Trial


@dataclass(frozen=True)
class TrialRows:
    """Writes one row per ended trial.

    Attributes:
        plan: The search.
        corpus: Its documents.
        columns: Further columns.
    """

    plan: SearchPlan
    corpus: Corpus
    columns: Mapping[str, Any]

    @cached_property
    def _written(self) -> set[str]:
        """Run ids of the rows that exist."""
        return {identity for identity, _ in recorded(self.plan.folder.search.rows)}

    @cached_property
    def _search_started(self) -> str | None:
        """When the first trial of the search started: two searches of one configuration have one run id."""
        trials = Ledger(self.plan.folder.search.path).trials
        return trials[0].started if trials else None

    def write(self, trial: Trial) -> None:
        """Write the row of a trial, unless it exists."""
        identity = f"{run_id(self.plan.config)}-trial-{trial.number:04d}"
        if identity in self._written:
            return
        own = {"error": trial.error or None, "experiment": self.columns.get("experiment", self.plan.config.name)}
        # The trial's own columns win over those of the caller, except for the experiment.
        row = {**self.columns, **self._row(trial, identity), **trial.values, **own}
        write_row(self.plan.folder.search.rows, row)
        self._written.add(identity)

    def _row(self, trial: Trial, identity: str) -> dict[str, Any]:
        config, tuned, tune = self.plan.config, self.plan.tuned, self.plan.config.tune
        stages = {**config.stages, tuned: configured(self.plan.stage, trial.config)}
        return stage_row(
            config.model_copy(update={"stages": stages}),
            tuned,
            identity,
            self.corpus.name,
            kind="trial",
            variant="trial",
            status=trial.status,
            metric=self.corpus.metric,
            objective=tune.objectives[0],
            objectives=list(tune.objectives) if len(tune.objectives) > 1 else None,
            score=trial.score,
            trial=trial.number,
            epochs_run=int(trial.time),
            epochs_full=None if trial.full is None else int(trial.full),
            curve=[report.score for report in trial.reports],
            searcher=tune.searcher,
            scheduler=tune.scheduler,
            seconds=trial.seconds,
            started=trial.started,
            worker=trial.worker,
            search_started=self._search_started,
            **self.corpus.identity.columns(),
            **trial.particle,
        )
