"""Rows: written whole or not at all; on reading, none is lost and bad files are named."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from kdh_ray import storage
from kdh_ray.config import flatten
from kdh_ray.errors import DataError, UnavailableError
from kdh_ray.results import compact, copy_rows, load_runs, recorded, rows, write_row
from kdh_ray.results import row_files as store
from kdh_ray.results.columns import order_columns
from kdh_ray.results.rows import distinguish_tables


def row(run_id: str = "run-0", stage: str = "distil", **more: Any) -> dict[str, Any]:
    return {"run_id": run_id, "stage": stage, "status": "ok", **more}


def write_many(folder: Path, writer: int) -> None:
    for number in range(10):
        write_row(folder, row(f"run-{writer}-{number}", seed=number))


def test_a_row_reads_back_as_written(tmp_path: Path) -> None:
    write_row(
        tmp_path / "a" / "rows", row(seed=3, test_f1_micro=np.float32(0.5), error=None, path=Path("x"), layers=(1, 2))
    )
    frame = load_runs(tmp_path)
    assert len(frame) == 1
    assert frame.loc[0, "seed"] == 3
    assert frame.loc[0, "test_f1_micro"] == 0.5
    assert frame.loc[0, "path"] == "x"
    assert frame.loc[0, "layers"] == "[1, 2]"
    assert frame.loc[0, "error"] is None or pd.isna(frame.loc[0, "error"])


def test_concurrent_threads_lose_no_row(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda writer: write_many(tmp_path, writer), range(8)))
    assert load_runs(tmp_path)["run_id"].nunique() == 80
    assert not list(tmp_path.glob(".*"))


def test_concurrent_processes_lose_no_row(tmp_path: Path) -> None:
    program = """
import sys
from kdh_ray.results import write_row
for number in range(10):
    write_row(sys.argv[1], {"run_id": f"run-{sys.argv[2]}-{number}", "stage": "distil", "status": "ok"})
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    writers = [subprocess.Popen([*command, str(writer)]) for writer in range(2)]
    assert [writer.wait() for writer in writers] == [0, 0]
    assert len(load_runs(tmp_path)) == 20


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_row_is_named(tmp_path: Path, keep: int) -> None:
    write_row(tmp_path, row("whole"))
    broken = write_row(tmp_path, row("broken"))
    broken.write_bytes(broken.read_bytes()[:keep])
    with pytest.raises(DataError, match=f"{broken.name}: corrupt or half-written"):
        load_runs(tmp_path)
    with pytest.warns(RuntimeWarning, match=broken.name):
        frame = load_runs(tmp_path, on_error="warn")
    assert frame["run_id"].tolist() == ["whole"]


def test_a_flipped_bit_in_a_value_is_named(tmp_path: Path) -> None:
    broken = write_row(tmp_path, row("broken", note="a value that is easy to find"))
    found = broken.read_bytes()
    broken.write_bytes(found.replace(b"easy to find", b"easy to fine"))
    assert broken.read_bytes() != found
    with pytest.raises(DataError, match=f"{broken.name}: corrupt or half-written"):
        load_runs(tmp_path)


