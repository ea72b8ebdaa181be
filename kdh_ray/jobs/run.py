"""``run``: a configuration in, a frame of result rows out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kdh_ray.config import JobConfig, RunConfig, dump_config
from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.data.describe import leak_warnings
from kdh_ray.errors import DataError, UserError
from kdh_ray.events import EVENTS, Event, EventLog, EventReader
from kdh_ray.hardware import precision
from kdh_ray.jobs.linear_baselines import TFIDF, VARIANTS, write_baseline
from kdh_ray.jobs.publish import check_writable, publish
from kdh_ray.jobs.run_folder import place, run_folder
from kdh_ray.models.checkpoint import load_card, verified
from kdh_ray.models.encoders import check_layers, check_reachable, encoder_shape
from kdh_ray.results import load_runs, recorded, write_row
from kdh_ray.results.stage_rows import stage_row

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import pandas as pd

Listener = Callable[[Event], None]
NO_COLUMNS: Mapping[str, Any] = MappingProxyType({})


def run(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    stages: Sequence[str] | None = None,
    local: bool = False,
    verbose: bool = False,
    listener: Listener | None = None,
    columns: Mapping[str, Any] = NO_COLUMNS,
) -> pd.DataFrame:
    """Run a configuration, or go on with it where an earlier call in the same folder was interrupted.

    Args:
        config: A configuration, its tree of plain values, or its YAML file.
        out: The run's folder; ``runs/<name>`` if not given.
        stages: Only these; each stage that they need must be finished or among them. All if not given.
        local: Run in this process instead of on Ray Train workers, for debugging.
        verbose: Show Ray's own log lines.
        listener: Is given every event (see ``kdh_ray.events``).
        columns: Further columns of the stages' rows, over all others: ``experiment``, ``variant`` (``distilled`` or
            ``fine-tuned`` otherwise), ``method``, ... A finished stage has a row for each experiment that asks for it.

    Returns:
        One row a stage and baseline; see ``kdh_ray.results.rows`` for the columns.

    Raises:
        UserError: If the configuration, the data or the machine won't do.
        JobError: If the job failed for good. Finished stages keep their rows, and the failed one gets a row.
    """
    config, folder = place(config, out)
    wanted = list(config.stages) if stages is None else list(stages)
    preflight(config, folder, wanted)
    corpus = load_data(config, wanted)
    with run_folder(folder, config), ThreadPoolExecutor(1) as background:
        for leak in leak_warnings(corpus):
            EventLog(folder / EVENTS, listener).write("note", "", text=f"warning: {leak}")
        baseline = background.submit(_tfidf, config, corpus, folder)  # while workers start
        try:
            if local:
                _run_here(config, corpus, folder, wanted, listener)
            else:
                _run_on_ray(config, corpus, folder, wanted, verbose, listener)
        except Exception as error:
            _write_rows(config, corpus, folder, wanted, columns, error)
            _publish(config, folder, error)
            raise
        _write_rows(config, corpus, folder, wanted, columns)
        if reason := baseline.result():
            EventLog(folder / EVENTS, listener).write("note", "", text=f"warning: no {TFIDF} baseline: {reason}")
        _publish(config, folder)
    return load_runs(folder / "rows")


def preflight(config: RunConfig, folder: Path, stages: Sequence[str]) -> None:
    """Refuse in seconds what would fail after minutes: encoders, results, a cache or stages that are not there.

    Raises:
        UserError: With the stage and what it lacks.
    """
    if config.results:
        check_writable(config.results)
    if config.cache is not None:
        check_writable(str(config.cache), "cache")
    if unknown := [name for name in stages if name not in config.stages]:
        raise UserError(f"no such stage: {', '.join(unknown)} (stages: {', '.join(config.stages)})")
    for name in stages:
        stage = config.stages[name]
        for reference in (stage.start, *stage.teachers):
            if reference in config.stages:
                trained = folder / "stages" / reference / "result.json"
                if reference not in stages and not trained.exists():
                    raise UserError(f"stages.{name}: needs stage {reference!r}, which is not finished in {folder}")
            elif reference == stage.start:
                try:
                    check_reachable(reference)
                    check_layers(reference)
                except UserError as error:
                    match = get_close_matches(reference, [other for other in config.stages if other != name], n=1)
                    hint = f"; did you mean the stage {match[0]!r}?" if match else ""
                    raise type(error)(f"stages.{name}.start: {error}{hint}") from None
            else:
                try:
                    verified(Path(reference))
                except UserError as error:
                    raise type(error)(f"stages.{name}.teachers: {error}") from None
        _check_fit(config, name)


def _check_fit(config: RunConfig, name: str) -> None:
    """Layers and tokens that a stage wants, against the encoder behind it."""
    stage = config.stages[name]
    encoder, left = config.origin(stage.start)
    try:
        shape = encoder_shape(encoder)
    except UserError:  # of a finished stage, which no longer needs it
        return
    depth, tokens = left or shape.layers, stage.max_tokens or config.data.max_tokens
    if stage.layers is not None and stage.layers > depth:
        raise UserError(f"stages.{name}.layers: the start has {depth} encoder layers; got {stage.layers}")
    if shape.longest is not None and tokens > shape.longest:
        raise UserError(
            f"stages.{name}: {encoder} reads at most {shape.longest} tokens; got {tokens}"
            " (lower data.max_tokens, or the stage's own)"
        )


def load_data(config: RunConfig, stages: Sequence[str]) -> Corpus:
    """The corpus, once the teachers of ``stages`` that are other runs' checkpoints are known to have its labels.

    Raises:
        UserError: If the corpus can't be used, a teacher has other labels, or a loss says nothing over as few.
    """
    from kdh_ray.training.stages import check_labels

    corpus = corpus_from_config(config.data)
    for name in stages:
        stage = config.stages[name]
        if stage.teachers and stage.loss.alpha and stage.loss.soft == "softmax-kl" and len(corpus.labels) == 1:
            raise UserError(f"stages.{name}.loss.soft: softmax-kl over a single label is always 0: take bernoulli-kl")
    for folder in sorted({teacher for name in stages for teacher in config.stages[name].teachers}):
        if folder not in config.stages:
            check_labels(Path(folder), load_card(Path(folder)).labels, list(corpus.labels))
    return corpus


def encoders(config: RunConfig, stages: Sequence[str]) -> list[str]:
    """What ``stages`` start from that isn't a stage itself."""
    starts = (config.stages[name].start for name in stages)
    return sorted({start for start in starts if start not in config.stages})


