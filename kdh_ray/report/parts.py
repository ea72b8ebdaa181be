"""What a page is made of."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kdh_ray.report.figures import Figure, LeftOut
from kdh_ray.report.summary import Winner

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """A frame to print, what it is, and what to know when reading it; ``folded``: to be opened by the reader."""

    title: str
    frame: pd.DataFrame
    note: str = ""
    folded: bool = False


@dataclass
class Section:
    """A part of the page."""

    title: str
    intro: str = ""
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Reason to the titles of what is left out for it."""
        found: dict[str, list[str]] = {}
        for each in self.left_out:
            found.setdefault(each.reason, []).append(each.title)
        return found


@dataclass(frozen=True)
class Report:
    """All that the page shows.

    Attributes:
        title: Of the page.
        lede: What was run, in a sentence.
        facts: The same and more, by heading.
        winners: One a protocol and pair of encoders.
        sections: In order.
    """

    title: str
    lede: str
    facts: dict[str, str]
    winners: list[Winner]
    sections: list[Section]

    @property
    def figures(self) -> list[Figure]:
        return [figure for section in self.sections for figure in section.figures]
