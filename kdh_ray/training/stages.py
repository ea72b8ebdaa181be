"""A run's stages, in order: each trains one classifier, keeps its checkpoint, and is scored.

    <run>/stages/<name>/training      what is needed to go on after the last epoch; gone when the stage is finished
    <run>/stages/<name>/checkpoint    the classifier
    <run>/stages/<name>/predictions   logits of the validation and test splits, and document ids
    <run>/stages/<name>/result.json   scores; its presence says that the stage is finished

Nothing here knows Ray: the same code runs in the calling process and in every worker of a job.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kdh_ray import distributed as world
from kdh_ray.config import RunConfig, StageConfig
from kdh_ray.data.corpus import Corpus, Split
from kdh_ray.data.tokens import Tokens, tokenize
from kdh_ray.errors import CheckpointError
from kdh_ray.evaluation.score_columns import score_columns
from kdh_ray.events import EventLog
from kdh_ray.inference.forward import mean_prediction, predict
from kdh_ray.models.attention import select_attention
from kdh_ray.models.checkpoint import Card, build_classifier, load_card, load_checkpoint, save_checkpoint
from kdh_ray.models.classifier import Classifier, take_layers
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.training.examples import Documents, Prediction
from kdh_ray.training.loop import EpochReport, Hooks, Training
from kdh_ray.training.teacher_logits import teacher_prediction

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Material:
    """What a stage's training needs: the model at its start, tokens with labels and teacher logits, and a seed."""

    model: Classifier
    tokenizer: PreTrainedTokenizerBase
    train: Documents
    validation: Documents
    seed: int


