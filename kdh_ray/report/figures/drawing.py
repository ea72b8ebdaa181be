"""What all figures share: one style, colours that follow the reader's light or dark theme, SVG and PNG.

Colours are written as the light theme's. In a page each of them becomes a CSS variable (``var(--series-0, #...)``), so
that one drawing serves both themes; a file for a paper keeps the light ones.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from kdh_ray.errors import UnavailableError

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Drawing

COLOURS = {  # name: (light theme, dark theme); each has a contrast of at least 3 to its background, text one of 4.5
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
INK, MUTED, RULE = (COLOURS[name][0] for name in ("ink", "muted", "rule"))
SERIES = [light for name, (light, _) in COLOURS.items() if name.startswith("series")]
MARKERS = "osD^vP*X"
WIDTH = 3.6  # inches, a column of a paper; 259 points, so that text of 8 has 11 pixels on a phone of 390
_CHARACTERS = 56  # that fit into the width
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
    """What a figure's function makes."""

    text: str
    data: pd.DataFrame
    drawing: Drawing


@dataclass(frozen=True)
class Figure:
    """A drawing with all that a reader without eyes for it needs.

    Attributes:
        name: Of its file; unique in a report.
        title: What it shows.
        text: What is to be seen, in sentences: the text alternative.
        data: What is drawn, as a small frame.
        drawing: Matplotlib's figure.
    """

    name: str
    title: str
    text: str
    data: pd.DataFrame
    drawing: Drawing

    def svg(self, themed: bool = False) -> str:
        """As SVG.

        Args:
            themed: For an HTML page: colours as CSS variables (see :func:`css`), as wide as its place, ids that no
                other figure has. Otherwise a file of its own.
        """
        buffer = io.StringIO()
        with style(**{"svg.hashsalt": self.name}), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph")  # text stays text: the reader's own fonts show it
            self.drawing.savefig(buffer, format="svg", metadata={"Date": None, "Title": self.title})
        return _themed(buffer.getvalue(), self.name, self.text) if themed else buffer.getvalue()

    def png(self) -> bytes:
        """As PNG on white."""
        buffer = io.BytesIO()
        with style():
            self.drawing.savefig(buffer, format="png", facecolor="white")
        return buffer.getvalue()


@dataclass(frozen=True)
class Maker:
    """A kind of figure: from rows to a :class:`Figure`.

    Raises (when called):
        DataError: If the rows don't hold what it shows, with the reason.
        UnavailableError: If a library that draws it is not installed.
    """

    name: str
    title: str
    make: Callable[[Any], Plot]

    def __call__(self, rows: Any) -> Figure:
        with style():
            return Figure(self.name, self.title, *self.make(rows))


def figure(name: str, title: str) -> Callable[[Callable[[Any], Plot]], Maker]:
    """Make a function from rows to a :class:`Plot` a :class:`Maker`."""
    return lambda make: Maker(name, title, make)


@contextmanager
def style(**more: Any) -> Iterator[None]:
    """The style of all figures, while they are made and while they are written."""
    try:
        import matplotlib
    except ImportError:
        raise UnavailableError("figures need matplotlib: pip install 'kdh-ray[report]'") from None
    with matplotlib.rc_context({**_STYLE, **more}):
        yield


def canvas(height: float, rows: int = 1, **arguments: Any) -> tuple[Drawing, list[Axes]]:
    """An empty drawing, and its axes from top to bottom; ``height`` is in inches."""
    from matplotlib.figure import Figure as Drawing

    drawing = Drawing(figsize=(WIDTH, height), layout="constrained")
    axes = drawing.subplots(rows, 1, squeeze=False, **arguments)
    return drawing, list(axes[:, 0])


def legend(drawing: Drawing, axes: Axes, columns: int = 2) -> None:
    """The series' names above everything, in as many columns as they leave room for."""
    from matplotlib.container import ErrorbarContainer

    handles, labels = axes.get_legend_handles_labels()
    handles = [each[0] if isinstance(each, ErrorbarContainer) else each for each in handles]  # marks without bars
    labels = [cut(label) for label in labels]
    room = max(1, _CHARACTERS // (max(map(len, labels), default=0) + 6))
    drawing.legend(
        handles, labels, loc="outside upper left", ncols=min(columns, room), handlelength=1.8, columnspacing=1.2
    )


def cut(name: str, length: int = _CHARACTERS - 8) -> str:
    """A name without its middle, where it has no room: beginnings and ends are what tells names apart."""
    return name if len(name) <= length else f"{name[: length // 2]}…{name[len(name) - (length - 1) // 2 :]}"


def log_scale(axes: Axes, name: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers at its ticks."""
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set(**{f"{name}scale": "log"})
    axis = axes.xaxis if name == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=(1.0, 3.0)))
    axis.set_major_formatter(lambda value, _: f"{value:g}")
    axis.set_minor_formatter(NullFormatter())


def look(index: int) -> dict[str, Any]:
    """Colour and marker of the series with this index; no two of the first 56 are alike."""
    return {"color": SERIES[index % len(SERIES)], "marker": MARKERS[index % len(MARKERS)]}


def css() -> tuple[str, str]:
    """Declarations of the colours' CSS variables, of the light and of the dark theme."""
    light, dark = (" ".join(f"--{name}: {pair[theme]};" for name, pair in COLOURS.items()) for theme in range(2))
    return light, dark


def _themed(svg: str, name: str, text: str) -> str:
    from html import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\b(id=")', rf"\1{name}-", svg)
    svg = re.sub(r'(url\(#|href="#)', rf"\1{name}-", svg)
    svg = re.sub(r'<svg [^>]*?(viewBox="[^"]*")[^>]*>', _opening(escape(text)), svg, count=1)
    variables = {light: f"var(--{name}, {light})" for name, (light, _) in COLOURS.items()}
    return re.sub("|".join(variables), lambda match: variables[match.group()], svg)


def _opening(label: str) -> Callable[[re.Match[str]], str]:
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return lambda match: f'<svg {spaces} role="img" aria-label="{label}" {match.group(1)}>'
