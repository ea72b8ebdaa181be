"""Checks that a run's data are still those that its models were trained on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from kdh_ray.data import Corpus
from kdh_ray.errors import CheckpointError, DataError
from kdh_ray.jobs.corpus_record import CorpusRecord
from kdh_ray.jobs.plan import RunPlan
from kdh_ray.models.checkpoint import load_card
from kdh_ray.models.training_documents import check_unseen
from kdh_ray.run_folder import RunFolder
from kdh_ray.training.documents import documents_of_stage

_WAY_OUT = (
    "give another --out, or pass --allow-changed-data (allow_changed_data=True) to keep what is finished and train the"
    " rest on the data as they are now"
)


def check_data(plan: RunPlan, corpus: Corpus, allowed: bool) -> list[str]:
    """Compare the corpus with what the run's folder, its finished stages, and its teachers were trained on.

    Args:
        plan: The run.
        corpus: Its corpus as it is now.
        allowed: Return faults as warnings instead of raising them.

    Returns:
        Warnings for the user, one line each.

    Raises:
        DataError: If the corpus has changed since the run began, or a start or teacher of a stage that is not finished
            was trained on documents that are held out now.
        CheckpointError: If a checkpoint or the record of the corpus can't be read.
    """
    change, warnings = _change(plan.folder, corpus), []
    if change and not allowed:
        raise DataError(f"{plan.folder}: the data have changed since this run began ({change}); {_WAY_OUT}")
    if change:
        finished = [folder.path.name for folder in plan.folder.finished_stages()]
        kept = f"; finished stages and their scores are of the data before: {', '.join(finished)}" if finished else ""
        warnings.append(f"the data have changed since this run began ({change}){kept}")
    for folder, documents in _earlier_models(plan, corpus):
        warnings += filter(None, [check_unseen(folder, documents, ("validation", "test"), allowed)])
    return list(dict.fromkeys(warnings))


def record_corpus(folder: RunFolder, corpus: Corpus) -> None:
    """Write the record of a run's corpus, unless the folder has that of the same corpus."""
    record = CorpusRecord.load(folder.corpus)
    if record is None or record.fingerprint != corpus.fingerprint():
        CorpusRecord.of(corpus).save(folder.corpus)


def _change(folder: RunFolder, corpus: Corpus) -> str:
    """Return in words what has changed since the run began; empty for a run that begins now."""
    record = CorpusRecord.load(folder.corpus)
    if record is not None:
        return "" if record.fingerprint == corpus.fingerprint() else record.changes(corpus)
    for stage in folder.finished_stages():  # of a run that began before there were records
        try:
            trained_on = load_card(stage.checkpoint).corpus.get("fingerprint")
        except CheckpointError:  # no checkpoint is kept for the mean of an ensemble
            continue
        if trained_on != corpus.fingerprint():
            return f"stage {stage.path.name} was trained on others; this run is too old to say which documents changed"
    return ""


def _earlier_models(plan: RunPlan, corpus: Corpus) -> Iterator[tuple[Path, Corpus]]:
    """Yield the finished checkpoints that unfinished stages start from or learn from, with the stages' documents."""
    stages, seen = plan.config.stages, set()
    for name in plan.stages:
        if plan.folder.stage(name).finished or plan.config.is_mean(name):
            continue
        references = (stages[name].start, *stages[name].teachers, *plan.config.unlabelled_teachers(name))
        documents = documents_of_stage(plan.config, name, corpus)
        for folder in plan.config.checkpoints(references, lambda model: plan.folder.stage(model).checkpoint):
            if (folder / "classifier.json").exists() and (folder, documents.fingerprint()) not in seen:
                seen.add((folder, documents.fingerprint()))
                yield folder, documents
