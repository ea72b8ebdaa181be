"""Runs on data that changed, and runs that were repeated elsewhere, are told apart."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdh_ray.data.corpus import Corpus, Split
from kdh_ray.data.sampling import nested_sample
from kdh_ray.results import compact, copy_rows, load_runs, recorded, write_row
from kdh_ray.results.protocols import written_run_id
from kdh_ray.results.rows import executions
from kdh_ray.results.search_trials import trial_rows
from kdh_ray.results.tables import stage_table


def row(data: str | None = "a" * 64, documents: int | None = 60, **more: Any) -> dict[str, Any]:
    named = {} if data is None else {"data_fingerprint": data, "data_documents": documents}
    own = {"run_id": "notes-0-12345678", "stage": "student", "kind": "student", "protocol": "notes", "seed": 0}
    scores = {"status": "ok", "metric": "f1_micro", "test_f1_micro": 0.5, "seconds": 1.0, "config_data.sample_seed": 0}
    return {**own, **scores, **named, **more}


def test_both_states_of_a_table_have_lines(tmp_path: Path) -> None:
    write_row(tmp_path / "a", row())
    write_row(tmp_path / "b", row("b" * 64, 65, test_f1_micro=0.7))
    frame = load_runs(tmp_path)
    assert frame["protocol"].tolist() == ["notes (60 documents)", "notes (65 documents)"]
    assert frame["run_id"].nunique() == 2
    assert {written_run_id(run_id) for run_id in frame["run_id"]} == {"notes-0-12345678"}
    assert stage_table(frame)[["n", "official"]].values.tolist() == [[1, 0.5], [1, 0.7]]


def test_states_with_as_many_documents_are_named_by_fingerprint(tmp_path: Path) -> None:
    for data in "ab":
        write_row(tmp_path, row(data * 64))
    assert set(load_runs(tmp_path)["protocol"]) == {f"notes (60 documents, data {data * 8})" for data in "ab"}


def test_one_state_keeps_the_name_of_its_protocol(tmp_path: Path) -> None:
    """Other seeds of splits, and rows of versions that did not name the data, are no other state."""
    write_row(tmp_path, row())
    write_row(tmp_path, row("c" * 64, seed=1, run_id="notes-1-12345678", **{"config_data.sample_seed": 1}))
    write_row(tmp_path, row(None, run_id="notes-2-12345678", seed=2))
    assert load_runs(tmp_path)["protocol"].tolist() == ["notes"] * 3


def test_each_training_of_a_configuration_has_a_row(tmp_path: Path) -> None:
    for seconds, folder in ((1.0, "laptop"), (2.0, "server")):
        write_row(tmp_path / folder, row(seconds=seconds, test_f1_micro=seconds / 10))
    copy_rows([tmp_path / "laptop"], tmp_path / "copy")
    frame = load_runs(tmp_path)
    assert frame["seconds"].tolist() == [1.0, 2.0]
    table = stage_table(frame)
    assert table["official"].tolist() == [0.2]
    assert "the last run counts, not the 1 before" in table.attrs["note"]
    compact(tmp_path)
    assert len(load_runs(tmp_path)) == 2


def test_a_row_written_again_with_its_data_counts_once(tmp_path: Path) -> None:
    write_row(tmp_path, row(None, started="2026-01-01"))
    write_row(tmp_path, row(started="2026-01-01"))
    assert load_runs(tmp_path)["data_documents"].tolist() == [60]


def test_a_later_failure_elsewhere_replaces_no_result(tmp_path: Path) -> None:
    write_row(tmp_path, row(seconds=None, test_f1_micro=None, status="failed"))
    write_row(tmp_path, row())
    assert load_runs(tmp_path)["status"].tolist() == ["ok"]
    write_row(tmp_path, row(seconds=None, test_f1_micro=None, status="failed"))
    assert sorted(load_runs(tmp_path)["status"]) == ["failed", "ok"]


def test_recorded_rows_are_those_of_the_data(tmp_path: Path) -> None:
    write_row(tmp_path, row(started="2026-01-01"))
    write_row(tmp_path, row(None, stage="old", seconds=2.0))
    student, old = ("notes-0-12345678", "student"), ("notes-0-12345678", "old")
    assert recorded(tmp_path) == recorded(tmp_path, "a" * 64) == {student, old}
    assert recorded(tmp_path, "b" * 64) == {old}
    assert executions(tmp_path) == {(*student, "2026-01-01"), (*old, None)}


def test_two_searches_of_one_configuration_stay_apart(tmp_path: Path) -> None:
    for number, folder in enumerate(("a", "b")):
        for trial in range(2):
            about = {"kind": "trial", "trial": trial, "search_started": f"2026-01-0{number + 1}", "score": trial / 4}
            write_row(tmp_path / folder, row(run_id=f"notes-0-1-trial-{trial:04d}", seconds=number + trial, **about))
    rows = trial_rows(load_runs(tmp_path))
    assert rows.groupby("search")["trial"].apply(list).to_dict() == {
        "notes-0-1, started 2026-01-01": [0, 1],
        "notes-0-1, started 2026-01-02": [0, 1],
    }
    assert set(trial_rows(load_runs(tmp_path / "a"))["search"]) == {"notes-0-1"}


@pytest.mark.parametrize("size", ["small", "medium"])
def test_a_sample_knows_its_corpus(size: str) -> None:
    targets = np.tile(np.array([[1, 0], [0, 1]], dtype=np.int8), (20, 1))
    split = Split([str(i) for i in range(40)], [f"text {i}" for i in range(40)], targets)
    whole = Corpus("notes", ["a", "b"], {"train": split, "test": split})
    sample = nested_sample(whole, size, 0)
    assert sample.identity == whole.identity == (whole.fingerprint(), 80)
    assert sample.fingerprint() != whole.fingerprint()