def test_flipped_bits_never_crash_the_reader(tmp_path: Path) -> None:
    file = write_row(tmp_path, row("broken", seed=3, test_f1_micro=0.8123, protocol="p"))
    whole = bytearray(file.read_bytes())
    messages = []
    for place in range(0, len(whole), len(whole) // 60):
        flipped = whole.copy()
        flipped[place] ^= 1 << place % 8
        file.write_bytes(flipped)
        try:
            load_runs(tmp_path)
        except DataError as error:  # anything else fails the test
            messages.append(str(error))
    assert len(messages) > 20
    assert all(file.name in message for message in messages)


def test_folder_of_corrupt_rows_always_fails(tmp_path: Path) -> None:
    broken = write_row(tmp_path, row())
    broken.write_bytes(b"PAR1")
    with pytest.warns(RuntimeWarning, match=broken.name), pytest.raises(DataError, match="no result rows"):
        load_runs(tmp_path, on_error="warn")


def test_a_foreign_parquet_file_is_named(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "row-foreign.parquet")
    with pytest.raises(DataError, match=r"row-foreign.parquet: not a result row: no column run_id"):
        load_runs(tmp_path)


def test_file_with_duplicate_columns_is_named(tmp_path: Path) -> None:
    write_row(tmp_path, row())
    columns = [pa.array([value]) for value in ("run-1", "distil", "ok", 1, 2)]
    pq.write_table(pa.table(columns, names=[*rows.REQUIRED, "x", "x"]), tmp_path / "row-twice.parquet")
    with pytest.raises(DataError, match=r"row-twice.parquet: not a result row: two columns of one name"):
        load_runs(tmp_path)


def test_a_row_its_writer_never_finished_is_named(tmp_path: Path) -> None:
    write_row(tmp_path, row())
    temporary = tmp_path / ".row-dead-1.parquet.tmp"
    temporary.write_bytes(b"PAR1")
    assert len(load_runs(tmp_path)) == 1  # it may still be being written
    os.utime(temporary, (0, 0))
    with pytest.warns(RuntimeWarning, match=temporary.name):
        load_runs(tmp_path)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    write_row(tmp_path, row())
    (tmp_path / "logits.parquet").write_bytes(b"not a row")
    assert len(load_runs(tmp_path)) == 1


def test_missing_and_empty_folders_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such file or folder"):
        load_runs(tmp_path / "nowhere")
    with pytest.raises(DataError, match=r"no result rows \(row-\*\.parquet\)"):
        load_runs(tmp_path)


def test_absent_columns_are_missing_values(tmp_path: Path) -> None:
    write_row(tmp_path, row("a", config_layers=None, test_f1_micro=1))
    write_row(tmp_path, row("b", config_layers=3, test_f1_micro=0.5, extra="x"))
    frame = load_runs(tmp_path).set_index("run_id")
    assert pd.isna(frame.loc["a", "config_layers"])
    assert frame.loc["b", "config_layers"] == 3
    assert frame["test_f1_micro"].to_dict() == {"a": 1.0, "b": 0.5}
    assert pd.isna(frame.loc["a", "extra"])


def test_a_setting_that_changes_type_becomes_text(tmp_path: Path) -> None:
    write_row(tmp_path, row("a", config_x=3))
    write_row(tmp_path, row("b", config_x="auto"))
    write_row(tmp_path, row("c", config_x=True))
    assert load_runs(tmp_path).set_index("run_id")["config_x"].to_dict() == {"a": "3", "b": "auto", "c": "true"}


def test_a_nested_value_of_another_program_becomes_text(tmp_path: Path) -> None:
    write_row(tmp_path, row("a", config_x=3))
    pd.DataFrame([row("b", config_x={"y": [1, 2]})]).to_parquet(tmp_path / "row-foreign.parquet")
    assert load_runs(tmp_path).set_index("run_id")["config_x"].to_dict() == {"a": "3", "b": '{"y": [1, 2]}'}


def test_the_last_row_of_a_repeated_stage_counts(tmp_path: Path) -> None:
    write_row(tmp_path, row(error="lost a worker\nTraceback ...") | {"status": "failed"})
    assert load_runs(tmp_path).loc[0, "error"] == "lost a worker"
    write_row(tmp_path, row(test_f1_micro=0.8))
    frame = load_runs(tmp_path)
    assert frame["status"].tolist() == ["ok"]


def test_overlapping_folders_give_each_row_once(tmp_path: Path) -> None:
    file = write_row(tmp_path / "a", row())
    assert len(load_runs(tmp_path, tmp_path / "a", file)) == 1


def test_compaction_changes_files_and_no_row(tmp_path: Path) -> None:
    for number in range(5):
        write_row(tmp_path / f"run-{number}", row(f"run-{number}", score=number / 2, started=f"2026-01-0{5 - number}"))
    before = load_runs(tmp_path)
    merged = compact(tmp_path)
    assert list(tmp_path.rglob("*.parquet")) == [merged]
    pd.testing.assert_frame_equal(load_runs(tmp_path), before)
    assert before["run_id"].iloc[0] == "run-4"  # in the order in which they were started


def test_compaction_of_corrupt_rows_changes_nothing(tmp_path: Path) -> None:
    write_row(tmp_path, row("whole"))
    broken = write_row(tmp_path, row("broken"))
    broken.write_bytes(b"PAR1")
    files = set(tmp_path.iterdir())
    with pytest.raises(DataError, match=broken.name):
        compact(tmp_path)
    assert set(tmp_path.iterdir()) == files


def test_many_single_rows_are_merged_by_their_writers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MERGE_AT", 8)
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda writer: write_many(tmp_path, writer), range(6)))
    assert len(load_runs(tmp_path)) == 60
    assert len(list(tmp_path.glob("row-*"))) < 12  # merging in 4 threads at once may leave some over
    assert list(tmp_path.glob("rows-*"))


