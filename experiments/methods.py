"""Methods that make a classifier at a place of the grid, each by an ordinary run or search.

A base configuration has the stages ``teacher``, ``teacher-2``, ``plain-student``, ``student`` (distilled) and
``finetuned`` (the distilled student, fine-tuned on labels), and in ``tune`` the search for the settings of ``student``.

    <place>/base         the stages of the base configuration
    <place>/<searcher>   the search, and in best/ the student with the settings that it found
    <place>/<method>     anything else
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from experiments.grid import Columns, Place
from kdh_ray.cli.display import Display
from kdh_ray.config import RunConfig, StageConfig, load_config
from kdh_ray.results.method_rows import STEP
from kdh_ray.run_folder import RunFolder

Perform = Callable[[Place, Columns], object]
"""Function that trains or measures a method at a place and writes its row with the given columns."""
BASE = "base"
STUDENT = "student"
FINETUNED = "finetuned"


def stage(name: str) -> Perform:
    """Train a stage of the base configuration."""

    def perform(place: Place, columns: Columns) -> None:
        _run(place.config, place.folder / BASE, name, place, columns)

    return perform


def searched(searcher: str) -> Perform:
    """Train the student with the settings that a search finds."""

    def perform(place: Place, columns: Columns) -> None:
        from kdh_ray.jobs import search

        settings = place.config.tune.model_copy(update={"searcher": searcher, "stage": STUDENT})
        config = derived(place, searcher, {STUDENT: place.config.stages[STUDENT]}, tune=settings.model_dump())
        folder = place.folder / searcher
        with Display(config, folder, transient=True) as display:
            search(
                config, folder, resume=True, local=place.local, verbose=place.verbose,
                listener=display.on_event, on_trial=display.on_trial, columns=columns,
            )  # fmt: skip

    return perform


def searched_finetuned(searcher: str) -> Perform:
    """Fine-tune the student of :func:`searched` on labels."""

    def perform(place: Place, columns: Columns) -> None:
        start = str(_best(place, searcher).stage(STUDENT).checkpoint)
        last = place.config.stages[FINETUNED].model_copy(update={"start": start})
        name = f"{searcher}-{FINETUNED}"
        _run(derived(place, name, {FINETUNED: last}), place.folder / name, FINETUNED, place, columns)

    return perform


def changed(changes: Callable[[Place], Mapping[str, Any]] | Mapping[str, Any], searcher: str = "pso") -> Perform:
    """Train the student with the settings that a search found, except ``changes``, and fine-tune it on labels.

    Args:
        changes: Value of each changed setting of the stage (``loss.alpha``), or a function that returns them for a
            place.
        searcher: Searcher whose best settings are changed.
    """

    def perform(place: Place, columns: Columns) -> None:
        from kdh_ray.jobs.stage_search.space import configured

        best = load_config(_best(place, searcher).config).stages[STUDENT]
        student = configured(best, changes(place) if callable(changes) else changes)
        stages = {STUDENT: student, FINETUNED: place.config.stages[FINETUNED]}
        name = str(columns["method"])
        config, folder = derived(place, name, stages), place.folder / name
        # Only the row of the last stage finishes the cell, so that an interrupted one resumes.
        _run(config, folder, STUDENT, place, {**columns, "kind": STEP, "cell": None})
        _run(config, folder, FINETUNED, place, columns)

    return perform


def baseline(name: str) -> Perform:
    """Fit a linear model, on TF-IDF or on embeddings of the plain student's encoder."""

    def perform(place: Place, columns: Columns) -> None:
        from kdh_ray.data import corpus_from_config
        from kdh_ray.jobs.linear_baselines import write_baseline
        from kdh_ray.jobs.run_rows import run_id

        config, corpus = place.config, corpus_from_config(place.config.data)
        identity = run_id(config, columns["experiment"])
        encoder = config.stages["plain-student"].start
        write_baseline(config, corpus, name, place.folder / "baselines", identity, encoder, **columns)

    return perform


def derived(place: Place, name: str, stages: Mapping[str, StageConfig], **changes: Any) -> RunConfig:
    """Return a configuration of ``stages`` only, which reads the checkpoints of the place's other base stages."""
    name = f"{place.config.name}-{name}"
    return place.config.with_only(stages, lambda other: checkpoint(place, other), name=name, **changes)


def checkpoint(place: Place, stage: str) -> Path:
    """Return the folder of a base stage's checkpoint."""
    return RunFolder(place.folder / BASE).stage(stage).checkpoint


def _best(place: Place, searcher: str) -> RunFolder:
    """Return the run folder of the student with the settings that a search found."""
    return RunFolder(place.folder / searcher).best


def _run(config: RunConfig, folder: Path, stage: str, place: Place, columns: Columns) -> None:
    """Run one stage of a configuration in ``folder``."""
    from kdh_ray.jobs import run

    with Display(config, folder, transient=True) as display:
        run(
            config, folder, stages=[stage], local=place.local, verbose=place.verbose, listener=display.on_event,
            columns=columns,
        )  # fmt: skip
