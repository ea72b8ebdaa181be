"""The best configuration of a search as a run of its own, and the stages that it is trained from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdh_ray.config import RunConfig, StageConfig, parse_config
from kdh_ray.jobs.stage_search.space import configured


def earlier_stages(config: RunConfig, name: str) -> list[str]:
    """What the best configuration of ``name`` is trained from: see :func:`best_config`.

    Stages that ``name``, or one that builds on it, starts from or learns from, directly or not, in order.
    """
    kept = set(_building_on(config, name))
    needed = set(kept)
    for earlier in reversed(list(config.stages)):
        if earlier in needed:
            needed |= {ref for ref in _references(config.stages[earlier]) if ref in config.stages}
    return [stage for stage in config.stages if stage in needed - kept]


def _building_on(config: RunConfig, name: str) -> list[str]:
    """``name``, and the stages that start from it or learn from it, directly or not, in order."""
    kept = [name]
    for later, stage in config.stages.items():
        if later not in kept and any(reference in kept for reference in _references(stage)):
            kept.append(later)
    return kept


def best_config(config: RunConfig, name: str, folder: Path, values: Mapping[str, Any]) -> RunConfig:
    """A configuration of the tuned stage with ``values``, and of the stages that build on it.

    Earlier stages are named by their checkpoints in ``folder``, so that it is an ordinary run of its own.
    """
    kept = {stage: config.stages[stage] for stage in _building_on(config, name)}
    kept[name] = configured(config.stages[name], values)

    def place(reference: str) -> str:
        known = reference in config.stages and reference not in kept
        return str(folder / "stages" / reference / "checkpoint") if known else reference

    stages = {
        key: stage.model_copy(
            update={"start": place(stage.start), "teachers": tuple(place(teacher) for teacher in stage.teachers)}
        )
        for key, stage in kept.items()
    }
    tree = config.model_dump(mode="json", exclude={"stages", "tune", "cache", "baselines"})
    tree["stages"] = {key: stage.model_dump(mode="json") for key, stage in stages.items()}
    return parse_config({**tree, "cache": str(config.cache or folder / "cache"), "baselines": {"tfidf": False}})


def _references(stage: StageConfig) -> tuple[str, ...]:
    return (stage.start, *stage.teachers)
