"""The configuration of a run: one typed tree, read from YAML, with every fault reported at once.

A run is a corpus and a sequence of *stages*. Each stage trains one model. Where its weights start and whether it has
teachers say what kind of stage it is:

* no teachers: fine-tuning on labels (a teacher, a plain student, or the label fine-tuning of a distilled student);
* teachers: distillation from the mean of their logits.

So a teacher assistant, an ensemble of teachers or a repeated stage are more stages, not more mechanism.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, Field, ValidationError, field_validator, model_validator

from kdh_ray.errors import ConfigError
from kdh_ray.tune_config import Count, Section, TuneConfig

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
SEEDS = 2**31  # what NumPy's older generators and torch take
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Place = Annotated[str, AfterValidator(os.path.expanduser)]  # whoever reads one then needs to know nothing of ~
PlaceHere = Annotated[Path, AfterValidator(lambda path: Path(os.path.expanduser(path)))]
_NOT_YAML = (yaml.YAMLError, ValueError, RecursionError)  # a date without its month, brackets without an end


class DataConfig(Section):
    """Which documents, and how much of them."""

    corpus: str = Field("synthetic", description="synthetic, hoc-blurb, hoc-blue, hoc-sentence or table")
    path: PlaceHere | None = Field(None, description="folder of HoC, or a user's file or folder")
    size: Literal["small", "medium", "large"] = Field("large", description="25, 50 or 100 % of the training split")
    sample_seed: Seed = Field(0, description="seed of samples, of splits made here, and of the synthetic corpus")
    documents: Count = Field(1200, description="number of documents of the synthetic corpus")
    text_column: str = Field("text", description="column of a user's table that holds the text")
    id_column: str | None = Field(None, description="column of document ids; row numbers where there is none")
    label_columns: tuple[str, ...] = Field((), description="one 0/1 column a label")
    labels_column: str | None = Field(None, description="one column that holds a list of labels")
    label_separator: str = Field(";", description="between labels in a list column that holds strings", min_length=1)
    split_column: str | None = Field(None, description="column of split names; seeded splits where there is none")
    max_tokens: int = Field(256, description="tokens a document, special ones included", ge=8, le=8192)
    segments: bool = Field(True, description="train on the labels of a document's parts where the corpus has them")
    unlabelled: tuple[Place, ...] = Field(
        (), description="outputs of kdh-ray predict --logits: distillations learn from their texts and logits too"
    )


class LossConfig(Section):
    """What a stage minimises: ``alpha * soft + (1 - alpha) * hard + hidden_weight * hidden``."""

    hard: Literal["bce", "asymmetric"] = Field("bce", description="loss on labels")
    class_weights: bool = Field(False, description="weigh positives by sqrt(negatives / positives) of each label")
    soft: Literal["bernoulli-kl", "softmax-kl"] = Field("bernoulli-kl", description="loss on teacher logits")
    temperature: Positive = Field(2.0, description="T; soft losses are multiplied by T^2")
    alpha: Fraction = Field(0.5, description="weight of the soft loss")
    hidden_weight: float = Field(0.0, description="weight of the hidden-state loss", ge=0.0)
    segment_weight: float = Field(1.0, description="weight of the losses on a document's parts", ge=0.0)


class StageConfig(Section):
    """One model's training. Units: epochs are passes over the training split, rates are per optimiser step."""

    start: Place = Field("embedded", description="an earlier stage's name, 'embedded', a folder, or a hub name")
    layers: Count | None = Field(None, description="keep this many of the start's encoder layers, evenly spaced")
    teachers: tuple[Place, ...] = Field(
        (), description="earlier stages, or folders of checkpoints, whose mean logits are distilled"
    )
    max_tokens: int | None = Field(
        None, description="tokens a document, fewer than data.max_tokens; as many if not set", ge=8, le=8192
    )
    epochs: Count = 4
    finetune_epochs: int = Field(
        0, description="further epochs of a distillation, on labels alone; the rate rises and falls anew", ge=0
    )
    batch_size: Count = Field(16, description="documents an optimiser step, over all workers")
    accumulate: Count = Field(1, description="split each batch into this many passes, for memory")
    learning_rate: float = Field(1e-4, gt=0.0, le=1.0)
    head_multiplier: Positive = Field(10.0, description="the head's learning rate over the encoder's")
    layer_decay: float = Field(1.0, description="learning rate of a layer over that of the layer above", gt=0.0, le=1.0)
    warmup: Fraction = Field(0.1, description="share of steps in which the rate rises")
    freeze: int = Field(
        0, description="lowest encoder layers (and the embeddings) that keep the start's weights; 0: none", ge=0
    )
    weight_decay: float = Field(0.01, ge=0.0, le=1.0)
    dropout: float = Field(0.1, ge=0.0, lt=1.0, description="of hidden states and head; attention has none")
    max_grad_norm: Positive = 1.0
    average: float = Field(
        0.0, description="decay of the exponential moving average of weights; 0: none", ge=0.0, lt=1.0
    )
    patience: int = Field(0, description="epochs without a better validation score before stopping; 0: never", ge=0)
    seed: int | None = Field(
        None, description="made from the run's seed and the stage's name if not set", ge=0, lt=SEEDS
    )
    loss: LossConfig = LossConfig()

    @property
    def total_epochs(self) -> int:
        """Of distillation, or of fine-tuning, and of what follows on labels alone."""
        return self.epochs + self.finetune_epochs


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
    cache: PlaceHere | None = Field(None, description="folder of tokens and teacher logits; <out>/cache if not set")
    results: Place | None = Field(
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


def parse_config(tree: Mapping[str, Any], source: str = "configuration") -> RunConfig:
    """Validate a tree of plain values.

    Raises:
        ConfigError: With every fault: where it is, what is allowed, what was received.
    """
    try:
        return RunConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_faults(error, RunConfig), source) from None


