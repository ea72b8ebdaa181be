"""The run of a search's best configuration, in a folder of its own."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace

from kdh_ray.cluster import nodes, session
from kdh_ray.config import RunConfig, load_run_config
from kdh_ray.jobs.plan import RunOptions, make_plan
from kdh_ray.jobs.run import perform
from kdh_ray.jobs.run_rows import run_id
from kdh_ray.jobs.stage_search.choice import Choice, saved_columns
from kdh_ray.jobs.stage_search.plan import SearchPlan
from kdh_ray.jobs.stage_search.trained_stage import TrainedStage
from kdh_ray.jobs.stage_search.trial_weights import hand_over_weights
from kdh_ray.results import recorded
from kdh_ray.run_folder import RunFolder
from kdh_ray.tuning.trials import Trial


@dataclass(frozen=True)
class BestRun:
    """The best configuration, trained and tested once.

    Attributes:
        plan: The search.
        options: How the run is performed, with the columns of its rows.
    """

    plan: SearchPlan
    options: RunOptions

    @property
    def folder(self) -> RunFolder:
        """Folder of the run."""
        return self.plan.folder.best

    def trained(self) -> RunConfig | None:
        """Return the configuration that an earlier call trained completely, None if there is none."""
        if not self.folder.config.exists():
            return None
        config = load_run_config(self.folder.config)
        return config if make_plan(config, self.folder).finished else None

    def has_rows(self, config: RunConfig) -> bool:
        """Return True if every stage has its row, for the experiment of this call."""
        identity = run_id(config, self.options.columns.get("experiment"))
        return {(identity, stage) for stage in config.stages} <= recorded(self.folder.path)

    def train(self, choice: Choice) -> None:
        """Train and test the stage with the settings of the chosen trial.

        It is copied if it is the stage as configured and is trained already. The models that trials have trained take
        their weights, so that they are only tested.
        """
        plan, best = self.plan, self.plan.best_config(choice.trial.config, choice.ensemble)
        if self.trained() not in (None, best):
            shutil.rmtree(self.folder)  # the best of fewer trials
        if choice.ensemble is None:
            scored_here = self._take_over(choice.trial, best) == set(best.stages) and self._is_scored_here()
        else:
            scored_here = False  # its student is yet to be trained
            for fold, name in enumerate(plan.trained):
                for model, trial in choice.ensemble.models(plan.tuned, name).items():
                    hand_over_weights(plan.folder.search.model_weights(trial.number, fold), self.folder.stage(model))
        self.perform(best, here=scored_here)

    def _take_over(self, trial: Trial, best: RunConfig) -> set[str]:
        """Take over what is trained already of the chosen configuration; return the stages that only need a test."""
        plan, trained_stage = self.plan, TrainedStage.of(self.plan)
        if trained_stage is not None and trained_stage.has(trial.config):
            _copy_stages(plan.folder, self.folder, best)
            return set()
        if plan.stage.members > 1:  # a trial of several members is one of them, without a member's seed
            return set()
        weights = [plan.folder.search.model_weights(trial.number, fold) for fold in range(len(plan.trained))]
        stages = zip(plan.trained, weights, strict=True)
        return {name for name, each in stages if hand_over_weights(each, self.folder.stage(name))}

    def _is_scored_here(self) -> bool:
        """Return True if this machine is all that Ray has, without a GPU, which this process would keep in use."""
        return not self.options.local and len(nodes.alive_nodes()) == 1 and not session.has_gpus()

    def perform(self, config: RunConfig, here: bool = False) -> None:
        """Run the best configuration; stages that are finished only get their rows.

        Args:
            config: The best configuration.
            here: Run it in this process, because only a test is left: a Ray Train job takes longer to start.
        """
        columns = {**saved_columns(self.plan.folder.search.choice), **self.options.columns}
        options = replace(self.options, columns=columns, local=self.options.local or here)
        perform(make_plan(config, self.folder), options)


def _copy_stages(source: RunFolder, target: RunFolder, config: RunConfig) -> None:
    """Copy the stages that ``source`` has finished, up to the first that it has not or that ``target`` has."""
    for name in config.stages:
        finished, copy = source.stage(name), target.stage(name).path
        if copy.exists() or not finished.finished:
            return  # later stages build on this one
        # Copy under a hidden name first: a kill must not leave half a stage that looks finished.
        unfinished = copy.with_name(f".{name}")
        shutil.rmtree(unfinished, ignore_errors=True)
        shutil.copytree(finished.path, unfinished)
        unfinished.rename(copy)
