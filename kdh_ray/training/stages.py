"""The stages of a run, in order: each trains one classifier, stores its checkpoint, and is scored; some are the mean of
their parts.

``kdh_ray.run_folder`` says where a stage's files are. Nothing here knows Ray: the same code runs in the calling
process and in every worker of a job.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from kdh_ray import distributed
from kdh_ray.config import DataConfig, RunConfig, StageConfig
from kdh_ray.data.corpus import Corpus
from kdh_ray.data.reading import Reading
from kdh_ray.data.segmenter import Segmenter
from kdh_ray.data.tokens import Tokens, tokenize
from kdh_ray.events import EventLog
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.inference.logits import Logits, mean_logits
from kdh_ray.inference.scoring import check_labels, score_classifier
from kdh_ray.models.attention import select_attention
from kdh_ray.models.checkpoint import (
    Card,
    build_classifier,
    check_pooling,
    load_card,
    load_checkpoint,
    save_checkpoint,
)
from kdh_ray.models.classifier import Classifier, take_layers
from kdh_ray.models.encoders import load_tokenizer
from kdh_ray.models.training_documents import TrainingDocuments
from kdh_ray.models.trial_pass import usable_precision
from kdh_ray.run_folder import RunFolder, StageFolder
from kdh_ray.training.documents import documents_of_stage, is_refit
from kdh_ray.training.ensemble import costs_with, ensemble_result, mean_predictions, out_of_fold, typical_best_epoch
from kdh_ray.training.examples import Examples
from kdh_ray.training.loop import EpochReport, Hooks, Training
from kdh_ray.training.teacher_logits import teacher_logits
from kdh_ray.training.unlabelled import predicted_by

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Material:
    """The input of a stage's training.

    Attributes:
        model: At its start.
        tokenizer: The encoder's own.
        train: Documents cut at the stage's maximum length, with teacher logits.
        validation: Whole documents, as raw text; :meth:`read` makes the windows of a reading.
        reading: How the classifier reads raw text.
        seed: The stage's own.
        precision: ``float32`` or ``bfloat16``.
    """

    model: Classifier
    tokenizer: PreTrainedTokenizerBase
    train: Examples
    validation: Examples
    reading: Reading
    seed: int
    precision: str

    def read(self, max_tokens: int | None = None) -> Examples:
        """Return the validation documents in windows of ``max_tokens``, by default those of the reading."""
        windows = self.validation.tokens.windows(max_tokens or self.reading.max_tokens, self.reading.overlap)
        return Examples(windows, self.validation.targets)


@dataclass
class StageRunner:
    """Runs the stages of one configuration over one corpus.

    Attributes:
        config: The run.
        corpus: Its documents.
        folder: The run's folder, visible to every worker.
        precision: ``float32`` or ``bfloat16``; a stage whose encoder can't be trained in bfloat16 takes float32.
        device: ``cpu`` or ``cuda``.
        events: Receives progress; only rank 0 writes.
        on_epoch: Called by every worker with a stage's name and the report of an epoch.
    """

    config: RunConfig
    corpus: Corpus
    folder: Path
    precision: str = "float32"
    device: str = "cpu"
    events: EventLog = field(default_factory=EventLog)
    on_epoch: Callable[[str, EpochReport], None] = lambda stage, report: None

    def run(self, name: str) -> dict[str, Any]:
        """Run one stage, resume it, or read its result if it is finished; return the result.

        Raises:
            CheckpointError: If a start, a teacher or a state to resume can't be used.
            UnavailableError: If an encoder is out of reach.
        """
        folder = self._stage_folder(name)
        finished = distributed.of_first(folder.read_result() if distributed.rank() == 0 else None)
        if finished is not None:
            return finished
        folder.path.mkdir(parents=True, exist_ok=True)
        stage, runner = self.config.stages[name], self.on_documents_of(name)
        result = runner._average(name) if self.config.is_mean(name) else runner._train(name, stage)
        if distributed.rank() == 0:
            _write_json(folder.result, result)
            shutil.rmtree(folder.training, ignore_errors=True)
        kept = [report["epoch"] for report in result.get("history", ()) if report["best"]]
        epoch = {"epoch": kept[-1]} if kept else {}
        self._write("done", name, score=result["validation_f1_micro"], seconds=result["seconds"], **epoch)
        distributed.gather(None)  # nobody continues before the result is written
        return result

    def on_documents_of(self, name: str) -> StageRunner:
        """Return this runner on the documents of a stage, with the unlabelled text that it learns from."""
        corpus = documents_of_stage(self.config, name, self.corpus)
        taught_by = self.config.unlabelled_teachers(name)
        if corpus.pool is not None and taught_by and not self.config.is_mean(name):
            checkpoints, cache = self._checkpoints(taught_by), self._cache()
            more = predicted_by(corpus.pool, checkpoints, cache, self.config.precision, corpus.labels)
            corpus = replace(corpus, unlabelled=more)
        return replace(self, corpus=corpus)

    def _fold_models(self, name: str) -> list[StageFolder]:
        """Return the folders of the models that judge a stage which is refit on all documents; none for another."""
        parts = self.config.parts(name) if is_refit(self.config, name, self.corpus) else []
        return [self._stage_folder(part) for part in parts]

    def _train(self, name: str, stage: StageConfig) -> dict[str, Any]:
        """Train a stage to its end, and return its result."""
        started = datetime.now(UTC)
        self._write("start", name, host=platform.node(), pid=os.getpid(), workers=distributed.size())
        material = self.prepare(name, stage)
        parts = self._fold_models(name)
        last_epoch = typical_best_epoch(parts) if parts else None
        training = Training(
            material.model, material.train, None if parts else material.read(), stage, seed=material.seed,
            combine=material.reading.combine, precision=material.precision, state=self._stage_folder(name).training,
            hooks=self._hooks(name, last_epoch), last_epoch=last_epoch,
        )  # fmt: skip
        history = training.run()
        facts = {
            "started": started.isoformat(timespec="seconds"),
            "device": self.device,
            "precision": material.precision,
            "workers": distributed.size(),
            "threads": torch.get_num_threads(),
            **self._stage_folder(name).read_facts(),
        }
        learnt = {
            **self.corpus.identity.columns(),
            "documents_trained": training.documents_trained,
            **self._unlabelled_facts(stage),
        }
        if last_epoch:
            learnt["refit_epochs"] = last_epoch
        result = self._score(name, material, history) | learnt | facts
        return result | costs_with(parts, result)

    def _average(self, name: str) -> dict[str, Any]:
        """Score the mean logits of a stage's parts, and return its result; fold models each score their own fold."""
        self._write("start", name, host=platform.node(), pid=os.getpid(), workers=distributed.size())
        parts = {part: self._stage_folder(part) for part in self.config.parts(name)}
        is_fold = all(self.config.stages[part].fold for part in parts)
        logits = mean_predictions(list(parts.values()), self.corpus, of_folds=is_fold)
        if distributed.rank() == 0:
            _save_predictions(self._stage_folder(name).predictions, self.corpus, logits)
        return ensemble_result(parts, self.corpus, logits)

    def prepare(self, name: str, stage: StageConfig) -> Material:
        """Return the input of ``stage``, which has the seed of the stage ``name``.

        Raises:
            CheckpointError: If the start or a teacher can't be used.
            UnavailableError: If an encoder is out of reach.
        """
        seed = stage_seed(self.config.seed, name, stage)
        torch.manual_seed(seed)
        reading = stage_reading(self.config.data, stage, self.corpus)
        model, tokenizer = self._start(stage, reading)
        precision = usable_precision(model.encoder, self.precision, self.device)
        if precision != self.precision:
            kind = model.encoder.config.model_type
            self._write("note", name, text=f"{name}: trained in {precision}, since {kind} can't be in {self.precision}")
        select_attention(model.encoder, self.device, precision)
        teacher = self._teachers(stage, name) if stage.teachers else None
        train, validation = (self.corpus.splits[split] for split in ("train", "validation"))
        whole = tokenize(reading.divided(train.annotated()), tokenizer, self._cache() / "tokens")
        self._note_cut(name, whole, reading)
        examples = Examples.of(train, whole.cut(reading.max_tokens), teacher)
        if teacher is not None and (unlabelled := self.corpus.unlabelled) is not None:
            more = tokenize(reading.divided(unlabelled.texts), tokenizer, self._cache() / "tokens")
            self._note_cut(name, more, reading, "unlabelled")
            examples = examples.with_unlabelled(more.cut(reading.max_tokens), unlabelled.logits, unlabelled.sample)
        held_out = tokenize(reading.divided(validation.raw()), tokenizer, self._cache() / "tokens")
        validated = Examples(held_out, validation.targets.astype(np.float32))
        return Material(model, tokenizer, examples, validated, reading, seed, precision)

    def _stage_folder(self, name: str) -> StageFolder:
        return RunFolder(self.folder).stage(name)

    def _cache(self) -> Path:
        return self.config.cache or RunFolder(self.folder).cache

    def _source(self, reference: str) -> str:
        """Return the folder of an earlier stage's checkpoint, of its first model if it is a mean; or the reference."""
        if reference not in self.config.stages:
            return reference
        return str(self._stage_folder(self.config.models(reference)[0]).checkpoint)

    def _checkpoints(self, references: Iterable[str]) -> list[Path]:
        """Return the folders of checkpoints behind stages and references, of a mean those of its parts."""
        return self.config.checkpoints(references, lambda name: self._stage_folder(name).checkpoint)

    def _start(self, stage: StageConfig, reading: Reading) -> tuple[Classifier, PreTrainedTokenizerBase]:
        """Return the model before training. A checkpoint's heads are kept if its labels and segments are this run's."""
        source, labels = self._source(stage.start), list(self.corpus.labels)
        segments = reading.segmenter.rule != "none"
        check_pooling(source, stage.pooling)
        model: Classifier | None = None
        if (Path(source) / "classifier.json").exists():
            loaded, card = load_checkpoint(Path(source), stage.dropout)
            if card.labels == labels and card.segments == segments:
                model = loaded
        if model is None:
            model = build_classifier(source, len(labels), segments, stage.dropout, stage.pooling)
            model.start_from_priors(*label_rates(self.corpus))
        if stage.layers is not None:
            model = take_layers(model, stage.layers)
        return model.to(self.device), load_tokenizer(source)

    def _teachers(self, stage: StageConfig, name: str) -> Logits:
        """Return the teachers' mean logits for the training split; each reads it in its own way."""
        found = []
        for folder in self._checkpoints(stage.teachers):
            check_labels(folder, load_card(folder).labels, list(self.corpus.labels))
            progress = self._hooks(f"{name}: logits of {folder.parent.name}").on_step
            train = self.corpus.splits["train"].annotated()
            found.append(
                teacher_logits(
                    folder, train, self._cache(), precision=self.precision, device=self.device, progress=progress
                )
            )
        return mean_logits(found)

    def _score(self, name: str, material: Material, history: list[EpochReport]) -> dict[str, Any]:
        """Choose the threshold on validation, save the checkpoint, and score both held-out splits as raw text."""
        labels = list(self.corpus.labels)
        classifier = TextClassifier(
            # Thresholds of 0.5 are placeholders: the card below has the one that is chosen on validation.
            material.model, material.tokenizer, labels, [0.5] * len(labels), material.reading,
            precision=material.precision, device=self.device,
        )  # fmt: skip
        parts = self._fold_models(name)
        validated = out_of_fold(parts, self.corpus) if parts else None
        scores, logits = score_classifier(classifier, self.corpus, self._cache() / "tokens", validated)
        result = {
            **scores,
            "history": [asdict(report) for report in history],
            "seconds": sum(report.seconds for report in history),
            "documents_per_second": float(np.median([report.documents_per_second for report in history])),
            "parameters": sum(parameter.numel() for parameter in material.model.parameters()),
        }
        if distributed.rank() == 0:
            folder = self._stage_folder(name)
            card = Card(
                labels=labels,
                thresholds=[result["threshold"]] * len(labels),
                max_tokens=material.reading.max_tokens,
                segments=material.model.segment_head is not None,
                pooling=material.model.pooling,
                corpus={
                    "name": self.corpus.name,
                    "fingerprint": self.corpus.fingerprint(),
                    "whole": self.corpus.identity.fingerprint,
                },
                notes={"stage": name, "run": self.config.name, "seed": self.config.seed, **self._stated_language(),
                       **self._unlabelled_facts(self.config.stages[name]),
                       ("out_of_fold_f1_micro" if parts else "validation_f1_micro"): result["validation_f1_micro"]},
            ).reads(material.reading)  # fmt: skip
            documents = self._documents(name, self.config.stages[name])
            save_checkpoint(folder.checkpoint, material.model, material.tokenizer, card, documents)
            _save_predictions(folder.predictions, self.corpus, logits)
        return result

    def _unlabelled_facts(self, stage: StageConfig) -> dict[str, Any]:
        """Return how many unlabelled documents teach a stage, and what predicted them; nothing if none do."""
        unlabelled = self.corpus.unlabelled
        if unlabelled is None or not stage.teachers:
            return {}
        taught_by = ", ".join(unlabelled.teachers)
        return {"unlabelled_documents": len(unlabelled.texts), "unlabelled_taught_by": taught_by}

    def _stated_language(self) -> dict[str, str]:
        """Return the texts' language if the configuration names it; its default only divides texts into sentences."""
        data = self.config.data
        return {"language": data.language} if "language" in data.model_fields_set else {}

    def _documents(self, name: str, stage: StageConfig) -> TrainingDocuments:
        """Return what a stage has learnt from: this corpus, and what its start and its teachers learnt from."""
        taught_by = (*stage.teachers, *self.config.unlabelled_teachers(name))
        folders = [Path(self._source(stage.start)), *self._checkpoints(taught_by)]
        checkpoints = [folder for folder in folders if (folder / "classifier.json").exists()]
        return TrainingDocuments.of(self.corpus, [TrainingDocuments.load(folder) for folder in checkpoints])

    def _note_cut(self, name: str, tokens: Tokens, reading: Reading, kind: str = "training") -> None:
        """Report how many documents are longer than the stage reads; each is cut, which is not silent."""
        longer = int((tokens.lengths > reading.max_tokens).sum())
        if longer:
            text = f"{name}: {longer} of {len(tokens)} {kind} documents are cut at {reading.max_tokens} tokens"
            self._write("note", name, text=text)

    def _write(self, kind: str, stage: str, **values: Any) -> None:
        if distributed.rank() == 0:
            self.events.write(kind, stage, **values)

    def _hooks(self, stage: str, last_epoch: int | None = None) -> Hooks:
        def on_step(done: int, total: int) -> None:
            self._write("step", stage, done=done, total=total)

        def on_epoch(report: EpochReport) -> None:
            epochs = last_epoch or self.config.stages[stage].total_epochs
            self._write("epoch", stage, **asdict(report), epochs=epochs)
            self.on_epoch(stage, report)

        return Hooks(on_step, on_epoch)


