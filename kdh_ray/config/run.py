"""The configuration of a run: one typed tree, which also answers how its stages depend on each other.

A run is a corpus and a sequence of *stages*. Each stage trains one model. Its start and its teachers define its kind:

* without teachers it fine-tunes on labels (a teacher, a plain student, or a distilled student once more);
* with teachers it distils the mean of their logits.

So a teacher assistant or a repeated stage needs more stages, but no other mechanism. Some stages are written as one and
stand for several; the configuration adds their *parts*, stages called NAME-1, NAME-2, ...:

* an *ensemble*, a stage with ``members``, has a part for each, and is their mean;
* with ``data.folds`` every other stage, members among them, has a part for each fold, whose start and teachers are the
  parts of that fold. A stage that others build on is the mean of its parts. One that nothing builds on is a model of
  its own: all parts of its teachers teach it on all documents, and its own parts say for how many epochs and at which
  threshold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from kdh_ray.config.data import DataConfig
from kdh_ray.config.fields import Count, LocalPath, Location, Section, Seed
from kdh_ray.config.stage import StageConfig
from kdh_ray.config.tune import TuneConfig


class JobConfig(Section):
    """The Ray Train job that runs the stages."""

    workers: Count = Field(1, description="data-parallel workers (DDP: gloo on CPU, NCCL on GPU)")
    cpus_per_worker: Count | None = Field(None, description="as many as the machines have for each worker if not set")
    gpus_per_worker: float | None = Field(None, description="if not set, 1 if there are GPUs, else 0", ge=0.0)
    max_failures: int = Field(2, description="times a lost worker is replaced", ge=0)
    address: str | None = Field(
        None, description="of a running Ray cluster; if not set, RAY_ADDRESS, or else a local Ray is started"
    )
    autoscaling: bool = Field(
        False, description="the cluster grows on demand: wait for machines that it does not have yet"
    )
    dashboard: bool = Field(True, description="show Ray's dashboard, if Ray is started here; it costs seconds at start")


class BaselineConfig(Section):
    """Bag-of-words models that every result table shows next to the encoders."""

    tfidf: bool = Field(True, description="TF-IDF and logistic regression")


class RunConfig(Section):
    """The configuration of a whole run. See ``experiments/configs/`` for examples."""

    name: str = Field(
        "run", description="name of the run, and of its folder runs/NAME", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
    )
    seed: Seed = Field(0, description="seed of everything that is random, but for samples and splits of the data")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="number format of matrix products; auto: bfloat16 if the hardware is fast at it"
    )
    cache: LocalPath | None = Field(None, description="folder of tokens and teacher logits; <out>/cache if not set")
    results: Location | None = Field(
        None, description="folder or bucket (s3://bucket/prefix) to which rows and finished stages are copied"
    )
    data: DataConfig = DataConfig()
    stages: dict[str, StageConfig] = Field(min_length=1)
    job: JobConfig = JobConfig()
    baselines: BaselineConfig = BaselineConfig()
    tune: TuneConfig = TuneConfig()

    def origin(self, reference: str) -> tuple[str, int | None]:
        """Return the encoder behind a stage or reference, and how many of its layers remain (None: all of them)."""
        layers = None  # the first stage on the way back that names a number decides
        while reference in self.stages:
            stage = self.stages[reference]
            layers, reference = layers or stage.layers, stage.start
        return reference, layers

    def parts(self, stage: str) -> list[str]:
        """Return the stages that the configuration has added for ``stage``: one a member, or a model a fold."""
        return [part for part in part_names(stage, self.stages[stage], self.data.folds) if part in self.stages]

    def with_parts(self, *stages: str) -> list[str]:
        """Return ``stages``, their parts and the parts of these, in the order of the run."""
        wanted = {*stages}
        for name in reversed(self.stages):  # parts come before their stage
            if name in wanted:
                wanted.update(self.parts(name))
        return [name for name in self.stages if name in wanted]

    def is_mean(self, stage: str) -> bool:
        """Return True if ``stage`` is the mean of its parts, rather than a model of its own."""
        return self.stages[stage].members > 1 or (bool(self.parts(stage)) and self._is_built_on(stage))

    def _is_built_on(self, stage: str) -> bool:
        """Return True if another stage starts from ``stage`` or from the ensemble that it is a member of, or learns
        from one of them.
        """
        names = {stage, self.ensemble_of(stage)}
        return any(names & {other.start, *self._taught_by(other)} for other in self.stages.values())

    def models(self, stage: str) -> list[str]:
        """Return the stages whose checkpoints make up ``stage``: those of a mean's parts, else the stage itself."""
        if not self.is_mean(stage):
            return [stage]
        return [model for part in self.parts(stage) for model in self.models(part)]

    def checkpoints(self, references: Iterable[str], of_stage: Callable[[str], Path]) -> list[Path]:
        """Return the folders of the checkpoints behind stages and references, each once; of a mean, those of its parts.

        Args:
            references: Names of stages, and folders of checkpoints.
            of_stage: Maps the name of a stage to the folder of its checkpoint.
        """
        found = []
        for name in references:
            found += [of_stage(model) for model in self.models(name)] if name in self.stages else [Path(name)]
        return list(dict.fromkeys(found))

    def ensemble_of(self, stage: str) -> str | None:
        """Return the stage that ``stage`` is a part of, None if there is none."""
        return next((name for name in self.stages if stage in self.parts(name)), None)

    def unlabelled_teachers(self, stage: str) -> tuple[str, ...]:
        """Return the stages and checkpoints whose mean logits teach ``stage`` on unlabelled text; none if nothing does.

        A fold model is taught by the models of its fold, so that no label of the documents that judge it reaches it.
        """
        return self._unlabelled_teachers(self.stages[stage])

    def _unlabelled_teachers(self, stage: StageConfig) -> tuple[str, ...]:
        text = self.data.unlabelled_text
        if text is None or not stage.teachers:
            return ()
        named = tuple(model for teacher in text.teachers for model in _of_fold(self.stages, stage.fold, teacher))
        return stage.unlabelled_teachers or named or stage.teachers

    def _taught_by(self, stage: StageConfig) -> tuple[str, ...]:
        """Return the teachers of a stage, on documents with and without labels."""
        return (*stage.teachers, *self._unlabelled_teachers(stage))

    def direct_needs(self, stage: str) -> list[str]:
        """Return the stages whose files ``stage`` reads, in the run's order: its start and teachers, and its parts."""
        own = self.stages[stage]
        references = {*self.parts(stage), *(() if self.is_mean(stage) else (own.start, *self._taught_by(own)))}
        return [name for name in self.stages if name in references]

    def needs(self, *stages: str) -> list[str]:
        """Return the other stages that ``stages`` build on, directly or not, in the order of the run."""
        needed = set(stages)
        for name in reversed(self.stages):  # a stage refers to earlier ones only
            if name in needed:
                needed.update(self.direct_needs(name))
        return [name for name in self.stages if name in needed and name not in stages]

    def dependents(self, stage: str) -> list[str]:
        """Return the stages that build on ``stage``, directly or not, in the order of the run."""
        return [name for name in self.stages if stage in self.needs(name)]

    def teacher_stages(self) -> list[str]:
        """Return the stages that teach another one, and the stages that those need; empty without teachers."""
        taught_by = {teacher for stage in self.stages.values() for teacher in self._taught_by(stage)}
        teachers = taught_by & self.stages.keys()
        needed = self.needs(*teachers)
        return [name for name in self.stages if name in teachers or name in needed]

    def with_only(
        self, stages: Mapping[str, StageConfig], checkpoint: Callable[[str], str | os.PathLike[str]], **changes: Any
    ) -> RunConfig:
        """Return a configuration of ``stages`` only, which trains from the checkpoints of this one's other stages.

        Args:
            stages: Its stages by name, which may differ from this configuration's stages of the same names.
            checkpoint: Maps the name of any other stage to the folder of its checkpoint.
            changes: Further sections and settings. Without ``tune``, that section is at its defaults.

        Raises:
            pydantic.ValidationError: If the stages do not fit together.
        """

        def resolve(reference: str) -> str:
            left_out = reference in self.stages and reference not in stages
            return os.fspath(checkpoint(self.models(reference)[0])) if left_out else reference

        def resolve_models(reference: str) -> list[str]:
            left_out = reference in self.stages and reference not in stages
            return [resolve(model) for model in self.models(reference)] if left_out else [reference]

        def named_apart(stage: StageConfig) -> tuple[str, ...]:
            teachers = self._unlabelled_teachers(stage)
            return () if teachers == stage.teachers else teachers

        resolved = {
            name: {
                **stage.model_dump(mode="json"),
                "start": resolve(stage.start),
                "teachers": [path for teacher in stage.teachers for path in resolve_models(teacher)],
                "unlabelled_teachers": [path for teacher in named_apart(stage) for path in resolve_models(teacher)],
            }
            for name, stage in stages.items()
        }
        # Validate a tree of plain values: it equals what is read back from YAML.
        kept = self.model_dump(mode="json", exclude={"stages", "tune"})
        if self.data.unlabelled_text is not None:  # each stage names its own teachers now
            learns = any(stage.teachers for stage in stages.values())
            kept["data"]["unlabelled"] = {**kept["data"]["unlabelled"], "teachers": []} if learns else []
        return RunConfig.model_validate({**kept, "stages": resolved, **changes})

    @field_validator("stages")
    @classmethod
    def _stage_names(cls, stages: dict[str, StageConfig], info: ValidationInfo) -> dict[str, StageConfig]:
        for name in stages:
            if not name.replace("-", "").replace("_", "").isalnum() or name == "embedded":
                raise ValueError(
                    f"a stage's name is made of letters, digits, - and _ and isn't 'embedded'; got {name!r}"
                )
        data = info.data.get("data")  # missing if that section has faults, which are reported as well
        return _with_parts(stages, 1 if data is None else data.folds)

    @model_validator(mode="after")
    def _stages_fit_together(self) -> RunConfig:
        faults = []
        earlier: list[str] = []
        for name in self.stages:
            whole = self.ensemble_of(name)
            if whole is None or self.stages[name] != _part(self.stages, whole, name):
                faults += self._faults_of(name, earlier)
            if self.stages[name].members > 1 and whole is not None:
                faults.append(f"stages.{name}.members: a member of {whole!r} can't have members of its own")
            faults += self._faults_of_fold(name, whole)
            earlier.append(name)
        if self.data.unlabelled_text is not None and not any(stage.teachers for stage in self.stages.values()):
            faults.append("data.unlabelled: no stage has teachers, so none would learn from it")
        if self.tune.stage is not None:
            faults += self._faults_of_tuned(self.tune.stage)
        if faults:
            raise ValueError("\n".join(faults))
        return self

    def _faults_of_fold(self, name: str, whole: str | None) -> list[str]:
        """Return what is wrong with a stage's fold: the configuration sets it, in the parts that it adds."""
        fold = self.stages[name].fold
        if fold is not None and (whole is None or self.stages[whole].members > 1):
            return [f"stages.{name}.fold: data.folds sets it; leave it out"]
        if fold is None and whole is not None and self.stages[whole].members == 1:
            return [f"stages.{name}: data.folds adds a stage of this name to {whole!r}; give this one another"]
        return []

    def _faults_of(self, name: str, earlier: list[str]) -> list[str]:
        """Return what is wrong with a stage, given the names of those before it."""
        stage = self.stages[name]
        faults = self._faults_of_teachers(name, earlier)
        if stage.start in self.stages and stage.start not in earlier:
            faults.append(f"stages.{name}.start: stage {stage.start!r} does not come before {name!r}")
        elif stage.start in self.stages and self.stages[stage.start].members > 1:
            first, *_ = self.parts(stage.start)
            faults.append(
                f"stages.{name}.start: {stage.start!r} has several members, and a model starts from one of them:"
                f" {first!r}, for example"
            )
        if stage.start in earlier and (pooling := self.stages[stage.start].pooling) != stage.pooling:
            faults.append(
                f"stages.{name}.pooling: must be that of its start {stage.start!r}, {pooling}; got {stage.pooling}"
            )
        if stage.max_tokens is not None and stage.max_tokens > self.data.max_tokens:
            faults.append(
                f"stages.{name}.max_tokens: at most data.max_tokens, {self.data.max_tokens}; got {stage.max_tokens}"
            )
        if stage.finetune_epochs and not stage.teachers:
            faults.append(f"stages.{name}.finetune_epochs: the stage has no teachers, so epochs are on labels anyway")
        return faults

    def _faults_of_teachers(self, name: str, earlier: list[str]) -> list[str]:
        """Return what is wrong with a stage's teachers, on documents with and without labels."""
        stage = self.stages[name]
        if stage.unlabelled_teachers and not (stage.teachers and self.data.unlabelled_text):
            return [f"stages.{name}.unlabelled_teachers: needs teachers, and text in data.unlabelled.path"]
        further = [teacher for teacher in self.unlabelled_teachers(name) if teacher not in stage.teachers]
        whose = f"stages.{name}.unlabelled_teachers" if stage.unlabelled_teachers else "data.unlabelled.teachers"
        named = [
            *((f"stages.{name}.teachers", teacher) for teacher in stage.teachers),
            *((whose, each) for each in further),
        ]
        return [
            f"{where}: {teacher!r} is neither an earlier stage (earlier: {', '.join(earlier) or 'none'}) nor a folder"
            for where, teacher in named
            # Only training checks paths: a configuration must load where its teachers are gone.
            if teacher not in earlier and "/" not in teacher and not Path(teacher).is_dir()
        ]

    def _faults_of_tuned(self, name: str) -> list[str]:
        """Return what is wrong with ``tune.stage``."""
        if name not in self.stages:
            return [f"tune.stage: no such stage: {name!r} (stages: {', '.join(self.stages)})"]
        whole = self.ensemble_of(name)
        if whole is not None:
            return [f"tune.stage: {name!r} is a member of {whole!r}; name that stage"]
        if any(self.stages[part] != _part(self.stages, name, part) for part in self.parts(name)):
            return [
                f"tune.stage: the members of {name!r} differ by more than their seeds, so they can't be tuned as one"
            ]
        return []


