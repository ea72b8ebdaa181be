"""Saved predictions of stages on the test split, joined with the true labels for figures and tests by document.

Predictions are in the folders of runs, and in files that keep them next to rows after the runs are gone:
``predictions-COUNT-*.parquet``, with a row per stage: ``run_id``, ``stage``, ``data`` (configuration of the corpus as
JSON), ``ids`` of the documents, and ``logits`` (n_documents * n_labels, document by document). They hold no text and no
true labels, which are read from the corpus.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.errors import DataError, UnavailableError, UserError
from kdh_ray.results.method_rows import finished_rows
from kdh_ray.results.protocols import written_run_id
from kdh_ray.run_folder import RunFolder
from kdh_ray.storage import locate, one_line, write_parquet

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.data import Corpus


@dataclass(frozen=True)
class StagePrediction:
    """Predictions of one stage on the test split, with the truth.

    Attributes:
        run_id: Run id of the stage's row.
        stage: Name of the stage.
        name: Name of the method in tables.
        targets: (n_documents, n_labels) int8 of 0 and 1.
        probabilities: (n_documents, n_labels) in 0..1.
        threshold: Threshold that was tuned on validation.
        label_names: (n_labels) names of the columns.
    """

    run_id: str
    stage: str
    name: str
    targets: NDArray[np.int8]
    probabilities: NDArray[np.float64]
    threshold: float
    label_names: tuple[str, ...] = ()

    @property
    def labels(self) -> NDArray[np.int8]:
        """(n_documents, n_labels) predicted labels, as 0 and 1."""
        return (self.probabilities >= self.threshold).astype(np.int8)


@dataclass(frozen=True)
class _SavedLogits:
    """Logits of one stage as they were saved, not yet checked against the corpus.

    Attributes:
        run_id, stage: Key of the stage's row.
        data: Configuration of the corpus, as JSON.
        ids: (n_documents) ids of the test documents.
        logits: (n_documents, n_labels) float32.
    """

    run_id: str
    stage: str
    data: str
    ids: list[str]
    logits: NDArray[np.float32]


# Byte streams make floats compress by a third; the dictionary stores the ids, alike in every row, once.
_ENCODING = {
    "compression": "zstd",
    "use_byte_stream_split": ["logits.list.element"],
    "use_dictionary": ["ids.list.element"],
}

Key = tuple[str, str]
"""Run id and stage of a row."""
_Reader = Callable[[Path, set[Key]], Iterator[_SavedLogits]]


def load_predictions(
    frame: pd.DataFrame, *folders: str | os.PathLike[str]
) -> tuple[dict[Key, StagePrediction], list[str]]:
    """Return the test predictions that are saved for the finished rows of a frame.

    The true labels are read from the corpora, where the configurations of the runs say. A configuration that ran twice,
    for instance on two machines, has one run id: of its predictions, those count that have the score of the row.

    Args:
        frame: From ``load_runs``.
        folders: Local folders to search; predictions in buckets are not read.

    Returns:
        Predictions by run id and stage, and a sentence for each file that can't be used.
    """
    predictions: dict[Key, StagePrediction] = {}
    reasons: dict[str, None] = {}  # each once, in order
    of_other_runs: dict[Key, str] = {}
    corpora: dict[str, Corpus] = {}
    try:
        rows = finished_rows(frame)
    except DataError:  # no finished row has a score
        return {}, []
    wanted: dict[Key, dict[Key, dict[Hashable, Any]]] = {}  # as written -> as told apart by the states of the data
    for row in rows.to_dict("records"):
        key = str(row["run_id"]), str(row["stage"])
        wanted.setdefault((written_run_id(key[0]), key[1]), {})[key] = row
    for source, read in _sources(folders):
        try:
            for saved in read(source, {key for key, own in wanted.items() if own.keys() - predictions.keys()}):
                candidates = wanted[saved.run_id, saved.stage]
                matching = _matching(saved, source, candidates, _corpus(saved.data, corpora))
                predictions = matching | predictions
                if not matching:
                    why = f"they don't give the score of {saved.stage}'s row, which seems to be of another run"
                    of_other_runs |= dict.fromkeys(candidates, f"predictions of {source.name} are not used: {why}")
        except UserError as error:
            reasons[f"predictions of {source.name} are not used: {error}"] = None
    reasons |= dict.fromkeys(reason for key, reason in of_other_runs.items() if key not in predictions)
    return predictions, list(reasons)


def _matching(
    saved: _SavedLogits, source: Path, rows: Mapping[Key, dict[Hashable, Any]], corpus: Corpus
) -> dict[Key, StagePrediction]:
    """Return the prediction for those of ``rows`` that have its score and are of the corpus as it is now."""
    found = {}
    for key, row in rows.items():
        if len(rows) > 1 and row["data_fingerprint"] != corpus.identity.fingerprint:
            continue
        prediction = _with_truth(saved, source, row, corpus)
        if _has_score_of(prediction, row):
            found[key] = replace(prediction, run_id=key[0])
    return found


def keep_predictions(frame: pd.DataFrame, target: str | os.PathLike[str], *folders: str | os.PathLike[str]) -> int:
    """Write the test predictions that are saved for the finished rows of a frame into one file in ``target``.

    Together with the rows (see ``copy_rows``), they are all that tables, figures and tests by document need of runs.

    Args:
        frame: From ``load_runs``. Stages on the way to a method's own stage are left out.
        target: A folder or a bucket.
        folders: Local folders to search.

    Returns:
        Number of stages whose predictions were written.

    Raises:
        DataError: If predictions can't be read.
        UnavailableError: If ``target`` can't be written.
    """
    import pyarrow as pa

    try:
        rows = finished_rows(frame)
    except DataError:  # for instance a search that has not ended: its trials have no predictions
        return 0
    wanted = set(zip(map(written_run_id, rows["run_id"].astype(str)), rows["stage"].astype(str), strict=True))
    kept: dict[tuple[str, str, bytes], _SavedLogits] = {}  # of a configuration that ran twice, both
    for source, read in _sources(folders):
        kept |= {(saved.run_id, saved.stage, saved.logits.tobytes()): saved for saved in read(source, wanted)}
    if not kept:
        return 0
    texts = {name: pa.string() for name in ("run_id", "stage", "data")}
    schema = pa.schema({**texts, "ids": pa.list_(pa.string()), "logits": pa.list_(pa.float32())})
    lines = [{**vars(saved), "logits": saved.logits.ravel()} for saved in kept.values()]
    filesystem, root = locate(target)
    # A unique name, so that predictions kept later never replace these.
    name = f"predictions-{len(lines)}-{uuid.uuid4().hex[:12]}.parquet"
    try:
        write_parquet(filesystem, f"{root}/{name}", pa.Table.from_pylist(lines, schema=schema), **_ENCODING)
    except OSError as error:
        raise UnavailableError(f"{os.fspath(target)}: predictions can't be written ({one_line(error)})") from None
    return len({key[:2] for key in kept})


def _sources(folders: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, _Reader]]:
    """Return the runs that have predictions and the files that keep some, each with the function that reads it."""
    runs = {run.path for folder in folders for run in RunFolder.with_predictions(folder)}
    files = {file for folder in folders for file in Path(folder).rglob("predictions-*.parquet")}
    return [*((run, _read_run) for run in sorted(runs)), *((file, _read_file) for file in sorted(files))]


def _read_run(run: Path, wanted: set[Key]) -> Iterator[_SavedLogits]:
    """Yield the logits that the folder of a run has for the ``wanted`` rows."""
    from kdh_ray.results.rows import recorded

    folder = RunFolder(run)
    for run_id, stage in sorted(recorded(folder.rows) & wanted):
        predictions = folder.stage(stage).predictions
        if not (predictions / "test.npy").exists():
            continue
        try:
            logits = np.load(predictions / "test.npy", allow_pickle=False)
            ids = json.loads((predictions / "test-ids.json").read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{predictions} can't be read ({type(error).__name__})") from None
        yield _SavedLogits(run_id, stage, _data_config(folder.config), ids, logits)


def _data_config(file: Path) -> str:
    """Return the corpus's part of a run's configuration as JSON.

    Only this part is validated: the rest may not be valid any more, for instance because a teacher was moved.
    """
    import yaml

    from kdh_ray.config import data_of_run

    try:
        data = data_of_run(yaml.safe_load(file.read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DataError(f"{file} can't be read ({type(error).__name__})") from None
    return data.model_copy(update={"size": "large"}).model_dump_json()


def _read_file(file: Path, wanted: set[Key]) -> Iterator[_SavedLogits]:
    """Yield the logits that a file of :func:`keep_predictions` has for the ``wanted`` rows."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        lines = pyarrow.parquet.read_table(file).to_pylist()
        for line in lines:
            if (line["run_id"], line["stage"]) in wanted:
                logits = np.asarray(line.pop("logits"), dtype=np.float32)
                yield _SavedLogits(**line, logits=logits.reshape(len(line["ids"]), -1))  # (n_documents, n_labels)
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} can't be read ({type(error).__name__})") from None


