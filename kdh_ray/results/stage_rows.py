"""From a finished (or failed) stage to its row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdh_ray.config import RunConfig, flatten
from kdh_ray.results.provenance import columns

_SPLITS = ("validation", "test")
_AT = ("", "_at_half", "_per_label")
_CIRCUMSTANCES = (
    "seconds",
    "documents_per_second",
    "device",
    "precision",
    "workers",
    "threads",
    "parameters",
    "started",
)


def stage_row(
    config: RunConfig,
    stage: str,
    run_id: str,
    protocol: str,
    result: Mapping[str, Any] | None = None,
    error: BaseException | None = None,
    **more: Any,
) -> dict[str, Any]:
    """The row of a stage or of a baseline.

    Args:
        config: Of the run.
        stage: A stage's name; any other name is a baseline's.
        run_id: Of the run; rows of one run share it.
        protocol: The corpus's name.
        result: Of the stage: scores, either flat (``score_columns``) or one mapping a split (``result.json``),
            ``threshold``, ``labels``, and circumstances such as ``seconds``. None if there is none.
        error: What ended it. Its message is kept, so it must hold no document's text; this project's errors don't.
        more: Further columns (``experiment``, ``variant``, ``metric``), over all others.

    Returns:
        Columns for ``write_row``.
    """
    row = {
        "run_id": run_id,
        "stage": stage,
        "kind": kind_of(config, stage),
        "experiment": config.name,
        "protocol": protocol,
        "size": config.data.size,
        "seed": config.seed,
        "status": _status(error),
        "error": error and f"{type(error).__name__}: {error}",
    }
    return {**row, **config_columns(config, stage), **result_columns(result or {}), **columns(), **more}


def kind_of(config: RunConfig, stage: str) -> str:
    """``baseline`` for what is no stage, ``teacher`` for a stage that another one distils, else ``student``."""
    if stage not in config.stages:
        return "baseline"
    return "teacher" if any(stage in other.teachers for other in config.stages.values()) else "student"


def config_columns(config: RunConfig, stage: str) -> dict[str, Any]:
    """The stage's own settings (``config_loss.alpha``), then the run's (``config_data.max_tokens``)."""
    tree = config.model_dump(mode="json", exclude={"stages", "name", "seed", "tune"})
    own = config.stages[stage].model_dump(mode="json") if stage in config.stages else {}
    return flatten({**tree, **own})


def result_columns(result: Mapping[str, Any]) -> dict[str, Any]:
    """Scores and circumstances of a stage's result, as columns."""
    found = {name: result[name] for name in ("threshold", *_CIRCUMSTANCES) if name in result}
    for split in _SPLITS:
        found |= {name: value for name, value in result.items() if name.startswith(f"{split}_") and _scalar(value)}
        for suffix in _AT:
            scores = result.get(f"{split}{suffix}")
            found |= {f"{split}_{name}{suffix}": value for name, value in (scores or {}).items()}
    found |= {name: value for name, value in result.items() if name.startswith("threshold_label.") or name == "metric"}
    return found | {f"test_f1_label.{line['label']}": line["f1"] for line in result.get("labels", ())}


def _scalar(value: Any) -> bool:
    return not isinstance(value, Mapping | list | tuple)


def _status(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return "stopped" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
