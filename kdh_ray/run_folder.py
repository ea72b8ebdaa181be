"""The folder of a run: where each of its files is.

    config.yaml                  the whole configuration, defaults included
    corpus.safetensors           digests of the corpus's documents, to notice changes; see kdh_ray.jobs.corpus_record
    events.jsonl                 progress; see kdh_ray.events
    stages/<name>/training       state after the last epoch, to resume from; removed when the stage is finished
    stages/<name>/checkpoint     the classifier
    stages/<name>/predictions    logits of the validation and test splits, and document ids
    stages/<name>/result.json    scores; written last, so its presence means that the stage is finished
    stages/<name>-1, -2, ...     the members of a stage that has several; its own folder has no checkpoint
    rows/                        one result row per stage and baseline
    search/                      the search for a stage's settings: its trials and their rows
    best/                        the best configuration of the search, as a run of its own
    cache/                       tokens and teacher logits
    ray/                         files of Ray Train

All other modules ask these classes for a path.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdh_ray.errors import CheckpointError

_STAGES = "stages"
_PREDICTIONS = "predictions"


@dataclass(frozen=True)
class StageFolder:
    """The folder of one stage of a run."""

    path: Path

    @property
    def checkpoint(self) -> Path:
        """Folder of the trained classifier."""
        return self.path / "checkpoint"

    @property
    def predictions(self) -> Path:
        """Folder of the logits of the held-out splits."""
        return self.path / _PREDICTIONS

    @property
    def training(self) -> Path:
        """Folder of the state that an interrupted stage resumes from."""
        return self.path / "training"

    @staticmethod
    def facts_in(training: Path) -> Path:
        """File of a ``training`` folder that says how a trial of a search trained the stage, if one did."""
        return training / "trial.json"

    def read_facts(self) -> dict[str, Any]:
        """Return what a trial of a search recorded of the training; nothing of any other."""
        try:
            facts: dict[str, Any] = json.loads(self.facts_in(self.training).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return facts

    @property
    def result(self) -> Path:
        """File of the scores."""
        return self.path / "result.json"

    @property
    def finished(self) -> bool:
        """True once the stage is trained and scored."""
        return self.result.exists()

    def read_result(self) -> dict[str, Any] | None:
        """Return the scores of a finished stage, None for any other.

        Raises:
            CheckpointError: If the file can't be read.
        """
        if not self.finished:
            return None
        try:
            result: dict[str, Any] = json.loads(self.result.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.result} can't be read ({error}); remove it to run the stage again") from None
        return result


@dataclass(frozen=True)
class SearchFolder:
    """The folder of a search: its ledger (see ``kdh_ray.tuning``), the files of trackers, a row and the validation
    logits of each trial, and the weights of the best until its stage has them.
    """

    path: Path

    @property
    def rows(self) -> Path:
        """Folder of the trials' rows."""
        return self.path / "rows"

    @property
    def choice(self) -> Path:
        """File that says which configuration was chosen, and by how much it is better than the stage's own."""
        return self.path / "choice.json"

    @property
    def all_weights(self) -> Path:
        """Folder of the weights of finished trials; see ``kdh_ray.jobs.stage_search.trial_weights``."""
        return self.path / "weights"

    def weights(self, trial: int) -> Path:
        """Folder of the weights that a trial has trained."""
        return self.all_weights / f"trial-{trial:04d}"

    def model_weights(self, trial: int, fold: int) -> Path:
        """Folder of the weights of a trial's model of a fold; of its only one if ``fold`` is 0 and there are none."""
        return self.weights(trial) / f"model-{fold + 1}"

    def predictions(self, trial: int) -> Path:
        """File of a trial's validation logits, (n_documents, n_labels) float16, of its best epoch."""
        return self.path / "predictions" / f"trial-{trial:04d}.npy"

    def all_predictions(self) -> list[Path]:
        """Return the files of all trials' validation logits, by number."""
        return sorted(self.path.glob("predictions/trial-*.npy"))


class RunFolder:
    """The folder of a run, which need not exist yet.

    >>> RunFolder("/runs/my-notes").stage("student").checkpoint.as_posix()
    '/runs/my-notes/stages/student/checkpoint'

    Args:
        path: Relative to the working directory; ``~`` is expanded.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path).expanduser().absolute()

    def __fspath__(self) -> str:
        return str(self.path)

    def __str__(self) -> str:
        return str(self.path)

    @classmethod
    def of_checkpoint(cls, checkpoint: Path) -> RunFolder:
        """Return the run whose stage has this folder of a checkpoint or of predictions."""
        return cls(
            [checkpoint.absolute(), *checkpoint.absolute().parents[:3]][-1]
        )  # a path near the root has fewer parents

    @classmethod
    def with_predictions(cls, folder: str | os.PathLike[str]) -> list[RunFolder]:
        """Return the runs at or below ``folder`` that have predictions, sorted by path."""
        found = Path(folder).rglob(f"{_STAGES}/*/{_PREDICTIONS}")
        return [cls(path) for path in sorted({predictions.absolute().parents[2] for predictions in found})]

    def stage(self, name: str) -> StageFolder:
        """Return the folder of the stage ``name``."""
        return StageFolder(self.path / _STAGES / name)

    def finished_stages(self) -> list[StageFolder]:
        """Return the folders of all stages that are trained and scored, sorted by name."""
        folders = (StageFolder(path) for path in sorted(self.path.glob(f"{_STAGES}/*")))
        return [folder for folder in folders if folder.finished]

    @property
    def config(self) -> Path:
        """File of the configuration."""
        return self.path / "config.yaml"

    @property
    def corpus(self) -> Path:
        """File that says which documents the corpus had, without their texts."""
        return self.path / "corpus.safetensors"

    @property
    def events(self) -> Path:
        """File of the progress."""
        return self.path / "events.jsonl"

    @property
    def rows(self) -> Path:
        """Folder of the result rows of stages and baselines."""
        return self.path / "rows"

    @property
    def search(self) -> SearchFolder:
        """Folder of the search for a stage's settings."""
        return SearchFolder(self.path / "search")

    @property
    def best(self) -> RunFolder:
        """Run of the best configuration that the search found."""
        return RunFolder(self.path / "best")

    @property
    def cache(self) -> Path:
        """Folder of tokens and teacher logits, unless the configuration names another one."""
        return self.path / "cache"

    @property
    def ray(self) -> Path:
        """Folder of Ray Train's files."""
        return self.path / "ray"
