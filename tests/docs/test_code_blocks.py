"""Every fenced block of the README and the documentation runs, is checked, or says in a comment why not.

* ``python``: executed in the workspace.
* ``sh``: each ``kdh-ray`` command is parsed by the real parser; those that take seconds run in the workspace.
* ``yaml``: checked as a configuration, or as sections of one. ``json``: parsed.
* ``<!-- not run: reason -->`` on the line before a block exempts it. Its ``kdh-ray`` commands are parsed all the same.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from kdh_ray.cli.main import _parser, main
from kdh_ray.config import apply_overrides, parse_config

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^>]+) -->\n)?(?P<indent> *)```(?P<kind>\w*)\n(?P<text>.*?)^(?P=indent)```",
    re.MULTILINE | re.DOTALL,
)
QUICK = {
    "results",
    "report",
    "evaluate",
    "doctor",
    "predict",
    "corpus",
    "card",
}  # verbs that the workspace answers in seconds
SMALLEST = {"name": "my", "data": {"corpus": "table"}, "stages": {"teacher": {}, "student": {"teachers": ["teacher"]}}}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    page: Path
    line: int
    kind: str
    text: str
    reason: str | None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text[: match.start()].count("\n") + 1, match["kind"], match["text"], match["reason"])
        for match in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def of_kind(*kinds: str) -> list[Block]:
    return [block for block in BLOCKS if block.kind in kinds]


def commands(block: Block) -> list[str]:
    """Return the commands of a shell block, without comments; continued lines are joined."""
    text = re.sub(r"\\\n\s*|(?<=\|)\n\s*", " ", block.text)
    return [line for line in (re.sub(r"(^|\s)#.*", "", line).strip() for line in text.splitlines()) if line]


def kdh_ray_arguments(command: str) -> list[list[str]]:
    """Return the arguments of each ``kdh-ray`` in a command, wherever it is in a pipe."""
    words = shlex.split(command)
    starts = [place + 1 for place, word in enumerate(words) if word == "kdh-ray"]
    return [[word for word in words[start:] if word not in ("&", "|")] for start in starts]


def test_every_block_names_its_language():
    assert {block.kind for block in BLOCKS} <= {"python", "sh", "yaml", "json", "text"}
    assert len(BLOCKS) > 60


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=[pytest.mark.slow] if "search(" in block.text else []) for block in of_kind("python")],
    ids=str,
)
def test_python_block_runs(block, workspace, monkeypatch):
    if block.reason:
        pytest.skip(block.reason)
    monkeypatch.chdir(workspace)
    exec(compile(block.text, str(block), "exec"), {"__name__": "documentation"})


@pytest.mark.parametrize("block", of_kind("sh"), ids=str)
def test_shell_block_has_valid_commands(block):
    known = ("kdh-ray ", "echo ", "python examples/")
    for command in commands(block):
        for arguments in kdh_ray_arguments(command):
            args = _parser(arguments[0]).parse_args(arguments)
            apply_overrides({}, getattr(args, "set", []))
        assert block.reason or command.startswith(known), f"{command!r} neither runs nor says why not"


@pytest.mark.parametrize("block", [each for each in of_kind("sh") if not each.reason], ids=str)
def test_quick_command_runs(block, workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    for command in commands(block):
        for arguments in kdh_ray_arguments(command):
            if arguments[0] not in QUICK or "--input" in arguments:  # files are labelled on Ray Data
                continue
            if command.startswith("echo "):
                text = shlex.split(command)[1]
                monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
            if arguments[0] == "doctor":
                arguments = [*arguments, "--seconds", "0.01"]
            assert main(arguments) == 0, f"{command!r}: {capsys.readouterr().err}"


@pytest.mark.parametrize("block", of_kind("yaml"), ids=str)
def test_yaml_block_is_a_configuration(block):
    tree = yaml.safe_load(block.text)
    parse_config(tree if "stages" in tree else {**SMALLEST, **tree}, str(block))


@pytest.mark.parametrize("block", of_kind("json"), ids=str)
def test_json_block_is_json(block):
    assert json.loads(block.text)
