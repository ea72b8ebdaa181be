"""What trained stages said of the test split, with the truth: from runs' folders, for figures and tests by document."""

from __future__ import annotations

import json
import os
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from kdh_ray.errors import DataError, UserError
from kdh_ray.results.figures.rows import results

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


def load_predictions(
    frame: pd.DataFrame, *folders: str | os.PathLike[str]
) -> tuple[dict[tuple[str, str], Predicted], list[str]]:
    """Test predictions that lie below ``folders`` for rows, by run id and stage, and why others can't be used.

    Corpora are read again for the truth, from where the runs' configurations have them.

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
    for run in sorted({place.parents[2] for folder in folders for place in Path(folder).rglob("stages/*/predictions")}):
        try:
            for key in sorted(_keys(run) & wanted.keys()):
                found[key] = _read(run, key, wanted[key], _corpus(run, corpora))
        except UserError as error:
            reasons[f"predictions of {run.name} are not used: {error}"] = None
    return found, list(reasons)


def _keys(run: Path) -> set[tuple[str, str]]:
    """Run id and stage of the rows in a run's folder that have predictions."""
    from kdh_ray.results.rows import load_runs

    frame = load_runs(run / "rows")
    keys = zip(frame["run_id"].astype(str), frame["stage"].astype(str), strict=True)
    return {(run_id, stage) for run_id, stage in keys if (run / "stages" / stage / "predictions" / "test.npy").exists()}


def _corpus(run: Path, known: dict[str, Corpus]) -> Corpus:
    """The corpus of a run, read once; its test split is the same at every size."""
    from kdh_ray.config import load_config
    from kdh_ray.data import corpus_from_config

    data = load_config(run / "config.yaml").data.model_copy(update={"size": "large"})
    key = data.model_dump_json()
    if key not in known:
        known[key] = corpus_from_config(data)
    return known[key]


def _read(run: Path, key: tuple[str, str], row: dict[Hashable, Any], corpus: Corpus) -> Predicted:
    folder, split = run / "stages" / key[1] / "predictions", corpus.splits["test"]
    try:
        logits = np.load(folder / "test.npy", allow_pickle=False)
        ids = json.loads((folder / "test-ids.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{folder} can't be read ({type(error).__name__})") from None
    if ids != list(split.ids) or logits.shape != split.targets.shape:
        raise DataError(f"{folder} holds other documents or labels than the corpus has now")
    probabilities = 0.5 * (1.0 + np.tanh(0.5 * logits.astype(np.float64)))  # no overflow at either end
    targets = np.asarray(split.targets, dtype=np.int8)
    method, threshold = str(row["method"]), float(row["threshold"])
    return Predicted(*key, method, targets, probabilities, threshold, tuple(corpus.labels))
