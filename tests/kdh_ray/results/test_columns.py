"""Columns that every frame of rows has."""

from pathlib import Path

import pandas as pd

from kdh_ray.results import load_runs, normalise_rows, write_row
from kdh_ray.results.columns import NUMBER_COLUMNS, TEXT_COLUMNS, setting_name


def test_loaded_rows_have_every_column(tmp_path: Path) -> None:
    write_row(tmp_path, {"run_id": "a", "stage": "s", "status": "ok", "extra": 1})
    frame = load_runs(tmp_path)
    assert {*TEXT_COLUMNS, *NUMBER_COLUMNS, "extra"} <= set(frame)
    assert frame.columns[0] == "run_id"
    assert frame.loc[0, "extra"] == 1
    assert frame.loc[0, "pair"] is None
    assert pd.isna(frame.loc[0, "trial"])


def test_number_columns_without_values_are_floats() -> None:
    frame = normalise_rows(pd.DataFrame({"run_id": ["a", "b"], "seed": [None, None]}), "test_f1_blue")
    assert frame[["seed", "test_f1_micro", "test_f1_blue"]].dtypes.tolist() == [float] * 3


def test_values_and_order_of_columns_stay() -> None:
    frame = pd.DataFrame({"seed": [3, 4], "kind": ["student", None], "x": [1, 2]}, index=[7, 7])
    normal = normalise_rows(frame)
    assert normal.columns[:3].tolist() == ["seed", "kind", "x"]
    pd.testing.assert_frame_equal(normal[["seed", "kind", "x"]], frame)
    pd.testing.assert_frame_equal(normalise_rows(normal), normal)


def test_settings_lose_their_prefix() -> None:
    assert setting_name("config_loss.alpha") == "loss.alpha"
    assert setting_name("trial") == "trial"
