"""``run``: a configuration in, a frame of result rows out."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdh_ray.config import RunConfig, StageConfig, dump_config, load_config, parse_config
from kdh_ray.data import Corpus, corpus_from_config
from kdh_ray.distillation.events import EVENTS, Event, EventLog, EventReader
from kdh_ray.errors import UserError
from kdh_ray.hardware import precision
from kdh_ray.jobs.folder import run_folder
from kdh_ray.models.checkpoint import load_card
from kdh_ray.models.encoders import locate
from kdh_ray.results import load_runs, write_row
from kdh_ray.results.provenance import columns
from kdh_ray.results.rows import flatten

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    import pandas as pd

Listener = Callable[[Event], None]


def run(
    config: RunConfig | Mapping[str, Any] | str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    stages: Sequence[str] | None = None,
    local: bool = False,
    verbose: bool = False,
    listener: Listener | None = None,
    variant: str | None = None,
) -> pd.DataFrame:
    """Run a configuration, or go on with it where an earlier call in the same folder was interrupted.

    Args:
        config: A configuration, its tree of plain values, or its YAML file.
        out: The run's folder; ``runs/<name>`` if not given.
        stages: Only these; each stage that they need must be finished or among them. All if not given.
        local: Run in this process instead of on Ray Train workers, for debugging.
        verbose: Show Ray's own log lines.
        listener: Is given every event (see ``kdh_ray.distillation.events``).
        variant: What rows call the stages, instead of ``distilled`` or ``fine-tuned``.

    Returns:
        One row a stage and baseline; see ``kdh_ray.results.rows`` for the columns.

    Raises:
        UserError: If the configuration, the data or the machine won't do.
        JobError: If the job failed for good. Finished stages keep their rows, and the failed one gets a row.
    """
    if not isinstance(config, RunConfig):
        config = parse_config(config) if isinstance(config, Mapping) else load_config(config)
    folder = Path(out) if out is not None else Path("runs") / config.name
    folder = folder.expanduser().absolute()
    wanted = list(config.stages) if stages is None else list(stages)
    preflight(config, folder, wanted)
    corpus = corpus_from_config(config.data)
    with run_folder(folder, config), ThreadPoolExecutor(1) as background:
        baseline = background.submit(_tfidf, config, corpus, folder)
        try:
            if local:
                _run_here(config, corpus, folder, wanted, listener)
            else:
                _run_on_ray(config, corpus, folder, wanted, verbose, listener)
        except Exception as error:
            _write_rows(config, corpus, folder, wanted, variant, error)
            raise
        _write_rows(config, corpus, folder, wanted, variant)
        baseline.result()
    return load_runs(folder / "rows")


def preflight(config: RunConfig, folder: Path, stages: Sequence[str]) -> None:
    """Refuse in a second what would fail after minutes: encoders that are not there, stages that are not trained.

    Raises:
        UserError: With the stage and what it lacks.
    """
    for name in stages:
        stage = config.stages[name]
        for reference in (stage.start, *stage.teachers):
            if reference in config.stages:
                trained = folder / "stages" / reference / "result.json"
                if reference not in stages and not trained.exists():
                    raise UserError(f"stages.{name}: needs stage {reference!r}, which is not finished in {folder}")
            elif reference == stage.start:
                locate(reference)
            else:
                load_card(Path(reference))


def _run_here(config: RunConfig, corpus: Corpus, folder: Path, stages: list[str], listener: Listener | None) -> None:
    import torch

    from kdh_ray.distillation.stages import StageRunner

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
    from kdh_ray.jobs.cluster import ray_session
    from kdh_ray.jobs.training import run_on_ray

    log = EventLog(folder / EVENTS)
    with _listening(folder / EVENTS, listener), ray_session(config.job, verbose) as dashboard:
        log.write("note", "", dashboard=dashboard)
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


def identity(config: RunConfig, corpus: Corpus) -> dict[str, Any]:
    """Columns that every row of a run has."""
    same = {"job": type(config.job)(), "tune": config.tune.without_machine()}  # what may change when it is resumed
    digest = sha256(dump_config(config.model_copy(update=same)).encode()).hexdigest()[:8]
    return {
        "run_id": f"{config.name}-{config.seed}-{digest}",
        "experiment": config.name,
        "protocol": corpus.name,
        "size": config.data.size,
        "seed": config.seed,
        "metric": corpus.metric,
        **columns(),
    }


def stage_kind(config: RunConfig, name: str) -> str:
    """``teacher`` for a stage that another learns from, else ``student``."""
    return "teacher" if any(name in stage.teachers for stage in config.stages.values()) else "student"


def _write_rows(
    config: RunConfig,
    corpus: Corpus,
    folder: Path,
    stages: list[str],
    variant: str | None,
    error: Exception | None = None,
) -> None:
    """A row for each finished stage and, after an error, one for the first that isn't."""
    from kdh_ray.distillation.stages import read_result

    for name in stages:
        result = read_result(folder / "stages" / name)
        row = {
            **identity(config, corpus),
            "stage": name,
            "kind": stage_kind(config, name),
            "variant": variant or _variant(config.stages[name]),
            **flatten({"data": config.data.model_dump(mode="json"), **config.stages[name].model_dump(mode="json")}),
        }
        if result is not None:
            write_row(folder / "rows", {**row, "status": "ok", **_scores(result)})
        elif error is not None:
            write_row(folder / "rows", {**row, "status": "failed", "error": f"{type(error).__name__}: {error}"})
            return


def _variant(stage: StageConfig) -> str:
    """``distilled`` or ``fine-tuned``."""
    return "distilled" if stage.teachers else "fine-tuned"


def _scores(result: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for split in ("validation", "test"):
        row |= {f"{split}_{metric}": value for metric, value in result[split].items()}
        row |= {f"{split}_{metric}_at_half": value for metric, value in result[f"{split}_at_half"].items()}
    row |= {f"test_f1_label.{label['label']}": label["f1"] for label in result["labels"]}
    kept = ("threshold", "seconds", "documents_per_second", "parameters", "started", "device", "precision", "workers")
    row |= {name: result[name] for name in kept if name in result}
    if "history" in result:
        row["epochs_run"] = len(result["history"])
    return row


def _tfidf(config: RunConfig, corpus: Corpus, folder: Path) -> None:
    """The bag-of-words baseline's row, unless it is there already; meanwhile the workers start."""
    from time import perf_counter

    from kdh_ray.distillation.stages import score_probabilities
    from kdh_ray.evaluation.baselines import tfidf_logistic
    from kdh_ray.evaluation.thresholds import tune_global

    if not config.baselines.tfidf or any((folder / "rows").glob("row-*-tf-idf*")):
        return
    started = perf_counter()
    validation, test = tfidf_logistic(corpus, config.seed)
    threshold = tune_global(corpus.splits["validation"].targets, validation)
    result = score_probabilities(corpus, {"validation": validation, "test": test}, threshold)
    row = {**identity(config, corpus), "stage": "tf-idf", "kind": "baseline", "variant": "logistic regression"}
    write_row(folder / "rows", {**row, "status": "ok", **_scores({**result, "seconds": perf_counter() - started})})
