"""Runs that began when splits were always stratified keep their splits and their ids."""

from __future__ import annotations

from pathlib import Path

import yaml

from kdh_ray.config import RunConfig, dump_config, load_run_config, parse_config
from kdh_ray.jobs.claim import write_or_check_config
from kdh_ray.jobs.plan import make_plan
from kdh_ray.jobs.run_rows import run_id

DATA = {"corpus": "table", "path": "notes.csv", "label_columns": ["pain"]}


def config(**data: str) -> RunConfig:
    return parse_config({"data": {**DATA, **data}, "stages": {"teacher": {}}})


def earlier_run(folder: Path) -> Path:
    """Write the configuration of a run that began before there was a choice of rule."""
    tree = yaml.safe_load(dump_config(config()))
    del tree["data"]["split_rule"]
    folder.mkdir()
    (folder / "config.yaml").write_text(yaml.safe_dump(tree))
    return folder


def test_earlier_run_keeps_its_rule(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "run")
    plan = make_plan(config(), folder)
    assert plan.config.data.split_rule == "stratified"
    assert load_run_config(folder / "config.yaml").data.split_rule == "stratified"
    write_or_check_config(folder / "config.yaml", plan.config)


def test_named_rule_is_kept(tmp_path: Path) -> None:
    folder = earlier_run(tmp_path / "run")
    assert make_plan(config(split_rule="hashed"), folder).config.data.split_rule == "hashed"
    (folder / "config.yaml").write_text(dump_config(config()))
    assert make_plan(config(), folder).config.data.split_rule == "hashed"
    assert make_plan(config(), tmp_path / "new").config.data.split_rule == "hashed"


def test_rule_is_in_the_id_of_new_runs_only() -> None:
    assert run_id(config(split_rule="stratified")) == "run-0-a9fd67ca" != run_id(config())
    hoc = parse_config({"data": {"corpus": "hoc-blurb", "path": "hoc"}, "stages": {"teacher": {}}})
    named = hoc.model_copy(update={"data": hoc.data.model_copy(update={"split_rule": "stratified"})})
    assert run_id(hoc) == run_id(named)
