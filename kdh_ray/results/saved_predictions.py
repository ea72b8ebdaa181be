"""What trained stages said of the test split, with the truth, for figures and tests by document.

Predictions lie in runs' folders, and in files in which they are kept beside rows when runs are gone:
``predictions-COUNT-*.parquet``, a row a stage with ``run_id``, ``stage``, ``data`` (the corpus's configuration as
JSON), ``ids`` of the documents, and ``logits``, one after the other. No text and no truth, which is the corpus's.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.errors import DataError, UnavailableError, UserError
from kdh_ray.results.selections import results
from kdh_ray.run_folder import RunFolder
from kdh_ray.storage import locate, one_line, write_parquet

if TYPE_CHECKING:
    import pandas as pd

    from kdh_ray.data import Corpus


@dataclass(frozen=True)
class Predicted:
    """A row's predictions of the test split.

    Attributes:
        run_id: Of its row.
        stage: Of its row.
        name: What tables call the method.
        targets: (n_documents, n_labels) int8 of 0 and 1.
        probabilities: (n_documents, n_labels) in 0..1.
        threshold: Tuned on validation.
        label_names: Of the columns.
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
class _Saved:
    """Logits as they were saved, not yet held against the corpus.

    Attributes:
        run_id, stage: Of the row.
        data: Configuration of the corpus, as JSON.
        ids: Of the test documents.
        logits: (n_documents, n_labels) float32.
    """

    run_id: str
    stage: str
    data: str
    ids: list[str]
    logits: NDArray[np.float32]


# Floats byte by byte, which then compress by a third; the ids, alike in every row, once.
_ENCODING = {
    "compression": "zstd",
    "use_byte_stream_split": ["logits.list.element"],
    "use_dictionary": ["ids.list.element"],
}

_Keys = set[tuple[str, str]]
_Reader = Callable[[Path, _Keys], Iterator[_Saved]]


def load_predictions(
    frame: pd.DataFrame, *folders: str | os.PathLike[str]
) -> tuple[dict[tuple[str, str], Predicted], list[str]]:
    """Test predictions that lie below ``folders`` for rows, by run id and stage, and why others can't be used.

    Corpora are read again for the truth, from where the runs' configurations have them. A configuration that was run
    twice, on two machines say, has one run id: of its predictions those count that give the row's score.

    Args:
        frame: From ``load_runs``.
        folders: Local ones; predictions in buckets are not looked for.
    """
    found: dict[tuple[str, str], Predicted] = {}
    reasons: dict[str, None] = {}
    corpora: dict[str, Corpus] = {}
    try:
        rows = results(frame)
    except DataError:
        return {}, []
    wanted = {(str(row["run_id"]), str(row["stage"])): row for row in rows.to_dict("records")}
    of_other_runs: dict[tuple[str, str], str] = {}
    for place, read in _places(folders):
        try:
            for saved in read(place, wanted.keys() - found.keys()):
                key = saved.run_id, saved.stage
                predicted = _with_truth(saved, place, wanted[key], _corpus(saved.data, corpora))
                if _gives_score(predicted, wanted[key]):
                    found[key] = predicted
                else:
                    why = f"they don't give the score of {saved.stage}'s row, which is of another run, it seems"
                    of_other_runs[key] = f"predictions of {place.name} are not used: {why}"
        except UserError as error:
            reasons[f"predictions of {place.name} are not used: {error}"] = None
    reasons |= dict.fromkeys(reason for key, reason in of_other_runs.items() if key not in found)
    return found, list(reasons)


