"""Predict a run's unlabelled text with its teachers: once for each, before the first stage that learns from it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kdh_ray.config import RunConfig
from kdh_ray.data.corpus import Corpus
from kdh_ray.data.text_files import list_files, shown_name
from kdh_ray.data.text_pool import BLOCK, read_pool
from kdh_ray.events import EventLog
from kdh_ray.inference.batch import predict_files
from kdh_ray.jobs.plan import RunOptions, RunPlan
from kdh_ray.run_folder import RunFolder
from kdh_ray.training.unlabelled import is_complete, model_name, prediction_folder


def with_text(plan: RunPlan, corpus: Corpus, options: RunOptions) -> Corpus:
    """Return the corpus with the unlabelled text that stages of a plan are still to learn from, if there is any.

    Raises:
        UserError: If the text can't be used.
    """
    config, text = plan.config, plan.config.data.unlabelled_text
    learning = [name for name in plan.stages if not plan.folder.stage(name).finished]
    if text is None or not any(map(config.unlabelled_teachers, learning)):
        return corpus
    EventLog(listener=options.listener).note(f"Reading unlabelled text: {shown_name(text.path)}")
    return replace(corpus, pool=read_pool(config.data, corpus))


def predict_text(
    config: RunConfig, folder: RunFolder, stages: Iterable[str], corpus: Corpus, options: RunOptions, log: EventLog
) -> None:
    """Predict the unlabelled text with every teacher of ``stages`` that has not done so.

    Where the run is not local, Ray Data spreads blocks of text over the machines. A prediction that was interrupted
    resumes with the blocks that are missing.

    Args:
        config: The run.
        folder: Its folder; the cache is in it unless the configuration names another.
        stages: Stages to train next. Their teachers must be finished.
        corpus: Has the text, if there is any.
        options: Of the run.
        log: Receives progress.

    Raises:
        UserError: If a checkpoint can't be used, or the text not be read.
    """
    pool = corpus.pool
    if pool is None:
        return
    pending = [name for name in stages if not folder.stage(name).finished]
    teachers = [teacher for name in pending for teacher in config.unlabelled_teachers(name)]
    for checkpoint in config.checkpoints(teachers, lambda name: folder.stage(name).checkpoint):
        target = prediction_folder(pool, checkpoint, config.cache or folder.cache, config.precision)
        if is_complete(pool, target):
            continue
        name = model_name(checkpoint)

        def show(done: int, total: int, name: str = name) -> None:
            documents = round(len(pool) * done / total)  # blocks are counted
            log.write("step", f"unlabelled text: logits of {name}", done=documents, total=len(pool))

        if (plan := target.plan()) is not None:  # the same text, which may lie elsewhere by now
            files = [list(file) for file in list_files(pool.files)]
            target.write_plan({**plan, "files": files})
        done = predict_files(
            checkpoint, pool.files, target.place, text_column=pool.text_column, id_column=pool.id_column,
            reading=pool.reading, logits=True, block=BLOCK, precision=config.precision, local=options.local,
            job=config.job, verbose=options.verbose, progress=show,
        )  # fmt: skip
        log.note(f"unlabelled text: {done.documents} documents predicted by {name} in {done.seconds:.0f} s")
