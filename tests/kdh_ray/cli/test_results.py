"""``kdh-ray results``."""

import csv
import io
from pathlib import Path

import pandas as pd
import pytest

from kdh_ray.cli.main import main
from kdh_ray.results import load_runs, write_row


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed, f1 in enumerate((0.8, 0.9)):
        write_row(
            tmp_path / f"run-{seed}",
            {"run_id": f"run-{seed}", "stage": "distil", "status": "ok", "seed": seed, "test_f1_micro": f1},
        )
    return tmp_path


@pytest.mark.parametrize(
    ("style", "expected"),
    [
        ("table", "85.0 ± 7.1 (2)"),
        ("md", "| 85.0 ± 7.1 (2) |"),
        ("latex", r"85.0 $\pm$ 7.1 (2)"),
        ("csv", "test_f1_micro_sd"),
    ],
)
def test_formats_print_means_over_seeds(
    runs: Path, capfd: pytest.CaptureFixture[str], style: str, expected: str
) -> None:
    assert main(["results", str(runs), "--format", style]) == 0
    assert expected in capfd.readouterr().out


def test_parquet_goes_to_a_pipe(runs: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert main(["results", str(runs), "--format", "parquet"]) == 0
    assert pd.read_parquet(io.BytesIO(capfdbinary.readouterr().out))["n"].tolist() == [2]


def test_all_rows_keep_their_columns(runs: Path, tmp_path: Path) -> None:
    output = tmp_path / "all.csv"
    assert main(["results", str(runs), "--all", "--format", "csv", "-o", str(output)]) == 0
    assert pd.read_csv(output)["test_f1_micro"].tolist() == [0.8, 0.9]


def test_several_folders_make_one_table(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["results", str(runs / "run-0"), str(runs / "run-1")]) == 0
    assert "(2)" in capfd.readouterr().out


def test_missing_folder_exits_with_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["results", str(tmp_path / "nowhere")]) == 2
    streams = capfd.readouterr()
    assert streams.out == ""
    assert streams.err == f"kdh-ray: {tmp_path}/nowhere: no such file or folder\n"


def test_file_without_rows_exits_with_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    notes = tmp_path / "notes.csv"
    notes.write_text("text,pain\nhello,1\n")
    for verb in ("results", "report"):
        assert main([verb, str(notes)]) == 2
        assert (
            capfd.readouterr().err
            == f"kdh-ray: {notes}: not a result row: name a run's folder, or a Parquet file of its rows\n"
        )


def test_folder_without_rows_exits_with_2(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["results", str(tmp_path)]) == 2
    assert capfd.readouterr().err.count("\n") == 1


def test_corrupt_row_is_skipped_on_demand(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = next((runs / "run-0").glob("*.parquet"))
    broken.write_bytes(b"PAR1")
    assert main(["results", str(runs)]) == 2
    assert broken.name in capfd.readouterr().err
    assert main(["results", str(runs), "--skip-corrupt"]) == 0
    streams = capfd.readouterr()
    assert broken.name in streams.err
    assert "90.0" in streams.out


def test_unwritable_output_exits_with_2(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["results", str(runs), "-o", str(runs / "no" / "such" / "file")]) == 2
    assert "can't be written" in capfd.readouterr().err


def test_rows_are_kept_in_a_bucket(runs: Path, bucket: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["results", str(runs), str(runs / "run-0"), "--keep", f"{bucket}/kept"]) == 0
    assert "kept 2 rows" in capfd.readouterr().err
    assert len(load_runs(f"{bucket}/kept")) == 2


def test_rows_of_folders_become_one_file(runs: Path, tmp_path: Path) -> None:
    folders = [str(runs / f"run-{number}") for number in (0, 1)]
    assert main(["results", *folders, "--keep", str(tmp_path / "kept")]) == 0
    assert [file.name.startswith("rows-2-") for file in (tmp_path / "kept").iterdir()] == [True]


def test_skip_corrupt_keeps_the_other_rows(runs: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    broken = next((runs / "run-0").glob("*.parquet"))
    broken.write_bytes(b"PAR1")
    assert main(["results", str(runs), "--skip-corrupt", "--keep", str(tmp_path / "kept")]) == 0
    assert capfd.readouterr().err.count(broken.name) == 1
    assert load_runs(tmp_path / "kept")["run_id"].tolist() == ["run-1"]


def test_csv_prints_notes_on_stderr(runs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    again = {"run_id": "again", "stage": "distil", "status": "ok", "seed": 1, "test_f1_micro": 0.6}
    write_row(runs / "later", again)
    assert main(["results", str(runs), "--format", "csv"]) == 0
    assert "distil was run again with seed 1" in capfd.readouterr().err


@pytest.fixture
def study(tmp_path: Path) -> Path:
    common = {"status": "ok", "kind": "student", "protocol": "hoc-blurb", "size": "small", "stage": "student"}
    for method, offset in (("full", 0.0), ("softmax-loss", -0.02)):
        for seed in range(3):
            own = {"run_id": f"{method}-{seed}", "experiment": "ablations", "method": method, "seed": seed}
            write_row(tmp_path, {**common, **own, "variant": "loss", "test_f1_micro": 0.8 + offset + seed / 100})
    return tmp_path


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--table", "ablation"], "-2.0 to -2.0"),
        (["--table", "by-size"], "79.0 ± 1.0 (3)"),
        (["--table", "significance", "--reference", "full"], "3 seeds can't give p below 0.25"),
        (["--experiment", "ablations"], "softmax-loss"),
    ],
)
def test_tables_are_chosen_by_name(
    study: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(["results", str(study), *arguments]) == 0
    assert expected in capfd.readouterr().out


def test_pairs_are_compared_separately(study: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rows = load_runs(study)
    for pair, better in (("large-small", 0.0), ("small-tiny", -0.3)):
        for row in rows.to_dict("records"):
            own = {"run_id": f"{row['run_id']}-{pair}", "pair": pair, "test_f1_micro": row["test_f1_micro"] + better}
            write_row(study / "both", {**row, **own})
    command = ["results", str(study / "both"), "--table", "significance", "--format", "csv", "--reference"]
    assert main([*command, "full"]) == 0
    lines = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert [(line["pair"], line["method"]) for line in lines] == [
        ("large-small", "softmax-loss"),
        ("small-tiny", "softmax-loss"),
    ]
    assert [round(float(line["difference"]), 3) for line in lines] == [-0.02, -0.02]
    assert main([*command, "full, small-tiny"]) == 0  # across pairs, where the reference names one
    lines = list(csv.DictReader(capfd.readouterr().out.splitlines()))
    assert {line["method"]: round(float(line["difference"]), 2) for line in lines}["full, large-small"] == 0.3
    assert main([*command, "nobody"]) == 2


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--table", "significance"], "needs --reference METHOD"),
        (["--experiment", "dataset_sizes"], "--experiment must be one of ablations; got 'dataset_sizes'"),
        (["--table", "efficiency"], "no row has a measured latency"),
    ],
)
def test_table_names_what_it_lacks(
    study: Path, capfd: pytest.CaptureFixture[str], arguments: list[str], expected: str
) -> None:
    assert main(["results", str(study), *arguments]) == 2
    assert expected in capfd.readouterr().err
