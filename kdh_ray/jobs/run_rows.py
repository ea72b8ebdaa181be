"""The result rows of a run: one per stage, and one per baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from kdh_ray.config import JobConfig, RunConfig, Section, dump_config
from kdh_ray.data import Corpus
from kdh_ray.errors import DataError
from kdh_ray.jobs.linear_baselines import TFIDF, VARIANTS, write_baseline
from kdh_ray.jobs.plan import RunPlan
from kdh_ray.results import recorded, write_row
from kdh_ray.results.rows import executions
from kdh_ray.results.stage_rows import stage_row

_LATER_SETTINGS = {
    "data": (
        "segments_column", "segmenter", "language", "window_overlap", "window_logits",
        "label_names", "missing", "uncertain", "blank_texts", "without_labels", "group_column",
        "format", "delimiter", "encoding", "sheet", "subset", "folds",
    ),
    "stages": ("members", "fold", "pooling", "unlabelled_teachers"),  # of each stage
    "tune": ("keep_default", "prefer", "tolerance", "final"),
    "job": ("dashboard",),
}  # fmt: skip


def run_id(config: RunConfig, experiment: str | None = None) -> str:
    """Return the id that all rows of a run share: experiment, seed and a digest of what determines the results."""
    # A resumed run may use another machine, so the settings of the machine don't count.
    machine = {"job": JobConfig(), "cache": None, "results": None, "tune": config.tune.without_machine()}
    # Settings that came later count only if they are set, so that runs and searches begun before keep their ids.
    sections: dict[str, Section] = {"data": config.data, "tune": config.tune, "job": JobConfig()}
    unset: dict[str, Any] = {name: _unset(section, name) for name, section in sections.items()}
    if config.data.corpus != "table" or config.data.split_rule == "stratified":  # as it was before the setting came
        unset["data"].add("split_rule")
    unset["stages"] = {name: _unset(stage, "stages") for name, stage in config.stages.items()}
    digest = sha256(dump_config(config.model_copy(update=machine), without=unset).encode())
    return f"{experiment or config.name}-{config.seed}-{digest.hexdigest()[:8]}"


def _variant(config: RunConfig, name: str) -> str:
    way = "distilled" if config.stages[name].teachers else "fine-tuned"
    return f"{way}, mean of {len(config.models(name))}" if config.is_mean(name) else way


def _unset(section: Section, name: str) -> set[str]:
    """Return the later settings of a section that are at their defaults."""
    fields = type(section).model_fields
    return {setting for setting in _LATER_SETTINGS[name] if getattr(section, setting) == fields[setting].default}


@dataclass(frozen=True)
class RunRows:
    """Writes the rows of a run.

    Attributes:
        plan: The run.
        corpus: Its documents.
        columns: Further columns of the stages' rows, which replace others of the same name.
    """

    plan: RunPlan
    corpus: Corpus
    columns: Mapping[str, Any]

    def write_stages(self, error: Exception | None = None) -> None:
        """Write a row for each finished stage and, after an error, one for the first stage that is not finished.

        A stage that an earlier call trained keeps its row, with the versions and the commit that trained it, unless
        this call gives columns of its own.
        """
        config = self.plan.config
        identity = run_id(config, self.columns.get("experiment"))
        written = set() if self.columns else executions(self.plan.folder.rows)
        for name in self.plan.stages:
            result = self.plan.folder.stage(name).read_result()
            if result is None and error is None:
                continue
            if result is not None and (identity, name, result.get("started")) in written:
                continue
            failure = error if result is None else None  # earlier stages finished before the error
            variant = _variant(config, name)
            data = {} if failure is None else self.corpus.identity.columns()
            columns = {"variant": variant, "metric": self.corpus.metric, **data, **self.columns}
            row = stage_row(config, name, identity, self.corpus.name, result, failure, **columns)
            write_row(self.plan.folder.rows, row)
            if failure is not None:
                return

    def write_tfidf(self) -> str:
        """Write the row of the bag-of-words baseline, unless it exists for these data or none is asked for.

        Some corpora have no bag of words, for example texts without spaces. Their baseline's row then holds the error,
        and the run continues.

        Returns:
            The reason why there is no baseline; empty if there is one.
        """
        config, rows, data = self.plan.config, self.plan.folder.rows, self.corpus.identity
        identity = run_id(config)
        if not config.baselines.tfidf or (identity, TFIDF) in recorded(rows, data.fingerprint):
            return ""
        try:
            write_baseline(config, self.corpus, TFIDF, rows, identity)
        except DataError as error:
            columns = {"variant": VARIANTS[TFIDF], **data.columns()}
            write_row(rows, stage_row(config, TFIDF, identity, self.corpus.name, error=error, **columns))
            return str(error)
        return ""