def part_names(name: str, stage: StageConfig, folds: int) -> list[str]:
    """Return the names of a stage's parts; none if it stands for itself."""
    number = stage.members if stage.members > 1 else folds if stage.fold is None else 1
    return [f"{name}-{part}" for part in range(1, number + 1)] if number > 1 else []


def _with_parts(stages: Mapping[str, StageConfig], folds: int) -> dict[str, StageConfig]:
    """Return ``stages`` with the parts of each before it; a part that is there keeps its own settings."""
    complete: dict[str, StageConfig] = {}

    def add(name: str, stage: StageConfig) -> None:
        for part in part_names(name, stage, folds):
            add(part, stages.get(part) or _part({**stages, **complete, name: stage}, name, part))
        complete[name] = stage

    for name, stage in stages.items():
        add(name, stage)
    return complete


def _part(stages: Mapping[str, StageConfig], name: str, part: str) -> StageConfig:
    """Return the settings that a part gets from its stage: a member's seed, or the start and teachers of its fold."""
    stage, number = stages[name], int(part.rpartition("-")[2])
    if stage.members > 1:
        return stage.member(number)

    def of_fold(references: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(model for reference in references for model in _of_fold(stages, number, reference))

    changes = {
        "fold": number,
        "start": _of_fold(stages, number, stage.start)[0],
        "teachers": of_fold(stage.teachers),
        "unlabelled_teachers": of_fold(stage.unlabelled_teachers),
    }
    return stage.model_copy(update=changes)


def _of_fold(stages: Mapping[str, StageConfig], fold: int | None, reference: str) -> list[str]:
    """Return the models of a fold, if one is given, for a stage or each of its members; any other reference itself."""
    if fold is None or reference not in stages or stages[reference].fold is not None:
        return [reference]
    members = part_names(reference, stages[reference], folds=1) or [reference]
    return [f"{member}-{fold}" for member in members]