def _run_here(config: RunConfig, corpus: Corpus, folder: Path, stages: list[str], listener: Listener | None) -> None:
    import torch

    from kdh_ray.training.stages import StageRunner

    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = precision(config.precision)
    events = EventLog(folder / EVENTS, listener)
    runner = StageRunner(config, corpus, folder, precision=kind, device=device, events=events)
    for name in stages:
        runner.run(name)


def _run_on_ray(
    config: RunConfig, corpus: Corpus, folder: Path, stages: list[str], verbose: bool, listener: Listener | None
) -> None:
    if all((folder / "stages" / name / "result.json").exists() for name in stages):
        return  # nothing to start a cluster for
    from kdh_ray.cluster.nodes import check_machines
    from kdh_ray.cluster.session import ray_session
    from kdh_ray.jobs.ray_train import run_on_ray

    log = EventLog(folder / EVENTS)

    def check() -> None:
        check_machines(folder, encoders(config, stages))

    with _listening(folder / EVENTS, listener), ray_session(config.job, verbose, check=check, log=log):
        run_on_ray(config, corpus, folder, stages)


@contextmanager
def _listening(file: Path, listener: Listener | None) -> Iterator[None]:
    """Hand what workers write to ``listener``, four times a second, from a thread of its own."""
    if listener is None:
        yield
        return
    reader, ended = EventReader(file), threading.Event()

    def listen() -> None:
        last = False
        while not last:
            last = ended.wait(0.25)
            for event in reader.new():
                listener(event)

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def run_id(config: RunConfig, experiment: str | None = None) -> str:
    """Experiment, seed and a digest of what determines the results; all rows of a run share it."""
    same = {"job": JobConfig(), "cache": None, "results": None, "tune": config.tune.without_machine()}
    digest = sha256(dump_config(config.model_copy(update=same)).encode())
    return f"{experiment or config.name}-{config.seed}-{digest.hexdigest()[:8]}"


def _write_rows(
    config: RunConfig,
    corpus: Corpus,
    folder: Path,
    stages: list[str],
    columns: Mapping[str, Any],
    error: Exception | None = None,
) -> None:
    """A row for each finished stage and, after an error, one for the first that isn't."""
    from kdh_ray.training.stages import read_result

    for name in stages:
        result = read_result(folder / "stages" / name)
        if result is None and error is None:
            continue
        kind = "distilled" if config.stages[name].teachers else "fine-tuned"
        about = {"variant": kind, "metric": corpus.metric, **columns}
        failure = error if result is None else None
        identity = run_id(config, columns.get("experiment"))
        write_row(folder / "rows", stage_row(config, name, identity, corpus.name, result, failure, **about))
        if failure is not None:
            return


def _publish(config: RunConfig, folder: Path, error: Exception | None = None) -> None:
    """Copy rows and finished stages to the shared place, if there is one; never instead of reporting ``error``."""
    if not config.results:
        return
    try:
        publish(folder, run_id(config), config.results)
    except UserError as failure:
        if error is None:
            raise
        error.add_note(str(failure))


def _tfidf(config: RunConfig, corpus: Corpus, folder: Path) -> str:
    """The bag-of-words baseline's row, unless it is there already; why there can be none, or nothing.

    A corpus may be none for a bag of words, written without spaces for one. That is no reason to lose what was trained.
    """
    rows, identity = folder / "rows", run_id(config)
    if not config.baselines.tfidf or (identity, TFIDF) in recorded(rows):
        return ""
    try:
        write_baseline(config, corpus, TFIDF, rows, identity)
    except DataError as error:
        variant = VARIANTS[TFIDF]
        write_row(rows, stage_row(config, TFIDF, identity, corpus.name, error=error, variant=variant))
        return str(error)
    return ""
