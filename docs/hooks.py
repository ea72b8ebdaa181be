"""Fill the pages' generated parts: tables of settings, the verbs' help, and files from the repository's root.

MkDocs calls :func:`on_page_markdown` for each page. A page asks for a part with a comment of its own on one line:

    <!-- settings: StageConfig -->    a table of the fields of that section of a configuration
    <!-- help: predict -->            what `kdh-ray predict --help` prints
    <!-- help: every-verb -->         the same for each verb, under a heading of its own
    <!-- file: CONTRIBUTING.md -->    a Markdown file, its first heading included
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

ROOT = Path(__file__).resolve().parent.parent
MARK = re.compile(r"^<!-- (settings|help|file): (\S+) -->$", re.MULTILINE)
SEEDS = 2**31  # the bound of seeds, which no reader needs
BOUNDS = {"ge": "≥ {:g}", "gt": "> {:g}", "le": "≤ {:g}", "lt": "< {:g}"}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace each mark of a page by the part that it asks for."""
    parts = {"settings": settings_table, "help": verb_help, "file": repository_file}
    return MARK.sub(lambda mark: parts[mark[1]](mark[2]), markdown)


def settings_table(section: str) -> str:
    """Return a Markdown table with a line for each setting: its name, meaning, default, and what it takes."""
    import kdh_ray.config

    lines = ["| setting | meaning | default | takes |", "|---|---|---|---|"]
    for name, field in getattr(kdh_ray.config, section).model_fields.items():
        default = "required" if field.is_required() else _default(field.default)
        takes = ", ".join(filter(None, [_type(field.annotation), _bounds(field)]))
        cells = [f"`{name}`", field.description or "", default, takes]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


def _default(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, BaseModel):
        return "its own defaults"
    return f"`{list(value) if isinstance(value, tuple) else value}`"


def _type(annotation: Any) -> str:
    """Return the plain words for a type: ``whole number``, ``text``, or the values of a Literal."""
    words = {
        int: "whole number",
        float: "number",
        bool: "yes or no",
        str: "text",
        Path: "path",
        type(None): "",
        Any: "any values",
    }
    if annotation in words:
        return words[annotation]
    if hasattr(annotation, "__metadata__"):
        return _type(get_args(annotation)[0])
    arguments = [each for each in get_args(annotation) if each is not Ellipsis]
    if arguments and all(isinstance(each, str) for each in arguments):
        return ", ".join(f"`{each}`" for each in arguments)
    if getattr(annotation, "__origin__", None) is tuple:
        return f"list of {_type(arguments[0])}"
    if getattr(annotation, "__origin__", None) is dict:
        return f"mapping to {_type(arguments[1])}"
    if arguments:
        return " or ".join(filter(None, map(_type, arguments)))
    return getattr(annotation, "__name__", str(annotation))


def _bounds(field: Any) -> str:
    found = [*field.metadata]
    for each in (field.annotation, *get_args(field.annotation)):  # Annotated[int, Field(ge=1)] | None
        for part in getattr(each, "__metadata__", ()):
            found += getattr(part, "metadata", [part])
    return ", ".join(
        text.format(getattr(each, kind))
        for each in found
        for kind, text in BOUNDS.items()
        if hasattr(each, kind) and getattr(each, kind) < SEEDS
    )


def verb_help(verb: str) -> str:
    """Return what ``kdh-ray VERB --help`` prints, as a code block."""
    from kdh_ray.cli import main

    if verb == "every-verb":
        verbs = [each for group in main.VERBS.values() for each in group]
        return "\n\n".join(f"## `kdh-ray {each}`\n\n{verb_help(each)}" for each in verbs)
    os.environ["COLUMNS"] = "88"
    subparsers = next(action for action in main._parser(verb)._actions if action.dest == "verb")
    assert subparsers.choices is not None  # noqa: S101 - argparse's own type is wider
    parsers = [subparsers.choices[verb]]
    for action in parsers[0]._actions:  # corpus has verbs of its own: describe, fetch
        if isinstance(action.choices, dict) and action.dest == "action":
            parsers += action.choices.values()
    return "\n\n".join(f"```text\n{parser.format_help()}```" for parser in parsers)


def repository_file(path: str) -> str:
    """Return a Markdown file of the repository; its links to pages of this site are made relative to ``docs/``."""
    return (ROOT / path).read_text(encoding="utf-8").replace("](docs/", "](")
