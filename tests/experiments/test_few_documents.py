"""The experiment on few documents: its samples, and the configurations of its ways."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from experiments.few_documents import WAYS, configured, draw_documents, main, scores
from kdh_ray.config import RunConfig
from kdh_ray.results import normalise_rows


@pytest.fixture
def table(tmp_path: Path) -> Path:
    splits = ["train"] * 40 + ["validation"] * 5 + ["test"] * 7
    labels = [["pain"], [], ["pain", "fever"]] * len(splits)
    rows = [
        {
            "id": f"{place:03}",
            "split": split,
            "labels": labels[place],
            "segments": [{"text": f"note {place}", "labels": []}],
        }
        for place, split in enumerate(splits)
    ]
    file = tmp_path / "notes.jsonl"
    pd.DataFrame(rows).to_json(file, orient="records", lines=True)
    return file


def test_sample_has_an_eighth_for_validation_and_the_whole_test_split(table: Path, tmp_path: Path) -> None:
    samples = []
    for seed in (0, 0, 1):
        draw_documents(table, tmp_path / "few" / "sample.jsonl", tmp_path / "few" / "others.jsonl", 16, seed)
        samples.append(pd.read_json(tmp_path / "few" / "sample.jsonl", lines=True, dtype=False))
    assert samples[0]["split"].value_counts().to_dict() == {"train": 14, "validation": 2, "test": 7}
    assert samples[0].equals(samples[1])
    others = pd.read_json(tmp_path / "few" / "others.jsonl", lines=True, dtype=False)
    assert set(others["id"]) == {f"{place:03}" for place in range(40)} - set(samples[2]["id"])
    assert others["text"].iloc[0] == f"note {int(others['id'].iloc[0])}"
    assert set(samples[0]["id"]) != set(samples[2]["id"])
    assert set(samples[0][samples[0]["split"] == "test"]["id"]) == {f"{place:03}" for place in range(45, 52)}


@pytest.mark.parametrize("way", WAYS)
def test_ways_differ_from_the_recipe_in_one_thing(way: str, table: Path) -> None:
    recipe, config = (configured(each, table, table, 3, []) for each in ("recipe", way))
    assert (config.seed, config.data.path) == (3, table)
    assert config.is_mean("teacher") == (way in ("members", "unlabelled", "folds"))
    assert (config.data.unlabelled_text is not None) == (way == "unlabelled")
    assert config.data.folds == (3 if way == "folds" else 1)
    assert config.tune.trials == (12 if way == "search" else None)
    student = config.stages["student"]
    assert student.start == ("teacher-1" if way in ("members", "unlabelled") else "teacher")
    own = {"start": student.start} | ({"epochs": 20, "learning_rate": 5e-4} if way == "longer" else {})
    assert student == recipe.stages["student"].model_copy(update=own)


def test_each_seed_performs_all_ways(table: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    performed = []

    def perform(way: str, config: RunConfig, out: Path) -> None:
        performed.append((way, config.seed, out.name))

    assert main([str(table), "--out", str(tmp_path / "few"), "--documents", "16", "--seeds", "2"], perform) == 2
    assert "no result rows" in capsys.readouterr().err
    assert performed == [(way, seed, f"{way}-{seed}") for seed in (0, 1) for way in WAYS]


def test_scores_are_means_over_seeds_by_way_and_stage() -> None:
    names = ["method", "stage", "kind", "seed", "test_f1_micro"]
    rows = [
        ("recipe", "student", "student", 0, 0.7), ("recipe", "student", "student", 1, 0.8),
        ("search", "student", "student", 0, 0.9), ("search", "student", "trial", 0, None),
        (None, "tf-idf", "baseline", 0, 0.6),
    ]  # fmt: skip
    table = scores(normalise_rows(pd.DataFrame(rows, columns=names)))["test_f1_micro"]
    assert table["mean"].tolist() == [75.0, 90.0, 60.0]
    assert table["count"].tolist() == [2, 1, 1]
    assert table.loc[("recipe", "student"), "std"] == pytest.approx(7.1)
