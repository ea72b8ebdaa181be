"""Make the row of a finished, failed or stopped stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kdh_ray.config import RunConfig, flatten
from kdh_ray.results.method_rows import BASELINE, MEMBER, STUDENT, TEACHER
from kdh_ray.results.provenance import columns

_SCORES = ("validation_", "test_", "threshold_label.")  # prefixes
_CIRCUMSTANCES = (
    "seconds",
    "documents_trained",
    "unlabelled_documents",
    "unlabelled_taught_by",
    "refit_epochs",
    "documents_per_second",
    "device",
    "precision",
    "workers",
    "threads",
    "parameters",
    "read_as",
    "started",
    "data_fingerprint",
    "data_documents",
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
    """Return the row of a stage or of a baseline, for ``write_row``.

    Args:
        config: Configuration of the run.
        stage: Name of a stage; any other name is that of a baseline.
        run_id: Id that all rows of the run share.
        protocol: Name of the corpus under its protocol.
        result: Scores (see ``kdh_ray.evaluation.score_columns``) and circumstances such as ``seconds``; None if the
            stage has no result.
        error: What ended the stage. Its message is stored, so it must not contain a document's text; this project's
            errors don't.
        more: Further columns (``experiment``, ``variant``, ``metric``), which win over all others.

    Returns:
        Column to value.
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
    # Later columns win: the caller's over those of the result, and these over the configuration's.
    return {**row, **config_columns(config, stage), **result_columns(result or {}), **columns(), **more}


def kind_of(config: RunConfig, stage: str) -> str:
    """Return ``teacher`` for a stage that teaches another one, ``member`` for one of several models that a stage is the
    mean of, ``student`` for any other stage, else ``baseline``.
    """
    if stage not in config.stages:
        return BASELINE
    if config.ensemble_of(stage) is not None:
        return MEMBER
    teachers = {
        each for name, other in config.stages.items() for each in (*other.teachers, *config.unlabelled_teachers(name))
    }
    return TEACHER if stage in teachers else STUDENT


def config_columns(config: RunConfig, stage: str) -> dict[str, Any]:
    """Return the settings of the stage (``config_loss.alpha``) and of its run (``config_data.max_tokens``)."""
    tree = config.model_dump(mode="json", exclude={"stages", "name", "seed", "tune"})
    own = config.stages[stage].model_dump(mode="json") if stage in config.stages else {}
    return flatten({**tree, **own})


def result_columns(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return the scores and circumstances of a stage's result; not its training history."""
    single = ("metric", "threshold", *_CIRCUMSTANCES)
    return {name: value for name, value in result.items() if name in single or name.startswith(_SCORES)}


def _status(error: BaseException | None) -> str:
    if error is None:
        return "ok"
    return "stopped" if isinstance(error, KeyboardInterrupt | SystemExit) else "failed"