@dataclass
class StageRunner:
    """Runs the stages of one configuration over one corpus.

    Attributes:
        config: The run.
        corpus: Its documents.
        folder: The run's folder, seen by every worker.
        precision: ``float32`` or ``bfloat16``.
        device: ``cpu`` or ``cuda``.
        events: Where progress goes; only rank 0's is written.
        on_epoch: Called by every worker with a stage's name and what an epoch of it gave.
    """

    config: RunConfig
    corpus: Corpus
    folder: Path
    precision: str = "float32"
    device: str = "cpu"
    events: EventLog = field(default_factory=EventLog)
    on_epoch: Callable[[str, EpochReport], None] = lambda stage, report: None

    def run(self, name: str) -> dict[str, Any]:
        """Run one stage, or go on with it, or read its result if it is finished; returns the result.

        Raises:
            CheckpointError: If a start, a teacher or a state to resume can't be used.
            UnavailableError: If an encoder is out of reach.
        """
        folder = self.stage_folder(name)
        finished = world.of_first(read_result(folder) if world.rank() == 0 else None)
        if finished is not None:
            return finished
        started, stage = datetime.now(UTC), self.config.stages[name]
        folder.mkdir(parents=True, exist_ok=True)
        if world.rank() == 0:
            self.events.write("start", name, host=platform.node(), pid=os.getpid(), workers=world.size())
        material = self.prepare(name, stage)
        training = Training(
            material.model, material.train, material.validation, stage,
            seed=material.seed, precision=self.precision, state=folder / "training", hooks=self._hooks(name),
        )  # fmt: skip
        history = training.run()
        tokens = {split: self._tokens(split, material.tokenizer, stage.max_tokens) for split in self.corpus.splits}
        result = self._score(name, material.model, material.tokenizer, tokens, history)
        result |= {
            "started": started.isoformat(timespec="seconds"),
            "device": self.device,
            "precision": self.precision,
            "workers": world.size(),
            "threads": torch.get_num_threads(),
        }
        if world.rank() == 0:
            _write_json(folder / "result.json", result)
            shutil.rmtree(folder / "training", ignore_errors=True)
            self.events.write("done", name, score=result["validation_f1_micro"], seconds=result["seconds"])
        world.gather(None)
        return result

    def prepare(self, name: str, stage: StageConfig) -> Material:
        """What ``stage``, by the name of ``name``, trains on and starts from.

        Raises:
            CheckpointError: If the start or a teacher can't be used.
            UnavailableError: If an encoder is out of reach.
        """
        seed = stage_seed(self.config.seed, name, stage)
        torch.manual_seed(seed)
        model, tokenizer = self._start(stage)
        teacher = self._teachers(stage, name) if stage.teachers else None
        train, validation = (self.corpus.splits[split] for split in ("train", "validation"))
        documents = Documents.of(train, self._tokens("train", tokenizer, stage.max_tokens), teacher)
        more = self.corpus.unlabelled
        if teacher is not None and more is not None:
            documents = documents.with_unlabelled(self._tokens(more.split, tokenizer, stage.max_tokens), more.logits)
        return Material(
            model,
            tokenizer,
            documents,
            Documents.of(validation, self._tokens("validation", tokenizer, stage.max_tokens)),
            seed,
        )

    def stage_folder(self, name: str) -> Path:
        """Where a stage keeps its files."""
        return self.folder / "stages" / name

    def _cache(self) -> Path:
        return self.config.cache or self.folder / "cache"

    def _source(self, reference: str) -> str:
        """The folder of an earlier stage's checkpoint, or the reference itself."""
        return str(self.stage_folder(reference) / "checkpoint") if reference in self.config.stages else reference

    def _start(self, stage: StageConfig) -> tuple[Classifier, PreTrainedTokenizerBase]:
        """The model before training. A checkpoint's heads are kept where its labels and segments are this run's."""
        source, labels = self._source(stage.start), list(self.corpus.labels)
        segments = self.config.data.segments and self.corpus.splits["train"].segments is not None
        model: Classifier | None = None
        if (Path(source) / "classifier.json").exists():
            loaded, card = load_checkpoint(Path(source), stage.dropout)
            if card.labels == labels and card.segments == segments:
                model = loaded
        if model is None:
            model = build_classifier(source, len(labels), segments, stage.dropout)
            model.start_from_priors(*label_rates(self.corpus))
        if stage.layers is not None:
            model = take_layers(model, stage.layers)
        select_attention(model.encoder, self.device, self.precision)
        return model.to(self.device), load_tokenizer(source)

    def _tokens(self, split: str | Split, tokenizer: PreTrainedTokenizerBase, max_tokens: int | None = None) -> Tokens:
        limit = max_tokens or self.config.data.max_tokens
        documents = self.corpus.splits[split] if isinstance(split, str) else split
        return tokenize(documents, tokenizer, limit, self._cache() / "tokens")

    def _teachers(self, stage: StageConfig, name: str) -> Prediction:
        """Mean prediction of the teachers over the training split, each with its own tokenizer."""
        predictions = []
        for reference in stage.teachers:
            folder = Path(self._source(reference))
            card = load_card(folder)
            check_labels(folder, card.labels, list(self.corpus.labels))
            documents = Documents.of(
                self.corpus.splits["train"], self._tokens("train", load_tokenizer(str(folder)), card.max_tokens)
            )
            progress = self._hooks(f"{name}: logits of {folder.parent.name}").on_step
            predictions.append(
                teacher_prediction(
                    folder, documents, list(self.corpus.splits["train"].ids), self._cache() / "logits",
                    precision=self.precision, device=self.device, progress=progress,
                )
            )  # fmt: skip
        return mean_prediction(predictions)

    def _score(
        self,
        name: str,
        model: Classifier,
        tokenizer: PreTrainedTokenizerBase,
        tokens: dict[str, Tokens],
        history: list[EpochReport],
    ) -> dict[str, Any]:
        """Choose the threshold on validation, save the checkpoint, and score both held-out splits."""
        predictions = {
            split: predict(model, Documents.of(self.corpus.splits[split], tokens[split]), precision=self.precision)
            for split in ("validation", "test")
        }
        result = {
            **score_held_out(self.corpus, {split: each.probabilities for split, each in predictions.items()}),
            "history": [asdict(report) for report in history],
            "seconds": sum(report.seconds for report in history),
            "documents_per_second": float(np.median([report.documents_per_second for report in history])),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        }
        if world.rank() == 0:
            folder = self.stage_folder(name)
            card = Card(
                labels=list(self.corpus.labels),
                thresholds=[result["threshold"]] * len(self.corpus.labels),
                max_tokens=self.config.stages[name].max_tokens or self.config.data.max_tokens,
                segments=model.segment_head is not None,
                corpus={"name": self.corpus.name, "fingerprint": self.corpus.fingerprint()},
                notes={"stage": name, "run": self.config.name, "seed": self.config.seed,
                       "validation_f1_micro": result["validation_f1_micro"]},
            )  # fmt: skip
            save_checkpoint(folder / "checkpoint", model, tokenizer, card)
            _save_predictions(folder / "predictions", self.corpus, predictions)
        return result

    def _hooks(self, stage: str) -> Hooks:
        def on_step(done: int, total: int) -> None:
            if world.rank() == 0:
                self.events.write("step", stage, done=done, total=total)

        def on_epoch(report: EpochReport) -> None:
            if world.rank() == 0:
                self.events.write("epoch", stage, **asdict(report), epochs=self.config.stages[stage].total_epochs)
            self.on_epoch(stage, report)

        return Hooks(on_step, on_epoch)


