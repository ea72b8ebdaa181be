"""The training loop: plain PyTorch, one or several workers, resumable after any epoch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from kdh_ray import distributed
from kdh_ray.config import LossConfig, StageConfig
from kdh_ray.data.reading import Combination
from kdh_ray.errors import UserError
from kdh_ray.evaluation.metrics import score
from kdh_ray.evaluation.thresholds import tune_global
from kdh_ray.hardware import release_freed_memory, resident_memory
from kdh_ray.inference.forward import forward
from kdh_ray.models.classifier import Classifier, freeze_layers
from kdh_ray.training.examples import Examples, collate, grouped_batches
from kdh_ray.training.losses import Batch, loss_terms
from kdh_ray.training.optimiser import make_optimiser, set_rate
from kdh_ray.training.state import TrainingState

_SCORES = ("f1_micro", "f1_macro", "average_precision_micro", "log_loss")
HEAP_GROWTH = 2 * 2**30  # bytes that the heap may grow before freed memory is returned, which takes about 7 % of a step


@dataclass(frozen=True)
class EpochReport:
    """Results of one epoch.

    Attributes:
        epoch: From 1.
        score: Validation micro F1 at its best global threshold, of the averaged weights if weights are averaged; NaN,
            like the other scores, without a validation split.
        f1_macro: Validation macro F1 at the same threshold.
        average_precision: Of validation, over all pairs of document and label; NaN in reports of earlier versions.
        log_loss: Of validation; NaN in reports of earlier versions.
        best: Whether no earlier epoch had a higher ``score``; always without one.
        losses: Name to mean of each training loss term, before weighting.
        seconds: Of training and validation.
        documents_per_second: Of training without validation, over all workers.
    """

    epoch: int
    score: float
    f1_macro: float
    best: bool
    losses: Mapping[str, float]
    seconds: float
    documents_per_second: float
    average_precision: float = float("nan")
    log_loss: float = float("nan")


@dataclass(frozen=True)
class Hooks:
    """Callbacks of a training. ``on_step`` receives (documents done, documents to do) of the whole stage."""

    on_step: Callable[[int, int], None] = lambda done, total: None
    on_epoch: Callable[[EpochReport], None] = lambda report: None


class Objective(nn.Module):
    """A classifier together with its loss, so that data-parallel training sees one forward pass."""

    def __init__(self, classifier: Classifier, config: LossConfig, teacher_width: int | None, weights: Tensor | None):
        super().__init__()
        self.classifier = classifier
        self.config = config
        self.positive_weights: Tensor | None
        # A buffer moves to the device with the module. No state stores it, since it is computed from the data again.
        self.register_buffer("positive_weights", weights, persistent=False)
        wanted = config.hidden_weight > 0 and teacher_width is not None
        width = classifier.encoder.config.hidden_size
        self.labels_only = False
        # (n_documents, hidden) -> (n_documents, hidden of the teacher)
        self.projection = nn.Linear(width, teacher_width, bias=False) if wanted and teacher_width else None

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """See ``loss_terms``."""
        output = self.classifier(batch.input_ids, batch.attention_mask, batch.segment_numbers)
        projected = None if self.projection is None else self.projection(output.pooled)
        terms = loss_terms(output, batch, self.config, self.positive_weights, projected)
        if self.labels_only:  # the other terms stay in the graph: data-parallel training needs every parameter used
            terms["total"] = terms["hard"] + 0.0 * terms["total"]
        return terms


class Training:
    """One stage's training of one classifier.

    Args:
        classifier: Trained in place; after ``run`` it holds the weights of the best epoch.
        train: Documents that are cut at the stage's maximum length, with the teachers' logits.
        validation: Documents, whole or in windows. None: no epoch is validated, and the last one's weights are kept.
        config: The stage.
        seed: Of the order of documents and of dropout. Each epoch draws from its own generator, so that a resumed run
            continues exactly as an uninterrupted one.
        combine: How the logits of a validation document's windows become the document's.
        precision: ``bfloat16`` runs forward and backward under autocast; weights stay float32.
        state: Folder for the state that a resumed training needs, or None.
        hooks: Callbacks.
        last_epoch: The training ends after this epoch; its rates are those of the whole training all the same.
    """

    def __init__(
        self,
        classifier: Classifier,
        train: Examples,
        validation: Examples | None,
        config: StageConfig,
        *,
        seed: int,
        combine: Combination = "max",
        precision: str = "float32",
        state: Path | None = None,
        hooks: Hooks | None = None,
        last_epoch: int | None = None,
    ) -> None:
        self.classifier = classifier
        self.train = train
        self.validation = validation
        self.config = config
        self.seed = seed
        self.combine = combine
        self.precision = precision
        self.hooks = hooks or Hooks()
        self.epochs = last_epoch or config.total_epochs
        self.device = next(classifier.parameters()).device
        freeze_layers(classifier, config.freeze)
        torch.manual_seed(seed)  # the projection's initial weights
        teacher_width = None if train.teacher is None else train.teacher.pooled.shape[1]
        weights = _positive_weights(train.targets).to(self.device) if config.loss.class_weights else None
        self._objective = Objective(classifier, config.loss, teacher_width, weights).to(self.device)
        self.objective = distributed.parallel(self._objective)
        self.optimiser = make_optimiser(self._objective, classifier, config)
        self.average: AveragedModel | None = None
        if config.average:
            # average <- a average + (1 - a) weights after every step, with a = config.average
            averaging = get_ema_multi_avg_fn(config.average)  # type: ignore[no-untyped-call]
            self.average = AveragedModel(classifier, multi_avg_fn=averaging)
        self.history: list[EpochReport] = []
        self.best_logits: NDArray[np.float32] | None = None  # of validation, if this process ran the best epoch
        self._last_logits: NDArray[np.float32] | None = None
        self._resident = resident_memory()
        self.state = None if state is None else TrainingState(state, self._objective, self.optimiser, self.average)

    def run(self) -> list[EpochReport]:
        """Train to the end, or until the score has not risen for ``patience`` epochs; return every epoch's report."""
        self._resume()
        best = _copy(self.validated_model()) if self.state is None else None
        while not self.finished:
            report = self.advance()
            if report.best and self.state is None:
                best = _copy(self.validated_model())
            if self.state is not None and distributed.rank() == 0:
                best_now = self.validated_model() if report.best else None
                self.state.save([asdict(entry) for entry in self.history], best_now, last=self.finished)
            self.hooks.on_epoch(report)
        weights = best if self.state is None else self.state.best_weights(self._newest(self.state))
        if weights is not None:
            self.classifier.load_state_dict(weights)
        return self.history

    def advance(self) -> EpochReport:
        """Train one epoch and validate."""
        report = self._epoch(len(self.history) + 1)
        self.history.append(report)
        return report

    @property
    def finished(self) -> bool:
        """Return True if every epoch is done, or the score has not risen for ``patience`` of them."""
        return len(self.history) >= self.epochs or self._out_of_patience()

    @property
    def documents_trained(self) -> int:
        """Documents that the epochs so far have trained on, each counted once an epoch."""
        return self._documents_of(len(self.history))

    def _documents_of(self, epochs: int) -> int:
        """Return the documents of the first epochs together."""
        whole = min(epochs, self.config.epochs)  # epochs on labels and teacher logits; further ones are on labels only
        return whole * self.train.epoch_length(False) + (epochs - whole) * self.train.epoch_length(True)

    def _resume(self) -> None:
        if self.state is None:
            return
        self.history = [EpochReport(**entry) for entry in self.state.restore(self._newest(self.state))]

    def _newest(self, state: TrainingState) -> str | None:
        """Return the last epoch that rank 0 has saved, the same for every worker."""
        return distributed.of_first(state.newest() if distributed.rank() == 0 else None)

    def _out_of_patience(self) -> bool:
        best = max((entry.epoch for entry in self.history if entry.best), default=0)
        return bool(self.config.patience) and len(self.history) - best >= self.config.patience

    def validated_model(self) -> Classifier:
        """Return the model that is validated and kept: the averaged one if weights are averaged."""
        return self.classifier if self.average is None else cast(Classifier, self.average.module)

    def _epoch(self, epoch: int) -> EpochReport:
        started = perf_counter()
        losses, rate = self.train_epoch(epoch)
        reached = dict.fromkeys(_SCORES, float("nan")) if self.validation is None else self._validate(self.validation)
        reached_f1 = reached["f1_micro"]
        best = self.validation is None or reached_f1 > max((entry.score for entry in self.history), default=-1.0)
        if best:
            self.best_logits = self._last_logits
        return EpochReport(
            epoch=epoch,
            score=reached_f1,
            f1_macro=reached["f1_macro"],
            average_precision=reached["average_precision_micro"],
            log_loss=reached["log_loss"],
            best=best,
            losses=losses,
            seconds=perf_counter() - started,
            documents_per_second=rate,
        )

    def train_epoch(self, epoch: int) -> tuple[dict[str, float], float]:
        """Train on every document once; in a fine-tuning epoch, on every labelled document and its labels only.

        Epochs count from 1.

        Returns:
            The mean loss terms, and training documents per second.
        """
        started = perf_counter()
        # Dropout differs between workers; the order of documents, drawn below, must be the same on all of them.
        torch.manual_seed(self.seed * 1_000_003 + epoch * 1_009 + distributed.rank())
        generator = np.random.default_rng([self.seed, epoch])
        self.objective.train()
        before = self.config.epochs if epoch > self.config.epochs else 0  # epochs of the phases before this one
        phase = self.config.finetune_epochs if before else self.config.epochs
        self._objective.labels_only = bool(before)
        chosen = self.train.of_epoch(generator, labelled_only=bool(before))
        batches = grouped_batches(self.train.tokens.lengths[chosen], self.config.batch_size, generator)
        sums: dict[str, Tensor] = {}  # on the device: a number read at each step would make a GPU wait for this process
        done, total = self._documents_of(epoch - 1), self._documents_of(self.epochs)
        for step, batch in enumerate(batches, start=(epoch - before - 1) * len(batches)):
            set_rate(self.optimiser, step, phase * len(batches), self.config.warmup)  # a schedule per phase
            for name, value in self._step([int(i) for i in chosen[batch]]).items():
                sums[name] = value * len(batch) + sums.get(name, 0.0)  # batches may be shorter
            self._return_freed_memory()
            done += len(batch)
            self.hooks.on_step(done, total)
        losses = {name: float(value) / len(chosen) for name, value in sums.items()}
        return losses, len(chosen) / (perf_counter() - started)

    def _return_freed_memory(self) -> None:
        if self.device.type == "cpu" and resident_memory() > self._resident + HEAP_GROWTH:
            release_freed_memory()
            self._resident = resident_memory()

    def _step(self, indices: Sequence[int]) -> dict[str, Tensor]:
        """Take one optimiser step over a batch, in ``accumulate`` passes; return its mean loss terms, float64."""
        mine = distributed.share(indices)
        labelled = self._labelled_share(indices)
        size = -(-len(mine) // self.config.accumulate)  # documents per pass, rounded up
        sums: dict[str, Tensor] = {}
        for start in range(0, len(mine), size):
            part = mine[start : start + size]
            batch = collate(self.train, part, self.classifier.pad_id, self.device)
            batch.labelled = self._labelled_share(part) / labelled if labelled else 1.0
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
                terms = self.objective(batch)
            # Weighted so that the gradients of the parts add up to the gradient of the mean over this worker's share.
            (terms["total"] * (len(part) / len(mine))).backward()
            for name, value in terms.items():
                sums[name] = value.detach().double() * (len(part) / len(mine)) + sums.get(name, 0.0)
        nn.utils.clip_grad_norm_(self.objective.parameters(), self.config.max_grad_norm)
        self.optimiser.step()
        self.optimiser.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update_parameters(self.classifier)
        return sums

    def _labelled_share(self, indices: Sequence[int]) -> float:
        """Return the share of the documents that have labels."""
        return float(self.train.has_labels[list(indices)].mean())

    def _validate(self, validation: Examples) -> Mapping[str, float]:
        """Return every metric of the validation split, at the threshold with the highest micro F1; keep its logits."""
        logits = forward(self.validated_model(), validation.tokens, combine=self.combine, precision=self.precision)
        probabilities = logits.probabilities  # (n_documents, n_labels)
        if not np.isfinite(probabilities).all():  # the same on every worker, which a loss need not be
            raise UserError(
                f"training diverged in epoch {len(self.history) + 1}: the model's outputs are not finite;"
                " lower learning_rate or head_multiplier, or raise warmup"
            )
        self._last_logits = logits.documents
        return score(validation.targets, probabilities, tune_global(validation.targets, probabilities))


def _positive_weights(targets: NDArray[np.float32]) -> Tensor:
    """Return (n_labels,) sqrt(negatives / positives), at most 10; 1 for a label without positives."""
    targets = targets[np.isfinite(targets).all(1)]  # leaves out documents without labels
    positives = targets.sum(0)  # (n_labels,)
    weights = np.sqrt((len(targets) - positives) / np.maximum(positives, 1))
    return torch.tensor(np.where(positives > 0, np.minimum(weights, 10.0), 1.0), dtype=torch.float32)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.state_dict().items()}
