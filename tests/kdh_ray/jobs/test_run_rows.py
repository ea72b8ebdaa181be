from __future__ import annotations

from typing import Any

from kdh_ray.config import RunConfig, parse_config
from kdh_ray.jobs.run_rows import run_id


def config(**data: Any) -> RunConfig:
    return parse_config(
        {
            "name": "x",
            "seed": 3,
            "data": {"corpus": "synthetic", "max_tokens": 64, "segments": False, **data},
            "stages": {"t": {"start": "embedded"}, "s": {"start": "t", "layers": 2, "teachers": ["t"]}},
            "tune": {"trials": 5},
        }
    )


def test_ids_of_version_0_1_are_kept() -> None:
    assert run_id(config()) == "x-3-a8a6b3d1"  # as version 0.1.0 wrote it
    assert run_id(config(max_tokens=65)) == "x-3-4a0abd02"


def test_another_pooling_is_another_run() -> None:
    tree = config().model_dump(mode="json")
    pooled = {name: {**stage, "pooling": "cls"} for name, stage in tree["stages"].items()}
    assert run_id(parse_config({**tree, "stages": pooled})) != run_id(config())


def test_unlabelled_predictions_keep_their_id() -> None:
    assert run_id(config(unlabelled=["predictions"])) == "x-3-0d6b6f25"
    assert run_id(config(unlabelled={"path": "more.csv"})) != run_id(config())


def test_another_reading_is_another_run() -> None:
    changes: list[dict[str, Any]] = [{"segmenter": "lines"}, {"language": "de"}, {"window_overlap": 8}]
    assert len({run_id(config()), *(run_id(config(**change)) for change in changes)}) == 4


def test_the_machine_does_not_change_the_id() -> None:
    changed = config().model_copy(update={"cache": None, "results": "s3://bucket/results"})
    assert run_id(changed) == run_id(config())
