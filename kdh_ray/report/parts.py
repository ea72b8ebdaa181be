"""Parts of a report: tables, sections, and the report itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kdh_ray.report.figures import Figure, LeftOut
from kdh_ray.report.winner import Winner

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Table:
    """Table of a section.

    Attributes:
        title: Heading.
        frame: Table of ``kdh_ray.results.tables``, or any frame.
        note: Explanation below the table.
        folded: Whether the page shows it only when the reader opens it.
    """

    title: str
    frame: pd.DataFrame
    note: str = ""
    folded: bool = False


@dataclass
class Section:
    """Section of the page: an introduction, tables, figures, and what is left out with the reason."""

    title: str
    intro: str = ""
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    @property
    def reasons(self) -> dict[str, list[str]]:
        """Titles of what is left out, by reason."""
        titles: dict[str, list[str]] = {}
        for each in self.left_out:
            titles.setdefault(each.reason, []).append(each.title)
        return titles


@dataclass(frozen=True)
class Report:
    """Content of the page.

    Attributes:
        title: Title of the page.
        lede: What was run, in a sentence.
        facts: What was run in detail, by heading.
        winners: The best student of each protocol and pair of encoders.
        sections: Sections in their order.
    """

    title: str
    lede: str
    facts: dict[str, str]
    winners: list[Winner]
    sections: list[Section]

    @property
    def figures(self) -> list[Figure]:
        """Figures of all sections."""
        return [figure for section in self.sections for figure in section.figures]