def score_held_out(corpus: Corpus, probabilities: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    """Scores of the ``validation`` and ``test`` probabilities, each (n_documents, n_labels); see ``score_columns``."""
    validation, test = ((corpus.splits[name].targets, probabilities[name]) for name in ("validation", "test"))
    return score_columns(validation, test, list(corpus.labels), corpus.metric)


def stage_seed(run_seed: int, name: str, stage: StageConfig) -> int:
    """The stage's own seed, or one made from the run's and the stage's name, so that ensemble members differ."""
    if stage.seed is not None:
        return stage.seed
    return int.from_bytes(hashlib.sha256(f"{run_seed}/{name}".encode()).digest()[:4], "big") >> 1


def label_rates(corpus: Corpus) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """(n_labels,) share of training documents, and of training segments, that have each label."""
    train = corpus.splits["train"]
    if train.segments is None:
        return train.targets.mean(0), None
    return train.targets.mean(0), np.concatenate(list(train.segments.targets)).mean(0)


def check_labels(folder: Path, received: list[str], expected: list[str]) -> None:
    """Refuse a checkpoint whose labels, or their order, are not the data's.

    Raises:
        CheckpointError: With the first place where they differ.
    """
    if len(received) != len(expected):
        raise CheckpointError(
            f"{folder}: a checkpoint must have the data's {len(expected)} labels; got {len(received)}"
        )
    for number, (theirs, ours) in enumerate(zip(received, expected, strict=True)):
        if theirs != ours:
            raise CheckpointError(
                f"{folder}: label {number} must be {ours!r} as in the data; the checkpoint has {theirs!r}"
            )


def classify(checkpoint: Path, split: Split, precision: str = "float32", device: str = "cpu") -> Prediction:
    """What a checkpoint says of a split's documents.

    Raises:
        CheckpointError: If the checkpoint can't be used.
    """
    model, card = load_checkpoint(checkpoint)
    tokens = tokenize(split, load_tokenizer(str(checkpoint)), card.max_tokens)
    return predict(model.to(device), Documents.of(split, tokens), precision=precision)


def read_result(folder: Path) -> dict[str, Any] | None:
    """A finished stage's result, or None."""
    file = folder / "result.json"
    if not file.exists():
        return None
    try:
        result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} can't be read ({error}); remove it to run the stage again") from None
    return result


def _save_predictions(folder: Path, corpus: Corpus, predictions: dict[str, Prediction]) -> None:
    folder.mkdir(exist_ok=True)
    for split, prediction in predictions.items():
        np.save(folder / f"{split}.npy", prediction.documents, allow_pickle=False)
        _write_json(folder / f"{split}-ids.json", list(corpus.splits[split].ids))


def _write_json(file: Path, content: Any) -> None:
    temporary = file.with_name(f".{file.name}-{os.getpid()}-{time.monotonic_ns()}")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, file)
