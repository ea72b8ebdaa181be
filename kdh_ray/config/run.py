"""The configuration of a run: one typed tree, which also answers how its stages depend on each other.

A run is a corpus and a sequence of *stages*. Each stage trains one model. Its start and its teachers define its kind:

* without teachers it fine-tunes on labels (a teacher, a plain student, or a distilled student once more);
* with teachers it distils the mean of their logits.

So a teacher assistant, an ensemble of teachers or a repeated stage needs more stages, but no other mechanism.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

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

    def direct_needs(self, stage: str) -> list[str]:
        """Return the stages whose checkpoints ``stage`` reads: its start and its teachers, in the run's order."""
        references = {self.stages[stage].start, *self.stages[stage].teachers}
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
        teachers = {teacher for stage in self.stages.values() for teacher in stage.teachers if teacher in self.stages}
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
            return os.fspath(checkpoint(reference)) if left_out else reference

        resolved = {
            name: {
                **stage.model_dump(mode="json"),
                "start": resolve(stage.start),
                "teachers": [resolve(teacher) for teacher in stage.teachers],
            }
            for name, stage in stages.items()
        }
        # Validate a tree of plain values: it equals what is read back from YAML.
        kept = self.model_dump(mode="json", exclude={"stages", "tune"})
        return RunConfig.model_validate({**kept, "stages": resolved, **changes})

    @field_validator("stages")
    @classmethod
    def _stage_names(cls, stages: dict[str, StageConfig]) -> dict[str, StageConfig]:
        for name in stages:
            if not name.replace("-", "").replace("_", "").isalnum() or name == "embedded":
                raise ValueError(
                    f"a stage's name is made of letters, digits, - and _ and isn't 'embedded'; got {name!r}"
                )
        return stages

    @model_validator(mode="after")
    def _stages_fit_together(self) -> RunConfig:
        faults = []
        earlier: list[str] = []
        for name, stage in self.stages.items():
            faults += [
                f"stages.{name}.teachers: {teacher!r} is neither an earlier stage"
                f" (earlier: {', '.join(earlier) or 'none'}) nor a folder"
                for teacher in stage.teachers
                # Only training checks paths: a configuration must load where its teachers are gone.
                if teacher not in earlier and "/" not in teacher and not Path(teacher).is_dir()
            ]
            if stage.start in self.stages and stage.start not in earlier:
                faults.append(f"stages.{name}.start: stage {stage.start!r} does not come before {name!r}")
            if stage.max_tokens is not None and stage.max_tokens > self.data.max_tokens:
                faults.append(
                    f"stages.{name}.max_tokens: at most data.max_tokens, {self.data.max_tokens}; got {stage.max_tokens}"
                )
            if stage.finetune_epochs and not stage.teachers:
                faults.append(
                    f"stages.{name}.finetune_epochs: the stage has no teachers, so epochs are on labels anyway"
                )
            earlier.append(name)
        if self.tune.stage is not None and self.tune.stage not in self.stages:
            faults.append(f"tune.stage: no such stage: {self.tune.stage!r} (stages: {', '.join(self.stages)})")
        if faults:
            raise ValueError("\n".join(faults))
        return self
