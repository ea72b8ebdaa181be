"""The search space of a stage: ranges of its settings, configured or default, and Ray Tune's domains for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from kdh_ray.config import (
    RunConfig,
    SearchRange,
    SearchSpace,
    StageConfig,
    active_ranges,
    every_range,
    flatten,
    highest,
    is_integer,
    spaces_by_start,
)
from kdh_ray.errors import ConfigError, UserError

# Ranges that the literature on fine-tuning and distilling BERT-sized encoders finds worth trying. The number of layers
# is not among them: without a budget for size or latency, more layers are always better.
DEFAULT_SPACE = {
    "learning_rate": SearchRange(low=2e-5, high=1e-3, log=True),
    "head_multiplier": SearchRange(low=1.0, high=100.0, log=True),
    "layer_decay": SearchRange(low=0.7, high=1.0),
    "batch_size": SearchRange(choices=(8, 16, 32)),
    "warmup": SearchRange(low=0.0, high=0.3),
    "weight_decay": SearchRange(low=1e-4, high=0.1, log=True),
    "dropout": SearchRange(low=0.0, high=0.3),
}
DISTILLATION_SPACE = {
    "loss.temperature": SearchRange(low=1.0, high=8.0, log=True),
    "loss.alpha": SearchRange(low=0.0, high=1.0),
    "loss.soft": SearchRange(choices=("bernoulli-kl", "softmax-kl")),
}
# Settings that make a student cheaper but no better. They are searched only if there is a budget.
SMALLER_SPACE = ("layers", "max_tokens")
_LEAST = {"layers": 1, "max_tokens": 8}
_NEED_TEACHERS = ("loss.soft", "loss.temperature", "loss.alpha", "loss.hidden_weight", "finetune_epochs")


def tuned_stage(config: RunConfig) -> str:
    """Return the name of the stage to tune: ``tune.stage``, else the first stage with teachers.

    Raises:
        ConfigError: If there is neither.
    """
    if config.tune.stage is not None:
        return config.tune.stage
    for name, stage in config.stages.items():
        if stage.teachers and config.ensemble_of(name) is None:
            return name
    raise ConfigError(["tune.stage: name the stage to tune; none of them has teachers"])


def search_space(config: RunConfig) -> dict[str, SearchRange]:
    """Return the ranges to search: ``tune.space``, else :func:`default_space`.

    Raises:
        ConfigError: With all faults that the ranges have together with the rest of the configuration.
    """
    space = default_space(config) if config.tune.space is None else config.tune.space
    if faults := _faults(config, space):
        raise ConfigError(faults)
    return space


def default_space(config: RunConfig) -> dict[str, SearchRange]:
    """Return the default ranges for the tuned stage.

    Epochs range from half of the stage's own number to that number; up to a quarter of it may follow on labels only.
    With a budget (``tune.max_latency_ms``, ``tune.max_parameters``) or a cost as an objective, layers and tokens range
    from half of the stage's own number to that number.
    """
    stage = config.stages[tuned_stage(config)]
    space = {**DEFAULT_SPACE, **(DISTILLATION_SPACE if stage.teachers else {})}
    if stage.epochs > 1:
        space["epochs"] = SearchRange(low=(stage.epochs + 1) // 2, high=stage.epochs)
    if stage.teachers:
        space["finetune_epochs"] = SearchRange(low=0, high=max(1, stage.epochs // 4))
    return space | _smaller_space(config, stage)


def _smaller_space(config: RunConfig, stage: StageConfig) -> dict[str, SearchRange]:
    """Ranges of the settings that bring a student within its budgets."""
    own = {}
    if config.tune.searches_costs:
        own["layers"] = stage.layers or _depth(config, stage.start)
    if config.tune.max_latency_ms is not None or "latency_ms" in config.tune.objectives:
        own["max_tokens"] = stage.max_tokens or config.data.max_tokens
    return {
        name: SearchRange(low=max(_LEAST[name], number // 2), high=number)
        for name, number in own.items()
        if number > _LEAST[name]
    }


def _faults(config: RunConfig, space: SearchSpace) -> list[str]:
    """Return what is wrong with the ranges, given the rest of the configuration."""
    name = tuned_stage(config)
    stage, faults = config.stages[name], []
    epochs = longest_trial(stage, space)
    if config.tune.grace > epochs:
        faults.append(f"tune.grace: at most the epochs of the longest trial, {epochs}; got {config.tune.grace}")
    if stage.members > 1 and config.data.folds > 1:
        faults.append(f"tune.stage: must have one member with data.folds; {name!r} has {stage.members}")
    if config.tune.final == "distilled" and not stage.teachers:
        faults.append("tune.final: distilled teaches the student once more, so it needs a stage with teachers")
    searched = {setting for _, setting, _ in every_range(space)}
    shaping = {"parameters": {"layers", "start"}, "latency_ms": {"layers", "max_tokens", "start"}}
    for cost in shaping.keys() & {*config.tune.objectives}:
        if not shaping[cost] & searched:
            needed = " or ".join(sorted(shaping[cost] - {"start"}))
            faults.append(f"tune.objective: {cost} is the same in all trials: search {needed}, too")
    for path, setting, entry in every_range(space):
        if setting in _NEED_TEACHERS and not stage.teachers:
            faults.append(f"tune.space.{path}: stage {name!r} has no teachers, so nothing reads this")
        if setting == "layers" and "start" not in space and entry.highest > (depth := _depth(config, stage.start)):
            faults.append(f"tune.space.{path}: the stage's start has {depth} encoder layers; got {entry.highest:g}")
        if setting == "max_tokens" and entry.highest > config.data.max_tokens:
            limit = config.data.max_tokens
            faults.append(f"tune.space.{path}: at most data.max_tokens, {limit}; got {entry.highest:g}")
    return faults + (_faults_of_starts(config, space, stage) if "start" in space else [])


def _faults_of_starts(config: RunConfig, space: SearchSpace, stage: StageConfig) -> list[str]:
    """Return what is wrong with the starts that are searched; ``preflight`` says which can't be used at all."""
    faults = []
    for start, ranges in spaces_by_start(space, stage.start).items():
        most, depth = highest(ranges, "layers", 0), math.inf
        with suppress(UserError):
            depth = _depth(config, start)
        if start in config.stages:
            faults.append(f"tune.space.start: takes encoders and folders of checkpoints; {start!r} is a stage")
        elif most > depth:
            way = "let each start bring its own range of layers"
            faults.append(f"tune.space.start: {start} has {depth} encoder layers; got up to {most:g} ({way})")
    return faults


