"""Style and output of all figures: colours that follow the reader's light or dark theme, SVG and PNG.

Figures are drawn in the colours of the light theme. In a page, each colour becomes a CSS variable
(``var(--series-0, #...)``), so that one drawing serves both themes. A file for a paper keeps the light colours.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kdh_ray.extras import require

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

# Name: (light theme, dark theme). The contrast to the background is at least 3, that of text at least 4.5 (WCAG AA).
COLOURS = {
    "ink": ("#1c2128", "#e6e9ec"),
    "muted": ("#6b7480", "#97a1ac"),
    "rule": ("#d5d9de", "#3a424c"),
    "series-0": ("#0b63b0", "#6db3f8"),
    "series-1": ("#c2500a", "#ff9a57"),
    "series-2": ("#147d5b", "#48cf9f"),
    "series-3": ("#8a4baf", "#cfa4f7"),
    "series-4": ("#a3690b", "#e6c044"),
    "series-5": ("#c02f6b", "#ff8fb8"),
    "series-6": ("#317f8f", "#71d0e3"),
}
INK = COLOURS["ink"][0]
MUTED = COLOURS["muted"][0]
RULE = COLOURS["rule"][0]
SERIES = [light for name, (light, _) in COLOURS.items() if name.startswith("series")]
MARKERS = "osD^vP*X"
# Inches: a column of a paper. It is 259 points, so that text of 8 points has 11 pixels on a phone that is 390 wide.
WIDTH = 3.6
_CHARACTERS = 56  # fit into the width
_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans", "Verdana", "sans-serif"],
    "font.size": 8.5,
    "axes.titlesize": 8.5,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": RULE,
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "svg.fonttype": "none",
    "text.parse_math": False,  # a label may hold dollars
    "savefig.dpi": 200,
}


class Plot(NamedTuple):
    """Result of a figure's function.

    Attributes:
        text: Text alternative of the figure, in sentences.
        data: Drawn data, as a small frame.
        drawing: Matplotlib's figure.
    """

    text: str
    data: pd.DataFrame
    drawing: Drawing


@dataclass(frozen=True)
class Figure:
    """Drawing with a text alternative and its data.

    Attributes:
        name: Name of its file, unique in a report.
        title: Title.
        text: Text alternative: what the figure shows, in sentences.
        data: Drawn data, as a small frame.
        drawing: Matplotlib's figure.
    """

    name: str
    title: str
    text: str
    data: pd.DataFrame
    drawing: Drawing

    def svg(self, themed: bool = False) -> str:
        """Return the figure as SVG.

        Args:
            themed: For an HTML page: with colours as CSS variables (see :func:`css`), as wide as its container, and
                with ids that no other figure has. Otherwise for a file.
        """
        buffer = io.StringIO()
        with style(**{"svg.hashsalt": self.name}), warnings.catch_warnings():
            # SVG stores text as text, so a glyph that our font lacks is drawn with the reader's fonts.
            warnings.filterwarnings("ignore", "Glyph")
            self.drawing.savefig(buffer, format="svg", metadata={"Date": None, "Title": self.title})
        return _themed(buffer.getvalue(), self.name, self.text) if themed else buffer.getvalue()

    def png(self) -> bytes:
        """Return the figure as PNG on a white background."""
        buffer = io.BytesIO()
        with style():
            self.drawing.savefig(buffer, format="png", facecolor="white")
        return buffer.getvalue()


@dataclass(frozen=True)
class Maker:
    """Kind of figure: a function from rows to a :class:`Figure`.

    Attributes:
        name: Name of the figure's file.
        title: Title of the figure.
        make: Function that draws it.
    """

    name: str
    title: str
    make: Callable[[Any], Plot]

    def __call__(self, rows: Any) -> Figure:
        """Draw the figure.

        Raises:
            DataError: If the rows don't hold what it shows; says why.
            UnavailableError: If a library that draws it is not installed.
        """
        with style():
            return Figure(self.name, self.title, *self.make(rows))


def figure(name: str, title: str) -> Callable[[Callable[[Any], Plot]], Maker]:
    """Decorate a function from rows to a :class:`Plot`, which makes it a :class:`Maker`."""
    return lambda make: Maker(name, title, make)


@contextmanager
def style(**more: Any) -> Iterator[None]:
    """Apply the style of all figures, with ``more`` settings of Matplotlib.

    Raises:
        UnavailableError: If Matplotlib is not installed.
    """
    require("a figure", "report", "matplotlib")
    import matplotlib

    with matplotlib.rc_context({**_STYLE, **more}):
        yield


def canvas(height: float, rows: int = 1, **arguments: Any) -> tuple[Drawing, list[Axes]]:
    """Return an empty drawing and its axes from top to bottom.

    Args:
        height: Inches.
        rows: Number of axes below each other.
        arguments: Further arguments of Matplotlib's ``subplots``.
    """
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH, height), layout="constrained")
    axes = drawing.subplots(rows, 1, squeeze=False, **arguments)
    return drawing, list(axes[:, 0])


def legend(drawing: Drawing, axes: Axes, columns: int = 2) -> None:
    """Add the names of the series above the axes, in at most ``columns`` columns, fewer where names are long."""
    from matplotlib.container import ErrorbarContainer

    handles, labels = axes.get_legend_handles_labels()
    handles = [each[0] if isinstance(each, ErrorbarContainer) else each for each in handles]  # markers, no error bars
    labels = [cut(label) for label in labels]
    room = max(1, _CHARACTERS // (max(map(len, labels), default=0) + 6))
    drawing.legend(
        handles, labels, loc="outside upper left", ncols=min(columns, room), handlelength=1.8, columnspacing=1.2
    )


def cut(name: str, length: int = _CHARACTERS - 8) -> str:
    """Return a name without its middle if it is too long: names mostly differ at their beginnings and ends."""
    return name if len(name) <= length else f"{name[: length // 2]}…{name[len(name) - (length - 1) // 2 :]}"


def log_scale(axes: Axes, name: Literal["x", "y"]) -> None:
    """Make an axis logarithmic, with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def spans_decades(values: pd.Series[Any]) -> bool:
    """Return whether positive numbers span so much that a logarithmic axis shows them better."""
    return bool(values.min() > 0 and values.max() / values.min() > 20)


def look(index: int) -> dict[str, Any]:
    """Return the colour and marker of the series with this index; the first 56 all look different."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}


def css() -> tuple[str, str]:
    """Return the declarations of the colours' CSS variables: those of the light theme, and of the dark theme."""
    light, dark = (" ".join(f"--{name}: {pair[theme]};" for name, pair in COLOURS.items()) for theme in range(2))
    return light, dark


def _themed(svg: str, name: str, text: str) -> str:
    """Return an SVG file as an element for a page: unique ids, a text alternative, and colours as CSS variables."""
    from html import escape

    svg = svg[svg.index("<svg") :]  # without the XML declaration, which HTML does not allow here
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # Matplotlib numbers ids per file, so that two figures of a page would share them.
    svg = re.sub(r'\b(id=")', rf"\1{name}-", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', _opening(escape(text)), svg, count=1)
    variables = {light: f"var(--{name}, {light})" for name, (light, _) in COLOURS.items()}
    return re.sub("|".join(variables), lambda match: variables[match.group()], svg)


def _opening(label: str) -> Callable[[re.Match[str]], str]:
    """Return the replacement of the ``<svg>`` tag: without width and height, and with a label for screen readers."""
    namespaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return lambda match: f'<svg {namespaces} role="img" aria-label="{label}" {match.group(1)}>'
