"""A stage's search space: its settings' ranges, as configured or as a default, and as Ray Tune's domains."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdh_ray.config import RunConfig, SearchRange, StageConfig, flatten, is_integer
from kdh_ray.errors import ConfigError

# From what the literature on fine-tuning and distilling BERT-sized encoders finds worth trying. Number of layers is not
# here: without a budget for size or latency, more is always better.
DEFAULT_SPACE = {
    "learning_rate": SearchRange(low=2e-5, high=1e-3, log=True),
    "head_multiplier": SearchRange(low=1.0, high=100.0, log=True),
    "layer_decay": SearchRange(low=0.7, high=1.0),
    "batch_size": SearchRange(choices=(8, 16, 32)),
    "warmup": SearchRange(low=0.0, high=0.3),
    "weight_decay": SearchRange(low=1e-4, high=0.1, log=True),
    "dropout": SearchRange(low=0.0, high=0.3),
}
# What makes a student cheaper to run, and no better: searched where there is a budget to keep.
SMALLER_SPACE = ("layers", "max_tokens")
DISTILLATION_SPACE = {
    "loss.temperature": SearchRange(low=1.0, high=8.0, log=True),
    "loss.alpha": SearchRange(low=0.0, high=1.0),
    "loss.soft": SearchRange(choices=("bernoulli-kl", "softmax-kl")),
}


def tuned_stage(config: RunConfig) -> str:
    """Name of the stage that is tuned: ``tune.stage``, else the first with teachers.

    Raises:
        ConfigError: If neither is there.
    """
    if config.tune.stage is not None:
        return config.tune.stage
    for name, stage in config.stages.items():
        if stage.teachers:
            return name
    raise ConfigError(["tune.stage: name the stage to tune; none of them has teachers"])


def search_space(config: RunConfig) -> dict[str, SearchRange]:
    """The ranges to search: ``tune.space``, else the defaults for the tuned stage.

    Epochs go from half of the stage's own to all of them by default, and up to a quarter of them may follow on labels
    alone. Layers and tokens go from half of the stage's own to all, where there is a budget (``tune.max_latency_ms``,
    ``tune.max_parameters``).

    Raises:
        ConfigError: With every fault that the ranges have together with the rest of the configuration.
    """
    name = tuned_stage(config)
    stage = config.stages[name]
    space = config.tune.space
    if space is None:
        space = {**DEFAULT_SPACE, **(DISTILLATION_SPACE if stage.teachers else {})}
        if stage.epochs > 1:
            space["epochs"] = SearchRange(low=(stage.epochs + 1) // 2, high=stage.epochs)
        if stage.teachers:
            space["finetune_epochs"] = SearchRange(low=0, high=max(1, stage.epochs // 4))
        space |= _smaller(config, stage)
    faults = [
        f"tune.space.{key}: stage {name!r} has no teachers, so nothing reads this"
        for key in ("loss.soft", "loss.temperature", "loss.alpha", "loss.hidden_weight", "finetune_epochs")
        if key in space and not stage.teachers
    ]
    if config.tune.grace > longest(stage, space):
        faults.append(f"tune.grace: at most the epochs of the longest trial, {longest(stage, space)}; got "
                      f"{config.tune.grace}")  # fmt: skip
    faults += _too_many_layers(config, stage, space)
    if "max_tokens" in space and highest(space["max_tokens"]) > config.data.max_tokens:
        faults.append(f"tune.space.max_tokens: at most data.max_tokens, {config.data.max_tokens}; got "
                      f"{highest(space['max_tokens']):g}")  # fmt: skip
    if faults:
        raise ConfigError(faults)
    return space


def own_settings(config: RunConfig) -> dict[str, Any]:
    """The tuned stage's own values of the settings that are searched, where they lie in the ranges."""
    stage = flatten(config.stages[tuned_stage(config)].model_dump(), prefix="")
    return {name: stage[name] for name, entry in search_space(config).items() if _holds(entry, stage[name])}


def _holds(entry: SearchRange, value: Any) -> bool:
    if entry.choices is not None:
        return value in entry.choices
    return value is not None and entry.low is not None and entry.high is not None and entry.low <= value <= entry.high


def longest(stage: StageConfig, space: Mapping[str, SearchRange]) -> int:
    """Epochs of the longest trial."""
    return sum(
        int(highest(space[name])) if name in space else own
        for name, own in (("epochs", stage.epochs), ("finetune_epochs", stage.finetune_epochs))
    )


def domains(space: Mapping[str, SearchRange]) -> dict[str, Any]:
    """Ray Tune's domains. Its ``randint`` leaves the upper bound out, ours is included."""
    from ray import tune

    def domain(name: str, entry: SearchRange) -> Any:
        if entry.choices is not None:
            return tune.choice(list(entry.choices))
        if entry.low is None or entry.high is None:
            raise ValueError(f"{name}: a range has low and high")
        if is_integer(name):
            integer = tune.lograndint if entry.log else tune.randint
            return integer(int(entry.low), int(entry.high) + 1)
        return (tune.loguniform if entry.log else tune.uniform)(entry.low, entry.high)

    return {name: domain(name, entry) for name, entry in space.items()}


def configured(stage: StageConfig, values: Mapping[str, Any]) -> StageConfig:
    """``stage`` with a trial's settings (``{"loss.alpha": 0.3}``), validated.

    Raises:
        pydantic.ValidationError: If a value is out of bounds.
    """
    tree = stage.model_dump()
    for name, value in values.items():
        *sections, last = name.split(".")
        node = tree
        for section in sections:
            node = node[section]
        node[last] = value.item() if hasattr(value, "item") else value  # some searchers suggest NumPy's scalars
    return StageConfig.model_validate(tree)


def highest(entry: SearchRange) -> float:
    """The largest value of a numeric range."""
    values = entry.choices if entry.choices is not None else (entry.high,)
    return max(float(value) for value in values if value is not None)


def lowest(entry: SearchRange) -> float:
    """The smallest value of a numeric range."""
    values = entry.choices if entry.choices is not None else (entry.low,)
    return min(float(value) for value in values if value is not None)


def _smaller(config: RunConfig, stage: StageConfig) -> dict[str, SearchRange]:
    """Ranges for what the budgets of ``tune`` limit."""
    wanted = {"layers": config.tune.has_budget, "max_tokens": config.tune.max_latency_ms is not None}
    most = {
        "layers": stage.layers or _depth(config, stage.start) if config.tune.has_budget else 0,
        "max_tokens": stage.max_tokens or config.data.max_tokens,
    }
    return {
        name: SearchRange(low=max(8 if name == "max_tokens" else 1, most[name] // 2), high=most[name])
        for name in SMALLER_SPACE
        if wanted[name] and most[name] > (8 if name == "max_tokens" else 1)
    }


def _too_many_layers(config: RunConfig, stage: StageConfig, space: Mapping[str, SearchRange]) -> list[str]:
    if "layers" not in space:
        return []
    depth, wanted = _depth(config, stage.start), int(highest(space["layers"]))
    if wanted <= depth:
        return []
    return [f"tune.space.layers: the stage's start has {depth} encoder layers; got {wanted}"]


def _depth(config: RunConfig, reference: str) -> int:
    """Encoder layers of a stage or of an encoder."""
    from kdh_ray.models.encoders import encoder_shape

    encoder, left = config.origin(reference)
    return left or encoder_shape(encoder).layers