def searches_by_start(config: RunConfig) -> dict[str, tuple[RunConfig, SearchSpace]]:
    """Return the configuration and the ranges of each start that a trial may have, as if it were the only one.

    Starts differ in what they need and cost: weights, tokens, memory, size and latency.
    """
    name, space = tuned_stage(config), search_space(config)
    if "start" not in space:
        return {config.stages[name].start: (config, space)}
    searches = {}
    for start, ranges in spaces_by_start(space, config.stages[name].start).items():
        own: dict[str, Any] = {"start": start, **({"layers": None} if "layers" in ranges else {})}
        changed = {part: config.stages[part].model_copy(update=own) for part in config.with_parts(name)}
        searches[start] = config.model_copy(update={"stages": {**config.stages, **changed}}), ranges
    return searches


def own_settings(config: RunConfig) -> dict[str, Any]:
    """Return the tuned stage's own values of the settings that are searched with them, as far as they are in range."""
    stage = flatten(config.stages[tuned_stage(config)].model_dump(), prefix="")
    active = active_ranges(search_space(config), stage)
    return {name: stage[name] for name, entry in active.items() if entry.contains(stage[name])}


def has_own_settings(config: RunConfig, values: Mapping[str, Any]) -> bool:
    """Return True if a trial with ``values`` is the stage as configured; searchers may round numbers' last digits."""
    own, settings = own_settings(config), flat(values)
    active = active_ranges(search_space(config), own)
    return active.keys() == own.keys() and all(_same(own[name], settings.get(name)) for name in own)


def _same(own: Any, suggested: Any) -> bool:
    if isinstance(own, float):  # such as 1e-4 that came back from a logarithm as 1.0000000000000003e-4
        return isinstance(suggested, int | float) and math.isclose(own, suggested, rel_tol=1e-6, abs_tol=1e-9)
    return bool(own == suggested)


def longest_trial(stage: StageConfig, space: SearchSpace) -> int:
    """Return the epochs that no trial exceeds."""
    return sum(int(highest(space, name, getattr(stage, name))) for name in ("epochs", "finetune_epochs"))


def domains(space: SearchSpace) -> dict[str, Any]:
    """Return Ray Tune's domains for the ranges.

    A choice that brings settings is a dict of itself and of their domains, the form in which Ray Tune nests spaces;
    :func:`flat` undoes it.
    """
    from ray import tune

    def domain(name: str, entry: SearchRange) -> Any:
        if entry.brought:
            return tune.choice([{name: value, **domains(brought)} for value, brought in entry.brought.items()])
        if entry.choices is not None:
            return tune.choice(list(entry.choices))
        if entry.low is None or entry.high is None:
            raise ValueError(f"{name}: a range has low and high")
        if is_integer(name):
            integer = tune.lograndint if entry.log else tune.randint
            return integer(int(entry.low), int(entry.high) + 1)  # Tune excludes the upper bound, a range includes it
        return (tune.loguniform if entry.log else tune.uniform)(entry.low, entry.high)

    return {name: domain(name, entry) for name, entry in space.items()}


def flat(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a trial without the nesting of choices that bring settings.

    >>> flat({"epochs": 3, "loss.soft": {"loss.soft": "softmax-kl", "loss.temperature": 4.0}})
    {'epochs': 3, 'loss.soft': 'softmax-kl', 'loss.temperature': 4.0}
    """
    settings: dict[str, Any] = {}
    for name, value in values.items():
        settings |= flat(value) if isinstance(value, Mapping) else {name: value}
    return settings


def nested(space: SearchSpace, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings in the form of a trial's configuration, which :func:`flat` undoes."""
    values: dict[str, Any] = {}
    for name, entry in space.items():
        if name in settings:
            value, brought = settings[name], entry.brought
            values[name] = {name: value, **nested(brought[value], settings)} if brought else value
    return values


def configured(stage: StageConfig, values: Mapping[str, Any]) -> StageConfig:
    """Return ``stage`` with the settings of a trial (``{"loss.alpha": 0.3}``), validated.

    Raises:
        pydantic.ValidationError: If a value is out of bounds.
    """
    tree = stage.model_dump()
    for name, value in flat(values).items():
        *sections, last = name.split(".")
        node = tree
        for section in sections:
            node = node[section]
        node[last] = value.item() if hasattr(value, "item") else value  # some searchers suggest NumPy scalars
    return StageConfig.model_validate(tree)


def _depth(config: RunConfig, reference: str) -> int:
    """Return the number of encoder layers of a stage or of an encoder."""
    from kdh_ray.models.encoders import encoder_shape

    encoder, layers_left = config.origin(reference)
    return layers_left or encoder_shape(encoder).layers