def _corpus(data: str, corpora: dict[str, Corpus]) -> Corpus:
    """Return the corpus of a configuration, read once into ``corpora``. Its test split is the same at every size."""
    from kdh_ray.config import data_of_run
    from kdh_ray.data import corpus_from_config

    if data not in corpora:
        corpora[data] = corpus_from_config(data_of_run(json.loads(data)))
    return corpora[data]


def _with_truth(saved: _SavedLogits, source: Path, row: dict[Hashable, Any], corpus: Corpus) -> StagePrediction:
    """Join saved logits with the true labels of their documents.

    Raises:
        DataError: If the corpus has other documents or labels now, or the row has no threshold.
    """
    import pandas as pd

    split = corpus.splits["test"]
    if saved.ids != list(split.ids) or saved.logits.shape != split.targets.shape:
        raise DataError(f"{source}: {saved.stage} is of other documents or labels than the corpus has now")
    if pd.isna(row["threshold"]):
        raise DataError(f"{source}: the row of {saved.stage} has no threshold")
    # The logistic function as s(z) = (1 + tanh(z / 2)) / 2, which does not overflow at either end.
    probabilities = 0.5 * (1.0 + np.tanh(0.5 * saved.logits.astype(np.float64)))
    return StagePrediction(
        saved.run_id,
        saved.stage,
        name=str(row["method"]),
        targets=np.asarray(split.targets, dtype=np.int8),
        probabilities=probabilities,
        threshold=float(row["threshold"]),
        label_names=tuple(corpus.labels),
    )


def _has_score_of(prediction: StagePrediction, row: dict[Hashable, Any]) -> bool:
    """Return whether predictions give the test micro F1 of a row, if the row has one."""
    import pandas as pd
    from sklearn.metrics import f1_score  # only this one: computing every metric of a row takes several times as long

    recorded_score = row["test_f1_micro"]
    if pd.isna(recorded_score):
        return True
    score = f1_score(prediction.targets, prediction.labels, average="micro", zero_division=0.0)
    return abs(float(score) - float(recorded_score)) < 1e-9
