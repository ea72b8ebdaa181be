"""``kdh-ray`` before a verb runs: its help, and mistakes on the command line."""

import sys
from pathlib import Path

import pytest
import yaml

from kdh_ray.cli import run
from kdh_ray.cli.main import VERBS, main
from kdh_ray.config import parse_config

AGAIN = "; to resume, run the same command again"
NAMES = [name for verbs in VERBS.values() for name in verbs]


def refused(*arguments: str) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(arguments)
    assert exit_.value.code == 2


def test_help_lists_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    lines = capsys.readouterr().out.splitlines()
    for name in NAMES:
        assert any(line.startswith(f"  {name} ") for line in lines)
    assert max(map(len, lines)) <= 90


def test_no_verb_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "quickstart" in capsys.readouterr().err


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    actions = [["describe"], ["fetch"]] if name == "corpus" else [[]]
    for action in actions:
        with pytest.raises(SystemExit) as exit_:
            main([name, *action, "--help"])
        assert exit_.value.code == 0
        lines = capsys.readouterr().out.splitlines()
        for line, following in zip(lines, [*lines[1:], ""], strict=True):
            if line.startswith("  -"):  # an option; its help stands in the same line, or indented in the next
                assert len(line.lstrip().split("  ")) > 1 or following.startswith("    ")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["run", "my.yaml"], AGAIN),
        (["tune", "my.yaml"], "; to resume, run the same command with --resume"),
        (["tune", "my.yaml", "--resume"], AGAIN),
        (
            ["predict", "checkpoint", "--input", "notes.csv", "--output", "out"],
            "; to resume, run the same command again",
        ),
        (["evaluate", "checkpoint"], ""),
        (["results", "runs"], ""),
    ],
)
def test_ctrl_c_exits_with_130(
    arguments: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("data: {documents: 60}\nstages: {student: {}}\n")
    for name in (
        "kdh_ray.jobs.run", "kdh_ray.jobs.search", "kdh_ray.inference.predict_files", "kdh_ray.results.load_runs",
        "kdh_ray.models.checkpoint.load_card",
    ):  # fmt: skip
        monkeypatch.setattr(name, interrupt)
    assert main(arguments) == 130
    assert capsys.readouterr().err == f"kdh-ray: interrupted{hint}\n"


@pytest.mark.parametrize("verb", ["run", "teach", "tune"])
def test_unwritable_folder_is_one_line(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("my.yaml").write_text("data: {documents: 60}\nstages: {a: {}, b: {teachers: [a]}}\n")
    assert main([verb, "my.yaml", "--out", "my.yaml/out"]) == 2
    assert capsys.readouterr().err == f"kdh-ray: {tmp_path}/my.yaml/out can't be written: Not a directory\n"


def test_configuration_in_the_help_is_valid() -> None:
    text = run.EXAMPLES.split("a configuration names a corpus and the stages to train:")[1]
    assert list(parse_config(yaml.safe_load(text)).stages) == ["teacher", "student"]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["rnu", "my.yaml"], "unknown verb 'rnu'; did you mean 'run'? (see kdh-ray --help)"),
        (["frobnicate"], f"unknown verb 'frobnicate'; choose from {', '.join(NAMES)} (see kdh-ray --help)"),
        (
            ["corpus", "descrbe"],
            "ACTION: unknown value 'descrbe'; did you mean 'describe'? (see kdh-ray corpus --help)",
        ),
        (["run", "my.yaml", "--outt", "x"], "unknown option --outt; did you mean '--out'? (see kdh-ray run --help)"),
        (["--versoin"], "unknown option --versoin; did you mean '--version'? (see kdh-ray --help)"),
        (["run", "my.yaml", "other.yaml"], "unexpected argument 'other.yaml' (see kdh-ray run --help)"),
        (["run"], "the following arguments are required: CONFIG (see kdh-ray run --help)"),
        (
            ["results", "runs", "--format", "excel"],
            "--format: unknown value 'excel'; choose from table, csv, md, latex, parquet (see kdh-ray results --help)",
        ),
    ],
)
def test_mistakes_end_in_one_line(arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(*arguments)
    assert capsys.readouterr().err == f"kdh-ray: {expected}\n"


def test_removed_runtime_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "kdh_runtime.serving.options", None)  # as after `pip uninstall kdh-runtime`
    assert main(["serve", "checkpoint"]) == 2
    message = capsys.readouterr().err
    assert message.startswith("kdh-ray: kdh_runtime.serving.options is missing: kdh-ray brings it along")
    assert message.count("\n") == 1


def test_other_missing_modules_are_internal_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kdh_ray.cli.predict", None)
    with pytest.raises(ModuleNotFoundError):
        main(["predict", "checkpoint"])


@pytest.mark.parametrize("words", [["run", "my.yaml", "--verb"], ["corpus", "describe", "--over"], ["--vers"]])
def test_abbreviated_options_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    refused(*words)
    assert f"unknown option {words[-1]}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["evaluate", "c", "--path", "x"], ": the corpus's settings are given as --set data.path=VALUE"),
        (["evaluate", "c", "--text-column", "x"], "--set data.text_column=VALUE"),
        (["evaluate", "c", "--spilt", "test"], "; did you mean '--split'?"),
        (["evaluate", "c", "--xyz"], "unknown option --xyz (see"),
    ],
)
def test_unknown_options_have_a_fitting_hint(words: list[str], hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    refused(*words)
    assert hint in capsys.readouterr().err
