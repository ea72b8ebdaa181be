"""Griffe extension: docstrings as the reference shows them.

``Example:`` becomes the section that griffe calls ``Examples:``, an example outside any section becomes a code block,
roles of Sphinx become plain code, and flags of doctest are left out.
"""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:class|func|data|meth|mod|attr):`~?([^`]+)`")
EXAMPLE = re.compile(r"^( *)Example:$", re.MULTILINE)
BARE = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)
FLAG = re.compile(r" *# doctest: .*$", re.MULTILINE)


class PlainDocstrings(griffe.Extension):
    """Rewrite every docstring once it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of a module, class, function or attribute."""
        if obj.docstring is not None:
            text = EXAMPLE.sub(r"\1Examples:", FLAG.sub("", obj.docstring.value))
            obj.docstring.value = ROLE.sub(r"`\1`", BARE.sub(lambda code: f"```python\n{code[0]}\n```", text))