def parse_data(tree: Mapping[str, Any], source: str = "data") -> DataConfig:
    """Validate a ``data`` section alone; raises as ``parse_config`` does."""
    try:
        return DataConfig.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(_faults(error, DataConfig), source) from None


def load_config(path: str | os.PathLike[str], overrides: Iterable[str] = ()) -> RunConfig:
    """Read a YAML file, apply ``section.key=value`` overrides, and validate.

    Relative paths in the file are taken from the working directory, as on a command line.

    Raises:
        ConfigError: If the file can't be read, is not YAML, or holds faults.
    """
    source = os.fspath(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
        tree = yaml.safe_load(text)
        repeated = _repeated_keys(yaml.compose(text, Loader=yaml.SafeLoader))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError([f"can't be read: {reason}"], source) from None
    except _NOT_YAML as error:
        raise ConfigError([f"is not YAML: {' '.join(str(error).split())}"], source) from None
    if not isinstance(tree, dict):
        raise ConfigError([f"must hold a mapping of sections; got {type(tree).__name__}"], source)
    if repeated:
        raise ConfigError(repeated, source)
    return parse_config(apply_overrides(tree, overrides), source)


def _repeated_keys(node: yaml.Node | None, place: str = "") -> list[str]:
    """A fault for each key that a mapping has twice, of which YAML's reader keeps the last without a word."""
    faults: list[str] = []
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            faults += _repeated_keys(item, place)
    elif isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = f"{place}{key.value}", key.start_mark.line + 1
            if name in lines:
                faults.append(f"{name}: is there twice, in lines {lines[name]} and {line}")
            lines[name] = line
            faults += _repeated_keys(value, f"{name}.")
    return faults


def apply_overrides(tree: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of ``tree`` with each ``section.key=value`` set; values are YAML (``[a, b]``, ``true``, ``1e-4``).

    Raises:
        ConfigError: If an override has no ``=``, or goes through something that is not a section.
    """
    result: dict[str, Any] = {**tree}
    faults = []
    for override in overrides:
        key, separator, value = override.partition("=")
        if not separator or not key.strip():
            faults.append(f"--set takes section.key=value; got {override!r}")
            continue
        *sections, last = key.strip().split(".")
        node = result
        for section in sections:
            child = node.get(section)
            if child is not None and not isinstance(child, dict):
                faults.append(f"--set {override}: {section!r} is not a section")
                break
            node[section] = {**(child or {})}
            node = node[section]
        else:
            try:
                node[last] = _scalar(value)
            except _NOT_YAML as error:
                faults.append(f"--set {override}: the value is not YAML: {' '.join(str(error).split())}")
    if faults:
        raise ConfigError(faults, "command line")
    return result


def _scalar(text: str) -> Any:
    """YAML's reading of ``text``, and ``1e-4`` as the number that people mean (YAML 1.1 wants ``1.0e-4``)."""
    value = yaml.safe_load(text)
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def dump_config(config: RunConfig) -> str:
    """The configuration as YAML, defaults included; ``load_config`` reads it back."""
    return yaml.safe_dump(config.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


_OUT_OF_RANGE = ("greater_than", "greater_than_equal", "less_than", "less_than_equal")
_WORDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def _faults(error: ValidationError, root: type[BaseModel]) -> list[str]:
    faults: list[str] = []
    for fault in error.errors(include_url=False):
        place = ".".join(str(part) for part in fault["loc"])
        message = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            faults.append(f"{place}: no such setting{_nearest(fault['loc'], root)}")
        elif fault["type"] in ("model_type", "model_attributes_type") and fault["loc"][1:2] == ("space",):
            faults.append(f"{place}: takes {{low: .., high: ..}} or {{choices: [..]}}; got {fault['input']!r}")
        elif fault["type"] in ("model_type", "model_attributes_type"):
            faults.append(f"{place or 'configuration'}: must be a section of settings; got {fault['input']!r}")
        elif fault["type"] == "missing":
            faults.append(f"{place}: is required")
        elif fault["type"] == "value_error":
            faults += [f"{place}: {line}" if place else line for line in message.splitlines()]
        elif bounds := _bounds(fault["loc"], root) if fault["type"] in _OUT_OF_RANGE else "":
            faults.append(f"{place}: must be {bounds}; got {fault['input']!r}")
        else:
            faults.append(f"{place}: {message[0].lower()}{message[1:]}; got {fault['input']!r}")
    return faults


def _bounds(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """``at least 0 and at most 1``: the whole range of a setting; empty where its type keeps it inside a union."""
    section = _section(location, root)
    field = section.model_fields.get(str(location[-1])) if section is not None else None
    bounds = [
        (kind, getattr(each, kind))
        for each in (field.metadata if field else ())
        for kind in _WORDS
        if hasattr(each, kind)
    ]
    return " and ".join(f"{_WORDS[kind]} {value:.10g}" for kind, value in bounds)


def _nearest(location: tuple[int | str, ...], root: type[BaseModel]) -> str:
    """``; did you mean 'alpha'?`` for a misspelt key."""
    section = _section(location, root)
    known = list(section.model_fields) if section is not None else []
    match = get_close_matches(str(location[-1]), known, n=1)
    return f"; did you mean {match[0]!r}?" if match else f" (known: {', '.join(known)})"


def _section(location: tuple[int | str, ...], root: type[BaseModel]) -> type[BaseModel] | None:
    """The section that holds the setting at ``location``; None where there is none."""
    section: type[BaseModel] | None = root
    for part in location[:-1]:
        section = None if section is None else _child(section, str(part))
    return section


def _child(section: type[BaseModel], name: str) -> type[BaseModel] | None:
    if name not in section.model_fields:  # a stage's own name
        return StageConfig if section is RunConfig or section is StageConfig else None
    kind = section.model_fields[name].annotation
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return kind
    return StageConfig if name == "stages" else None