def stage_reading(data: DataConfig, stage: StageConfig, corpus: Corpus) -> Reading:
    """Return how the classifier of a stage reads raw text.

    ``data.segmenter: auto`` divides texts into sentences if the corpus has labelled parts, and reads them whole
    otherwise.
    """
    has_parts = corpus.splits["train"].segments is not None
    rule = data.segmenter
    if not data.segments or (rule == "auto" and not has_parts):
        rule = "none"
    segmenter = Segmenter("sentences" if rule == "auto" else rule, data.language)
    return Reading(stage.max_tokens or data.max_tokens, segmenter, data.window_overlap, data.window_logits)


def stage_seed(run_seed: int, name: str, stage: StageConfig) -> int:
    """Return the stage's own seed, or one made from the run's seed and the stage's name, so that ensemble members
    differ.
    """
    if stage.seed is not None:
        return stage.seed
    # 31 bits, so that the seed is a non-negative 32-bit integer.
    return int.from_bytes(hashlib.sha256(f"{run_seed}/{name}".encode()).digest()[:4], "big") >> 1


def label_rates(corpus: Corpus) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
    """Return (n_labels,) share of training documents, and of training segments, that have each label."""
    train = corpus.splits["train"]
    if train.segments is None:
        return train.targets.mean(0), None
    return train.targets.mean(0), np.concatenate(list(train.segments.targets)).mean(0)


def _save_predictions(folder: Path, corpus: Corpus, predictions: Mapping[str, NDArray[np.float32]]) -> None:
    """Write the (n_documents, n_labels) logits of each split, and the ids of its documents."""
    folder.mkdir(exist_ok=True)
    for split, logits in predictions.items():
        np.save(folder / f"{split}.npy", logits, allow_pickle=False)
        _write_json(folder / f"{split}-ids.json", list(corpus.splits[split].ids))


def _write_json(file: Path, content: Any) -> None:
    temporary = file.with_name(f".{file.name}-{os.getpid()}-{time.monotonic_ns()}")
    temporary.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(temporary, file)