def test_merging_leaves_corrupt_rows_for_readers_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = write_row(tmp_path, row("broken"))
    broken.write_bytes(b"PAR1")
    monkeypatch.setattr(store, "MERGE_AT", 4)
    for number in range(6):
        write_row(tmp_path, row(f"run-{number}"))
    assert broken.exists()
    assert list(tmp_path.glob("rows-*"))
    with pytest.raises(DataError, match=f"{broken.name}: corrupt"):
        load_runs(tmp_path)
    with pytest.warns(RuntimeWarning, match=broken.name):
        assert len(load_runs(tmp_path, on_error="warn")) == 6


def test_merged_files_grow_so_that_there_are_few() -> None:
    files: dict[str, int] = {}
    written = 0
    for number in range(20_000):
        files[f"row-{number}"] = 1
        merged = store.due(files)
        written += sum(files[name] for name in merged)
        if merged:
            files[f"rows-{number}"] = sum(files.pop(name) for name in merged)
    assert sum(files.values()) == 20_000
    assert len(files) < store.MERGE_AT
    assert len([count for count in files.values() if count > 1]) <= 9
    assert written < 10 * 20_000


def test_merge_while_reading_loses_no_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        write_row(tmp_path, row(f"run-{number}"))
    read_file = rows._read_file

    def late(filesystem: Any, name: str, columns: list[str] | None = None) -> Any:
        monkeypatch.setattr(rows, "_read_file", read_file)
        compact(tmp_path)  # after the listing, before the first file is open
        return read_file(filesystem, name, columns=columns)

    monkeypatch.setattr(rows, "_read_file", late)
    assert len(load_runs(tmp_path)) == 5


def test_listing_that_misses_a_merge_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        write_row(tmp_path, row(f"run-{number}"))
    listed, calls = store._list, []

    def half(filesystem: Any, root: str, recursive: bool = True) -> tuple[list[str], list[str]]:
        names, left = listed(filesystem, root, recursive)
        calls.append(root)
        if len(calls) == 1:  # two files were seen, then all three were merged, then the folder had no more to show
            compact(tmp_path)
            return names[:2], left
        return names, left

    monkeypatch.setattr(store, "_list", half)
    assert len(load_runs(tmp_path)) == 3


def test_recorded_stages_skip_corrupt_rows(tmp_path: Path) -> None:
    assert recorded(tmp_path / "nowhere") == set()
    write_row(tmp_path, row("a", "teacher"))
    write_row(tmp_path, row("a", "student"))
    write_row(tmp_path, row("b")).write_bytes(b"PAR1")
    assert recorded(tmp_path) == {("a", "teacher"), ("a", "student")}


def test_copied_rows_count_once(tmp_path: Path) -> None:
    assert copy_rows([tmp_path], tmp_path / "shared") == 0
    write_row(tmp_path / "run", row("a", score=0.5))
    assert [copy_rows([tmp_path / "run"], tmp_path / "shared") for _ in range(2)] == [1, 1]
    assert load_runs(tmp_path / "shared")["score"].tolist() == [0.5]


def test_rows_go_to_a_bucket_and_back(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "MERGE_AT", 4)
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(lambda number: write_row(f"{bucket}/rows", row(f"run-{number}", seed=number)), range(6)))
    filesystem, names, left = store.find(bucket)
    assert any("/rows-" in name for name in names)
    assert len(names) < 6
    assert left == []
    assert sorted(load_runs(bucket)["seed"]) == list(range(6))
    assert len(load_runs(str(bucket) + "/rows/" + Path(compact(bucket + "/rows")).name)) == 6
    with filesystem.open_output_stream(f"{names[0].rpartition('/')[0]}/row-broken.parquet") as stream:
        stream.write(b"PAR1")
    with pytest.raises(DataError, match=r"row-broken\.parquet: corrupt or half-written"):
        load_runs(bucket)


