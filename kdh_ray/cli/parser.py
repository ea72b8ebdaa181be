"""Argument parser whose errors are one line each and suggest the nearest name."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Any, NoReturn

_HELP_COLUMN = 30  # where the text of an option begins; wide enough for `--set SECTION.KEY=VALUE`
_INVALID_CHOICE = re.compile(
    r"argument (?P<argument>.+): invalid choice: '(?P<word>.*)' \(choose from (?P<choices>.*)\)", re.DOTALL
)


class _HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions and examples, and puts most options on one line."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=_HELP_COLUMN)


class Parser(argparse.ArgumentParser):
    """Parser of ``kdh-ray`` and of each verb."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": _HelpFormatter, "allow_abbrev": False, **settings})

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, and refuse an unknown argument here, where the verb's own options are known."""
        parsed, unknown = super().parse_known_args(args, namespace)
        options = [argument.split("=")[0] for argument in unknown if argument.startswith("-")]
        if options:
            known = self._option_string_actions
            hint = _setting_hint(options[0]) if "--set" in known else ""
            self.error(f"unknown option {options[0]}{hint or suggestion(options[0], known)}")
        if unknown:
            self.error(f"unexpected argument {unknown[0]!r}")
        return parsed, unknown

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        if match := _INVALID_CHOICE.fullmatch(message):
            choices = re.findall(r"[\w-]+", match["choices"])
            hint = suggestion(match["word"], choices) or f"; choose from {', '.join(choices)}"
            named = "unknown verb" if match["argument"] == "VERB" else f"{match['argument']}: unknown value"
            message = f"{named} {match['word']!r}{hint}"
        self.exit(2, f"kdh-ray: {message} (see {self.prog} --help)\n")


def suggestion(word: str, names: Iterable[str]) -> str:
    """Return ``; did you mean 'NAME'?``, or nothing if no name is near. Dashes before options don't make them alike."""
    plain = {name.lstrip("-"): name for name in names}
    near = get_close_matches(word.lstrip("-"), list(plain), n=1)
    return f"; did you mean {plain[near[0]]!r}?" if near else ""


def _setting_hint(option: str) -> str:
    """Return how to set a setting of the corpus that was given as an option of its name, else nothing."""
    from kdh_ray.config.data import DataConfig

    name = option.lstrip("-").replace("-", "_")
    return f": the corpus's settings are given as --set data.{name}=VALUE" if name in DataConfig.model_fields else ""
