"""Batch prediction over files of any size, on Ray Data: blocks of documents go to workers that hold the model.

A block's file exists once the block is finished, so that a prediction that was killed resumes with the other blocks.
Workers read and write files themselves: only block numbers go through Ray, and memory does not grow with the corpus.
``kdh_ray.data.prediction_files`` describes the files of the output.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from time import perf_counter
from typing import Any

from kdh_ray import hardware
from kdh_ray.config import JobConfig
from kdh_ray.data.file_rows import Reading
from kdh_ray.data.prediction_files import FORMAT, FORMS, PredictionFolder, as_planned, reading_of
from kdh_ray.data.text_blocks import TextBlock, check_columns, plan_blocks
from kdh_ray.data.text_files import list_files
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.inference.block_audit import BlockAudit
from kdh_ray.inference.block_worker import BlockTask, BlockWorker
from kdh_ray.models.checkpoint import Card, verified
from kdh_ray.storage import fetched, locate, one_line

MOST_TASKS = 2000  # Ray Data tasks; beyond that, a task has several blocks
MOST_DEATHS = 3  # of workers, one after the other without a finished block between them
# Names of files that are not written: an output of such a name is a mistake and no folder.
OTHER_FILES = (".tsv", ".json", ".ndjson", ".txt", ".xlsx", ".xls", ".gz", ".zip", ".zst")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BatchSummary:
    """Summary of a call of ``predict_files``.

    Attributes:
        documents: Documents predicted by this call.
        blocks: Blocks of the whole prediction, all finished now.
        found: Blocks that an earlier call had finished.
        seconds: Duration of this call.
        note: Warning about the checkpoint; empty if there is nothing to warn of.
        faulty: Documents of the whole prediction that have an error instead of labels.
    """

    documents: int
    blocks: int
    found: int
    seconds: float
    note: str = ""
    faulty: int = 0


def predict_files(
    checkpoint: str | os.PathLike[str],
    inputs: str | Sequence[str],
    output: str | os.PathLike[str],
    *,
    text_column: str = "text",
    id_column: str | None = None,
    reading: Reading | None = None,
    logits: bool = False,
    form: str | None = None,
    strict: bool = False,
    audit: str | os.PathLike[str] | None = None,
    block: int = 4096,
    batch_size: int = 32,
    workers: int | None = None,
    precision: str = "auto",
    local: bool = False,
    job: JobConfig | None = None,
    verbose: bool = False,
    progress: Progress = lambda done, total: None,
) -> BatchSummary:
    """Classify every document of ``inputs``, or resume an earlier call with the same arguments that was stopped.

    A document that is no text (null, a number, half a surrogate pair, bytes that are not UTF-8) becomes a row with an
    ``error`` and without labels.

    Args:
        checkpoint: Folder of a classifier, or its place in a bucket.
        inputs: Files, folders or patterns (``s3://bucket/notes/*.parquet``) of any format that a table may have.
        output: Folder or bucket; or one file, named ``.parquet``, ``.csv`` or ``.jsonl``. Documents' texts are never
            written to it.
        text_column: Column of the text.
        id_column: Column of ids; if none is named, an id is the file's path below the folder that all files share, and
            the number of the document.
        reading: How the inputs are to be read, where their format, delimiter or encoding can't be recognised.
        logits: Write the logits too, for distillations (``data.unlabelled``).
        form: ``parquet``, ``csv`` or ``jsonl``; by default that of the output's name, or ``parquet`` in a folder.
        strict: Raise an error at the first document that is no text.
        audit: Local file to which a JSON line per block is appended: who labelled which ids, when, with which model.
        block: Documents per file of the output.
        batch_size: Documents per forward pass.
        workers: Workers, each of which loads the model once; by default one per GPU, or else one per CPU.
        precision: ``auto``, ``float32`` or ``bfloat16``.
        local: Predict in this process instead of on Ray.
        job: Its ``address`` names a running Ray cluster.
        verbose: Show Ray's own log lines.
        progress: Called with (blocks finished, blocks in all).

    Raises:
        UserError: If the checkpoint, an input or the output can't be used, or the output belongs to another plan.
    """
    started = perf_counter()
    target = _Target.named(os.fspath(output), form)
    with fetched(os.fspath(checkpoint)) as source:
        card = verified(source)
    files = list_files([inputs] if isinstance(inputs, str) else inputs)
    folder = target.folder
    plan = _agreed(folder, _plan(card, files, block, text_column, id_column, reading, logits, folder.form))
    blocks = _blocks(plan)
    folder.write_plan(plan)
    written = folder.files()
    earlier = [number for number in range(len(blocks)) if folder.file_name(number) in written]
    pending = sorted({*range(len(blocks))} - {*earlier})
    progress(len(earlier), len(blocks))
    documents, faulty = 0, sum(sum(folder.summary(number).errors) for number in earlier)
    record = None if audit is None else BlockAudit(audit, card.fingerprint, folder)
    if record is not None:
        record.record_missing(earlier, hardware.precision(precision))
    task = BlockTask(
        os.fspath(checkpoint), folder, tuple(blocks), text_column, id_column, logits, batch_size, precision, strict
    )
    results = _in_this_process(task, pending) if local else _on_ray(task, pending, workers, job or JobConfig(), verbose)
    for done, row in enumerate(results, start=1):
        if row["error"]:
            raise DataError(str(row["error"]))
        if record is not None:
            record.record(int(row["number"]), str(row["precision"]))
        documents += int(row["documents"])
        faulty += int(row["faulty"])
        progress(len(earlier) + done, len(blocks))
    target.finish(len(blocks))
    return BatchSummary(documents, len(blocks), len(earlier), perf_counter() - started, card.note, faulty)


@dataclass(frozen=True)
class _Target:
    """Where predictions go.

    Attributes:
        folder: The folder of blocks.
        file: The file that they are joined to, if one is wanted; the folder then is only there until that is done.
    """

    folder: PredictionFolder
    file: str | None = None

    @classmethod
    def named(cls, output: str, form: str | None) -> _Target:
        """Return the target of an output's name.

        Raises:
            DataError: If the name and the format contradict each other, or the file exists.
        """
        name = PurePosixPath(output.rstrip("/"))
        suffix = name.suffix.lower()
        if suffix in OTHER_FILES or (suffix[1:] in FORMS and form not in (None, suffix[1:])):
            kinds = ", ".join(f".{each}" for each in FORMS) if form is None else f".{form}"
            raise DataError(f"an output is a folder or a file named {kinds}; got {output}")
        if suffix[1:] not in FORMS:
            return cls(PredictionFolder(output, form or "parquet"))
        folder = PredictionFolder(f"{output[: -len(name.name)]}.{name.name}.blocks", suffix[1:])
        filesystem, path = locate(output)
        kind = filesystem.get_file_info(path)
        if not kind.is_file and kind.type.name != "NotFound":
            raise DataError(f"{output}: is a folder; an output named like a file can't be one")
        if kind.is_file and folder.plan() is None:
            raise DataError(f"{output}: exists; give another output, or remove it")
        return cls(folder, output)

    def finish(self, blocks: int) -> None:
        """Join the blocks, all of which are written, where one file is wanted."""
        if self.file is not None:
            self.folder.join(self.file, blocks)
            self.folder.remove()


def _plan(
    card: Card,
    files: list[tuple[str, int]],
    block: int,
    text_column: str,
    id_column: str | None,
    reading: Reading | None,
    logits: bool,
    form: str,
) -> dict[str, Any]:
    """Return what the rows of the output depend on.

    Raises:
        DataError: If the ids are the texts.
    """
    if id_column == text_column:
        raise DataError(f"ids are written beside predictions, so they can't be the texts; got {id_column!r} for both")
    return {
        "format": FORMAT,
        "checkpoint": card.fingerprint,
        "labels": card.labels,
        "thresholds": card.thresholds,
        "files": [list(file) for file in files],
        "block": block,
        "text_column": text_column,
        "id_column": id_column,
        "reading": asdict(reading) if reading and reading != Reading() else None,  # plans of earlier versions lack it
        "logits": logits,
        "form": form,
    }


def _agreed(folder: PredictionFolder, plan: dict[str, Any]) -> dict[str, Any]:
    """Return the plan of the folder, which may be of an earlier format; the given one if it has none.

    Raises:
        DataError: If the folder belongs to another prediction.
    """
    before = folder.plan()
    if before is None:
        return plan
    of_folder = {"form": "parquet", **before}
    differing = [name for name in plan if name != "format" and of_folder.get(name) != plan[name]]
    if differing:
        what = ", ".join(differing)
        raise DataError(f"{folder.place}: holds another prediction ({what} differ); give another output, or remove it")
    return before


def _blocks(plan: dict[str, Any]) -> list[TextBlock]:
    """Return the blocks of all files, after checking that the files have the columns."""
    files = [file for file, _ in plan["files"]]
    blocks = [as_planned(block, plan) for block in plan_blocks(files, plan["block"], reading_of(plan))]
    if not blocks:
        raise DataError(f"{files[0]}: holds no documents")
    check_columns(blocks, plan["text_column"], plan["id_column"])
    return blocks


def _in_this_process(task: BlockTask, pending: list[int]) -> Iterator[dict[str, Any]]:
    worker = BlockWorker(task) if pending else None
    for number in pending if worker else ():
        yield {name: values[0] for name, values in worker({"number": [number]}).items()}  # type: ignore[misc]


def _on_ray(
    task: BlockTask, pending: list[int], workers: int | None, job: JobConfig, verbose: bool
) -> Iterator[dict[str, Any]]:
    if not pending:
        return
    from kdh_ray.cluster.session import ray_session

    with ray_session(job, verbose):
        from ray.exceptions import RayActorError

        left, deaths = dict.fromkeys(pending), 0
        while left:
            try:
                for row in _on_workers(task, list(left), workers, verbose):
                    del left[int(row["number"])]
                    deaths = 0
                    yield row
            except RayActorError as error:  # its machine was lost, or its memory was not enough
                deaths += 1
                if deaths == MOST_DEATHS:
                    raise UnavailableError(
                        f"{deaths} workers died one after the other ({one_line(error)}): give --workers or --batch-size"
                        " a lower number; what is finished is kept"
                    ) from None


def _on_workers(task: BlockTask, pending: list[int], workers: int | None, verbose: bool) -> Iterator[dict[str, Any]]:
    """Predict blocks with workers that start now.

    Raises:
        RayActorError: If a worker dies.
    """
    import logging

    import ray
    import ray.data
    from ray.util.annotations import RayDeprecationWarning

    from kdh_ray.cluster.nodes import most_cpus_each

    total = ray.cluster_resources()
    gpus, cpus = int(total.get("GPU", 0)), max(1, int(total.get("CPU", 1)))
    workers = min(len(pending), workers or gpus or cpus)
    share = min(1.0, gpus / workers)  # GPUs per worker; several workers may share one
    each = most_cpus_each(workers, share) or 1  # CPUs per worker
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = verbose
    if not verbose:
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    numbers = ray.data.from_items(
        [{"number": number} for number in pending], override_num_blocks=min(len(pending), MOST_TASKS)
    )
    with warnings.catch_warnings(category=RayDeprecationWarning, action="ignore"):  # Ray 2.60 has no other way
        predictions = numbers.map_batches(
            BlockWorker,
            fn_constructor_args=(replace(task, threads=each),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=each,
            num_gpus=share,
            ray_remote_args_fn=_never_restarted,
        )
    yield from predictions.iter_rows()


def _never_restarted() -> dict[str, Any]:
    """Return options of Ray's actors: it warns that those which it restarts may lack their arguments by then."""
    return {"max_restarts": 0, "max_task_retries": 0}
