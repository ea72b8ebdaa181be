"""Facts about a classifier for its model card: scores with intervals, calibration, corpus, encoder, licences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray import __version__
from kdh_ray.config import RunConfig, load_run_config
from kdh_ray.data.corpus import SPLIT_NAMES, Corpus
from kdh_ray.data.folds import is_divided, refit_corpus
from kdh_ray.data.groups import read_groups
from kdh_ray.evaluation.calibration import RESAMPLES, Interval, brier_scores, calibration_errors, score_intervals
from kdh_ray.evaluation.metrics import per_label, without_nan
from kdh_ray.export.licences import corpus_licence, encoder_licence
from kdh_ray.hardware import precision
from kdh_ray.inference.classifier import TextClassifier
from kdh_ray.inference.scoring import READ_AS, check_labels
from kdh_ray.models.checkpoint import CARD, Card, load_card
from kdh_ray.models.training_documents import check_unseen, is_of
from kdh_ray.run_folder import RunFolder

FORMAT = 1
Facts = dict[str, Any]


def checkpoint_facts(card: Card) -> Facts:
    """Return what a checkpoint's own card says: labels, thresholds, how texts are read, training, fingerprints."""
    labels = [
        {"label": label, "threshold": float(threshold)}
        for label, threshold in zip(card.labels, card.thresholds, strict=True)
    ]
    return {
        "format": FORMAT,
        "name": card.notes.get("run", "Classifier"),
        "stage": card.notes.get("stage", "multi-label text classifier"),
        "fingerprint": card.fingerprint,
        "labels": labels,
        "reading": card.reading.to_json(),
        "training": {"corpus": dict(card.corpus), **card.notes},
        "kdh_ray": __version__,
    }


def scored_facts(
    checkpoint: Path,
    config: RunConfig,
    corpus: Corpus,
    *,
    split: str = "test",
    group_column: str | None = None,
    allow_changed_data: bool = False,
) -> Facts:
    """Return the facts about a checkpoint and its scores on a corpus.

    Args:
        checkpoint: Folder of a classifier.
        config: Names the corpus and the encoder.
        corpus: The corpus.
        split: Scored as raw text, at the classifier's own thresholds.
        group_column: Column of the table whose values divide the split into groups.
        allow_changed_data: Score documents of the split that the classifier was trained on too, and say so.

    Raises:
        CheckpointError: If the checkpoint can't be used, or its labels are not those of the corpus.
        DataError: If the groups can't be read, or documents of the split were trained on.
    """
    card = load_card(checkpoint)
    check_labels(checkpoint, card.labels, list(corpus.labels))
    held_out = [split] if split != "train" else []
    warning = check_unseen(checkpoint, corpus, held_out, allow_changed_data) if held_out else ""
    groups = None if group_column is None else read_groups(config.data, group_column)
    classifier = TextClassifier.load(checkpoint, precision=precision(config.precision))
    chosen = corpus.splits[split]
    trained = _trained_on(card, corpus)
    scored = _Scored(chosen.targets, classifier.logits(chosen.raw()).probabilities, classifier, trained)
    facts = checkpoint_facts(card)
    for label, line in zip(facts["labels"], scored.labels(), strict=True):
        label |= line
    facts["evaluation"] = {"split": split, **scored.overall(), "warning": warning.removeprefix(f"{checkpoint}: ")}
    if groups is not None:
        of_documents = [groups[id_] for id_ in chosen.ids]
        facts["groups"] = {"column": group_column, "groups": scored.by_group(of_documents)}
    facts["corpus"] = {
        "name": corpus.name,
        "fingerprint": corpus.fingerprint(),
        "is_that_of_training": is_of(card.corpus, corpus),
        "documents": {name: len(trained.splits[name]) for name in SPLIT_NAMES},
        "licence": corpus_licence(config.data),
    }
    facts["encoder"] = _encoder(config, card)
    return dict(without_nan(facts))


def _trained_on(card: Card, corpus: Corpus) -> Corpus:
    """Return the corpus with the splits of a card's training: all folds train a model that is refit, none validates."""
    if not is_divided(corpus):
        return corpus
    refit = refit_corpus(corpus)
    if card.corpus.get("fingerprint") != refit.fingerprint():
        return corpus
    return replace(corpus, splits={**refit.splits, "validation": refit.splits["validation"].take([])})


@dataclass(frozen=True)
class _Scored:
    """A classifier's probabilities on a split.

    Attributes:
        targets: (n_documents, n_labels) of 0 and 1.
        probabilities: (n_documents, n_labels).
        classifier: Has the thresholds.
        corpus: Has the names of the labels.
    """

    targets: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    classifier: TextClassifier
    corpus: Corpus

    def overall(self) -> dict[str, Any]:
        """Return scores with intervals and calibration over all labels."""
        scores, _ = self._intervals(np.arange(len(self.targets)))
        return {
            "documents": len(self.targets),
            "read_as": READ_AS,
            "scores": {name: asdict(score) for name, score in scores.items()},
            "calibration": {
                "brier": float(brier_scores(self.targets, self.probabilities).mean()),
                "ece": float(calibration_errors(self.targets, self.probabilities).mean()),
            },
            "intervals": f"95 %, bootstrap over documents, {RESAMPLES} resamples",
        }

    def labels(self) -> list[dict[str, Any]]:
        """Return support, scores and calibration of each label."""
        _, f1 = self._intervals(np.arange(len(self.targets)))
        lines = per_label(self.targets, self.probabilities, self.classifier.thresholds, list(self.corpus.labels))
        brier = brier_scores(self.targets, self.probabilities)
        errors = calibration_errors(self.targets, self.probabilities)
        return [
            {
                "support": {name: int(self.corpus.splits[name].targets[:, j].sum()) for name in SPLIT_NAMES},
                **{name: line[name] for name in ("precision", "recall", "average_precision")},
                "f1": asdict(f1[line["label"]]),
                "brier": float(brier[j]),
                "ece": float(errors[j]),
            }
            for j, line in enumerate(lines)
        ]

    def by_group(self, groups: Sequence[str]) -> list[dict[str, Any]]:
        """Return scores with intervals of each group, the largest first; ``groups`` has one per document."""
        found = []
        for group, count in sorted(Counter(groups).items(), key=lambda item: (-item[1], item[0])):
            scores, _ = self._intervals(np.flatnonzero(np.array(groups) == group))
            found.append({"group": group, "documents": count, **{name: asdict(each) for name, each in scores.items()}})
        return found

    def _intervals(self, rows: NDArray[np.int64]) -> tuple[dict[str, Interval], dict[str, Interval]]:
        thresholds, labels = self.classifier.thresholds, self.corpus.labels
        return score_intervals(self.targets[rows], self.probabilities[rows], thresholds, labels)


def _encoder(config: RunConfig, card: Card) -> dict[str, Any]:
    """Return the encoder that the stage's training began with. A folder is named without its path."""
    start = card.notes.get("stage")
    if start not in config.stages:
        return {"source": None, "licence": None}
    while start in config.stages:
        start = str(config.stages[start].start)
        run = RunFolder.of_checkpoint(Path(start))
        if (Path(start) / CARD).exists() and run.config.exists():  # a stage of another run, such as a search's teacher
            config, start = load_run_config(run.config), Path(start).absolute().parent.name
    is_folder = Path(start).expanduser().exists()
    return {"source": Path(start).name if is_folder else start, "licence": encoder_licence(start)}
