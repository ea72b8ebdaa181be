"""Batch prediction over files of any size, on Ray Data: blocks of documents go to workers that hold the model.

A block's file exists once the block is finished, so that a prediction that was killed resumes with the other blocks.
Workers read and write files themselves: only block numbers go through Ray, and memory does not grow with the corpus.
``kdh_ray.data.unlabelled`` describes the files of the output.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from time import perf_counter
from typing import Any

from kdh_ray.config import JobConfig
from kdh_ray.data.text_blocks import TextBlock, check_columns, plan_blocks
from kdh_ray.data.text_files import list_files
from kdh_ray.data.unlabelled import FORMAT, PLAN, file_name
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.inference.block_worker import BlockTask, BlockWorker
from kdh_ray.models.checkpoint import Card, verified
from kdh_ray.storage import fetched, locate, make_parent, one_line

MOST_TASKS = 2000  # Ray Data tasks; beyond that, a task has several blocks
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
    """

    documents: int
    blocks: int
    found: int
    seconds: float
    note: str = ""


def predict_files(
    checkpoint: str | os.PathLike[str],
    inputs: str | Sequence[str],
    output: str | os.PathLike[str],
    *,
    text_column: str = "text",
    id_column: str | None = None,
    logits: bool = False,
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

    Args:
        checkpoint: Folder of a classifier, or its place in a bucket.
        inputs: Files, folders or patterns (``s3://bucket/notes/*.parquet``): Parquet, JSON Lines, CSV, TSV.
        output: Folder or bucket; documents' texts are never written to it.
        text_column: Column of the text.
        id_column: Column of ids; file name and number of the document if none is named.
        logits: Write the logits too, for distillations (``data.unlabelled``).
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
    with fetched(os.fspath(checkpoint)) as folder:
        card = verified(folder)
    files = list_files([inputs] if isinstance(inputs, str) else inputs)
    blocks = _blocks(files, block, text_column, id_column)
    task = BlockTask(
        os.fspath(checkpoint), os.fspath(output), tuple(blocks), text_column, id_column, logits, batch_size, precision
    )
    finished = _finished_files(task, card, files, block)
    pending = [number for number in range(len(blocks)) if file_name(number) not in finished]
    found = len(blocks) - len(pending)
    progress(found, len(blocks))
    documents = 0
    results = _in_this_process(task, pending) if local else _on_ray(task, pending, workers, job or JobConfig(), verbose)
    for done, row in enumerate(results, start=1):
        if row["error"]:
            raise DataError(str(row["error"]))
        documents += int(row["documents"])
        progress(found + done, len(blocks))
    return BatchSummary(documents, len(blocks), found, perf_counter() - started, card.note)


def _blocks(files: list[tuple[str, int]], block: int, text_column: str, id_column: str | None) -> list[TextBlock]:
    """Return the blocks of all files, after checking that the files have the columns."""
    if id_column == text_column:
        raise DataError(f"ids are written beside predictions, so they can't be the texts; got {id_column!r} for both")
    blocks = plan_blocks([file for file, _ in files], block)
    if not blocks:
        raise DataError(f"{files[0][0]}: holds no documents")
    check_columns(blocks, text_column, id_column)
    return blocks


def _finished_files(task: BlockTask, card: Card, files: list[tuple[str, int]], block: int) -> set[str]:
    """Return the names of finished files in the output, after checking that they belong to this prediction."""
    import pyarrow.fs

    content = {
        "format": FORMAT,
        "checkpoint": card.fingerprint,
        "labels": card.labels,
        "thresholds": card.thresholds,
        "files": [list(file) for file in files],
        "block": block,
        "text_column": task.text_column,
        "id_column": task.id_column,
        "logits": task.logits,
    }
    filesystem, root = locate(task.output)
    place = str(PurePosixPath(root) / PLAN)
    try:
        if filesystem.get_file_info(place).type == pyarrow.fs.FileType.NotFound:
            make_parent(filesystem, place)
            with filesystem.open_output_stream(place) as stream:
                stream.write((json.dumps(content, indent=1) + "\n").encode())
        before = json.loads(filesystem.open_input_stream(place).read())
        entries = filesystem.get_file_info(pyarrow.fs.FileSelector(root))
    except (OSError, ValueError) as error:
        raise UnavailableError(f"{task.output}: can't be used ({one_line(error)})") from None
    differing = [name for name in content if not isinstance(before, dict) or before.get(name) != content[name]]
    if differing:
        what = ", ".join(differing)
        raise DataError(f"{task.output}: holds another prediction ({what} differ); give another output, or remove it")
    return {entry.base_name for entry in entries}


def _in_this_process(task: BlockTask, pending: list[int]) -> Iterator[dict[str, Any]]:
    worker = BlockWorker(task) if pending else None
    for number in pending if worker else ():
        yield {name: values[0] for name, values in worker({"number": [number]}).items()}  # type: ignore[misc]


def _on_ray(
    task: BlockTask, pending: list[int], workers: int | None, job: JobConfig, verbose: bool
) -> Iterator[dict[str, Any]]:
    if not pending:
        return
    from kdh_ray.cluster.nodes import most_cpus_each
    from kdh_ray.cluster.session import ray_session

    with ray_session(job, verbose):
        import logging
        from dataclasses import replace

        import ray
        import ray.data

        total = ray.cluster_resources()
        gpus, cpus = int(total.get("GPU", 0)), max(1, int(total.get("CPU", 1)))
        workers = min(len(pending), workers or gpus or cpus)
        share = min(1.0, gpus / workers)  # GPUs per worker; several workers may share one
        each = most_cpus_each(workers, share) or 1  # CPUs per worker
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = verbose
        if not verbose:
            logging.getLogger("ray.data").setLevel(logging.ERROR)
        numbers = ray.data.from_items(
            [{"number": number} for number in pending], override_num_blocks=min(len(pending), MOST_TASKS)
        )
        predictions = numbers.map_batches(
            BlockWorker,
            fn_constructor_args=(replace(task, threads=each),),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=each,
            num_gpus=share,
        )
        yield from predictions.iter_rows()
