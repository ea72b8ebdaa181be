"""The configuration of a run: one typed tree, read from YAML, with every fault reported at once.

A run is a corpus and a sequence of *stages*. Each stage trains one model. Where its weights start and whether it has
teachers say what kind of stage it is:

* no teachers: fine-tuning on labels (a teacher, a plain student, or the label fine-tuning of a distilled student);
* teachers: distillation from the mean of their logits.

So a teacher assistant, an ensemble of teachers or a repeated stage are more stages, not more mechanism.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from kdh_ray.config.data import DataConfig
from kdh_ray.config.fields import Count, LocalPath, Location, Section, Seed
from kdh_ray.config.stage import StageConfig
from kdh_ray.config.tune import TuneConfig


class JobConfig(Section):
    """The Ray Train job that runs the stages."""

    workers: Count = Field(1, description="data-parallel workers (DDP: gloo on CPU, NCCL on GPU)")
    cpus_per_worker: Count | None = Field(None, description="as many as all workers find on the machines if not set")
    gpus_per_worker: float | None = Field(None, description="1 where there are GPUs, else 0, if not set", ge=0.0)
    max_failures: int = Field(2, description="times a lost worker is replaced", ge=0)
    address: str | None = Field(
        None, description="of a running Ray cluster; RAY_ADDRESS, or else a local one is started, if not set"
    )
    autoscaling: bool = Field(False, description="the cluster grows on demand: wait for machines it hasn't yet")


class BaselineConfig(Section):
    """Bag-of-words models that every result table shows beside the encoders."""

    tfidf: bool = Field(True, description="TF-IDF and logistic regression")


class RunConfig(Section):
    """A whole run. See ``experiments/configs/`` for examples."""

    name: str = Field("run", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    seed: Seed = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
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
        """The encoder behind a stage (or an encoder), and how many of its layers are left; None: all."""
        layers = None
        while reference in self.stages:
            stage = self.stages[reference]
            layers, reference = layers or stage.layers, stage.start
        return reference, layers

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
                # What is a path is looked for when it is trained from: a configuration is read where that is gone, too.
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