def test_missing_buckets_are_one_clear_error(bucket: str) -> None:
    with pytest.raises(DataError, match="s3://no-bucket/x: no such file or folder"):
        load_runs("s3://no-bucket/x")
    with pytest.raises(UnavailableError, match=r"s3://no-bucket/x: a result row can't be written .*NO_SUCH_BUCKET"):
        write_row("s3://no-bucket/x", row())


def test_a_hundred_thousand_rows_take_little_work(tmp_path: Path) -> None:
    n = 10_000
    for part in range(10):
        own = {"run_id": [f"run-{part}-{number}" for number in range(n)], "stage": ["distil"] * n, "status": ["ok"] * n}
        own |= {"started": [f"2026-01-{part + 1:02}T{number:06}" for number in range(n)], "seed": list(range(n))}
        store.write(tmp_path, f"rows-{n}", pa.table(own | {f"test_{name}": [0.5] * n for name in range(25)}))
    before = time.process_time()
    assert len(load_runs(tmp_path)) == 10 * n
    assert time.process_time() - before < 2  # of all threads together, so that a busy machine changes nothing


def test_column_order_does_not_depend_on_files() -> None:
    names = ["written", "test_f1_micro", "device", "config_epochs", "seed", "validation_f1_micro", "run_id", "config_a"]
    expected = [
        "run_id",
        "seed",
        "config_a",
        "config_epochs",
        "validation_f1_micro",
        "test_f1_micro",
        "device",
        "written",
    ]
    assert order_columns(names) == order_columns(reversed(names)) == expected


def test_nested_settings_become_dotted_columns() -> None:
    assert flatten({"epochs": 3, "loss": {"alpha": 0.5}}) == {"config_epochs": 3, "config_loss.alpha": 0.5}


def test_rows_go_through_fsspec_file_systems() -> None:
    write_row("memory://bucket/rows", row("remote"))
    assert load_runs("memory://bucket")["run_id"].tolist() == ["remote"]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"run_id": ""}, "missing: run_id"), ({"stage": None}, "missing: stage"), ({"status": "fine"}, "got 'fine'")],
)
def test_incomplete_rows_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        write_row(tmp_path, row() | change)
    assert not list(tmp_path.iterdir())


def test_arrays_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="'x' of a result row can't hold a ndarray"):
        write_row(tmp_path, row(x=np.zeros(3)))


def test_unwritable_folder_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UnavailableError, match="a result row can't be written"):
        write_row(tmp_path / "file" / "rows", row())


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(UnavailableError, match="no space left"):
        write_row(tmp_path, row())
    assert not list(tmp_path.iterdir())


def test_unknown_schemes_are_one_clear_error() -> None:
    with pytest.raises(UnavailableError, match="nonsense://x: can't be opened"):
        load_runs("nonsense://x")


def of_tables(*paths: str, corpus: str = "table") -> pd.DataFrame:
    return pd.DataFrame(
        [{"protocol": "notes", "config_data.corpus": corpus, "config_data.path": path} for path in paths]
    )


def test_tables_in_two_folders_are_two_protocols() -> None:
    told = distinguish_tables(of_tables("ward-a/notes.csv", "/data/ward-b/notes.csv", "../x/ward-a/notes.csv"))
    assert told["protocol"].tolist() == [f"notes (ward-{name}/notes.csv)" for name in "aba"]
    deeper = distinguish_tables(of_tables("/data/a/texts/notes.csv", "/data/b/texts/notes.csv", "notes.csv"))
    assert deeper["protocol"].tolist() == [
        "notes (a/texts/notes.csv)",
        "notes (b/texts/notes.csv)",
        "notes (notes.csv)",
    ]


@pytest.mark.parametrize(
    "frame",
    [
        of_tables("notes.csv", "/home/somebody/notes.csv", "../somebody/notes.csv"),  # one file, named three ways
        of_tables("/a/hoc", "/b/hoc", corpus="hoc-blurb"),  # a corpus that all have
        pd.DataFrame([{"protocol": "notes"}]),
    ],
)
def test_one_corpus_keeps_its_name(frame: pd.DataFrame) -> None:
    assert set(distinguish_tables(frame)["protocol"]) == {"notes"}