def keep_predictions(frame: pd.DataFrame, target: str | os.PathLike[str], *folders: str | os.PathLike[str]) -> int:
    """Write the test predictions that lie below ``folders`` for rows as one file into ``target``.

    With the rows (see ``copy_rows``) they are what tables, figures and tests by document need of runs; weights are not.

    Args:
        frame: From ``load_runs``. Steps on the way to a method's own stage are left out.
        target: A folder, or a bucket.
        folders: Local ones.

    Returns:
        Of how many stages.

    Raises:
        DataError: If predictions can't be read.
        UnavailableError: If ``target`` can't be written.
    """
    import pyarrow as pa

    try:
        rows = results(frame)
    except DataError:  # a search that has not ended, say: its trials have no predictions
        return 0
    wanted = set(zip(rows["run_id"].astype(str), rows["stage"].astype(str), strict=True))
    kept: dict[tuple[str, str, bytes], _Saved] = {}  # of a configuration that ran twice, both
    for place, read in _places(folders):
        kept |= {(saved.run_id, saved.stage, saved.logits.tobytes()): saved for saved in read(place, wanted)}
    if not kept:
        return 0
    words = {name: pa.string() for name in ("run_id", "stage", "data")}
    schema = pa.schema({**words, "ids": pa.list_(pa.string()), "logits": pa.list_(pa.float32())})
    lines = [{**vars(saved), "logits": saved.logits.ravel()} for saved in kept.values()]
    filesystem, root = locate(target)
    name = f"predictions-{len(lines)}-{uuid.uuid4().hex[:12]}.parquet"
    try:
        write_parquet(filesystem, f"{root}/{name}", pa.Table.from_pylist(lines, schema=schema), **_ENCODING)
    except OSError as error:
        raise UnavailableError(f"{os.fspath(target)}: predictions can't be written ({one_line(error)})") from None
    return len({key[:2] for key in kept})


def _places(folders: Sequence[str | os.PathLike[str]]) -> list[tuple[Path, _Reader]]:
    """Runs that have predictions, and files in which some are kept, each with what reads it."""
    runs = {run.path for folder in folders for run in RunFolder.with_predictions(folder)}
    files = {file for folder in folders for file in Path(folder).rglob("predictions-*.parquet")}
    return [*((run, _of_run) for run in sorted(runs)), *((file, _kept_in) for file in sorted(files))]


def _of_run(run: Path, wanted: _Keys) -> Iterator[_Saved]:
    """What a run's folder has for the ``wanted`` rows."""
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
        yield _Saved(run_id, stage, _data(folder.config), ids, logits)


def _data(file: Path) -> str:
    """The corpus of a run's configuration, the rest of which need not hold any more: its teachers may have moved."""
    import yaml

    from kdh_ray.config import DataConfig

    try:
        data = DataConfig.model_validate(yaml.safe_load(file.read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        raise DataError(f"{file} can't be read ({type(error).__name__})") from None
    return data.model_copy(update={"size": "large"}).model_dump_json()


def _kept_in(file: Path, wanted: _Keys) -> Iterator[_Saved]:
    """What a file of :func:`keep_predictions` has for the ``wanted`` rows."""
    import pyarrow as pa
    import pyarrow.parquet

    try:
        lines = pyarrow.parquet.read_table(file).to_pylist()
        for line in lines:
            if (line["run_id"], line["stage"]) in wanted:
                logits = np.asarray(line.pop("logits"), dtype=np.float32)
                yield _Saved(**line, logits=logits.reshape(len(line["ids"]), -1))
    except (OSError, pa.ArrowInvalid, KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} can't be read ({type(error).__name__})") from None


def _corpus(data: str, known: dict[str, Corpus]) -> Corpus:
    """The corpus of a configuration, read once; its test split is the same at every size."""
    from kdh_ray.config import DataConfig
    from kdh_ray.data import corpus_from_config

    if data not in known:
        known[data] = corpus_from_config(DataConfig.model_validate_json(data))
    return known[data]


def _with_truth(saved: _Saved, place: Path, row: dict[Hashable, Any], corpus: Corpus) -> Predicted:
    split = corpus.splits["test"]
    if saved.ids != list(split.ids) or saved.logits.shape != split.targets.shape:
        raise DataError(f"{place}: {saved.stage} is of other documents or labels than the corpus has now")
    if row.get("threshold") is None or row["threshold"] != row["threshold"]:
        raise DataError(f"{place}: the row of {saved.stage} has no threshold")
    probabilities = 0.5 * (1.0 + np.tanh(0.5 * saved.logits.astype(np.float64)))  # no overflow at either end
    targets = np.asarray(split.targets, dtype=np.int8)
    method, threshold = str(row["method"]), float(row["threshold"])
    return Predicted(saved.run_id, saved.stage, method, targets, probabilities, threshold, tuple(corpus.labels))


def _gives_score(predicted: Predicted, row: dict[Hashable, Any]) -> bool:
    from sklearn.metrics import f1_score  # alone: every metric of a row takes several times as long

    told = row.get("test_f1_micro")
    if told is None or told != told:
        return True
    given = f1_score(predicted.targets, predicted.labels, average="micro", zero_division=0.0)
    return abs(float(given) - float(told)) < 1e-9
