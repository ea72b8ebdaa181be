"""Figures of test scores: by method, by size and by label; what each change does; ranks over corpora.

Each figure takes the rows of one protocol (ranks: of several corpora), so that none ranks scores of different protocols
together.
"""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from kdh_ray.errors import DataError
from kdh_ray.report.figures.drawing import INK, MARKERS, MUTED, SERIES, Plot, canvas, cut, figure, legend, look
from kdh_ray.report.wording import left_out, plural
from kdh_ray.results.method_rows import KINDS, finished_rows, largest_size, metric_name, ranked_methods, sizes
from kdh_ray.results.tables import REFERENCE, changes

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MOST_METHODS = 20  # lines that one figure can hold
MOST_SERIES = 8  # colours or columns that one figure can hold
_LABEL = "test_f1_label."


def ranking(rows: pd.DataFrame) -> pd.DataFrame:
    """Return :func:`ranked_methods` in %: method, kind, n, mean, sd, lowest, highest; the best method first."""
    table = ranked_methods(rows).rename(columns={"score": "mean", "score_sd": "sd"})
    table[["mean", "sd", "lowest", "highest"]] *= 100
    return table


@figure("by-method", "Test score of each method")
def by_method(frame: pd.DataFrame) -> Plot:
    """Draw every seed's test score and the mean of each method, at the largest size."""
    rows = largest_size(finished_rows(frame))
    everything = ranking(rows)
    table = everything.head(MOST_METHODS)
    names = [_wrapped(method) for method in table["method"]]
    drawing, (axes,) = canvas(0.9 + _height(names))
    for level, line in enumerate(table.to_dict("records")):
        scores = 100 * rows.loc[rows["method"] == line["method"], "score"]  # one per seed
        colour, marker = _look_of_kind(line["kind"])
        axes.scatter(scores, [level] * len(scores), s=12, color=colour, alpha=0.45, linewidths=0)
        axes.errorbar(
            line["mean"], level, xerr=None if line["n"] < 2 else line["sd"], color=colour, marker=marker, capsize=2
        )
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlabel(f"test {metric_name(rows)} in %")
    _legend_of_kinds(axes, table["kind"])
    best, size = table.iloc[0], f" at size {sizes(rows)[-1]}" if sizes(rows) else ""
    others = "; ".join(f"{line.method} {line.mean:.1f}" for line in table.iloc[1:6].itertuples())
    spread = f" ± {best['sd']:.1f}" if best["n"] > 1 else ""
    text = f"Highest{size} is {best['method']} with {best['mean']:.1f}{spread} % over {plural(best['n'], 'seed')}."
    text += f" Then: {others}." if others else ""
    text += " Small dots are seeds, large marks means, bars one standard deviation."
    hidden = left_out(len(everything) - len(table), "lower scores", "drawn")
    return Plot(text + (f"{hidden.removesuffix('.')}; the data names all." if hidden else ""), everything, drawing)


@figure("by-size", "Test score by size of the training split")
def by_size(frame: pd.DataFrame) -> Plot:
    """Draw the mean test score of each method over the nested sizes."""
    import pandas as pd

    rows = finished_rows(frame)
    known_sizes = sizes(rows)
    if len(known_sizes) < 2:
        raise DataError(f"there is only one size of the training split ({', '.join(known_sizes) or 'not named'})")
    parts = [ranking(rows[rows["size"] == size]).assign(size=size) for size in known_sizes]
    table = pd.concat(parts)[["method", "size", "n", "mean", "sd"]]
    reached = table.groupby("method").agg(sizes=("size", "nunique"), best=("mean", "max"))
    if reached["sizes"].max() < 2:
        raise DataError("no method has results at two sizes")
    order = reached.sort_values(["sizes", "best"], ascending=False).index[:MOST_SERIES].tolist()
    drawing, (axes,) = canvas(2.6 + 0.15 * len(order))
    for index, method in enumerate(order):
        line = table[table["method"] == method]
        shift = 0.03 * (index - len(order) / 2)  # so that the methods' bars don't cover each other
        positions = [known_sizes.index(size) + shift for size in line["size"]]
        axes.errorbar(positions, line["mean"], yerr=line["sd"].fillna(0), label=method, capsize=2, **look(index))
    axes.set_xticks(range(len(known_sizes)), known_sizes)
    axes.set_xlabel("size of the training split (nested samples)")
    axes.set_ylabel(f"test {metric_name(rows)} in %")
    legend(drawing, axes)
    drawn = table[table["method"].isin(order)].reset_index(drop=True)
    text = _size_text(table, known_sizes) + left_out(len(reached) - len(order), "fewer sizes or lower scores", "drawn")
    return Plot(text, drawn, drawing)


def _size_text(table: pd.DataFrame, known_sizes: list[str]) -> str:
    """Return a sentence per size that names its best method."""
    sentences = []
    for size in known_sizes:
        own = table[table["size"] == size]
        best = own.nlargest(1, "mean").iloc[0]
        only = f"At {size} there is only {best['method']}, {best['mean']:.1f} %."
        several = f"At {size}, {best['method']} is highest with {best['mean']:.1f} %."
        sentences.append(several if len(own) > 1 else only)
    return " ".join(sentences) + " Bars are one standard deviation over seeds."


@figure("labels", "Test F1 of each label")
def labels(frame: pd.DataFrame) -> Plot:
    """Draw a heat map with labels down and methods across, at the largest size."""
    rows = largest_size(finished_rows(frame))
    columns = [name for name in map(str, rows) if name.startswith(_LABEL) and rows[name].notna().any()]
    if not columns:
        raise DataError("no row has scores of single labels")
    ranked = ranked_methods(rows)["method"].tolist()
    order = ranked[:MOST_SERIES]
    table = 100 * rows[rows["method"].isin(order)].groupby("method")[columns].mean().loc[order].T
    table.index = [name.removeprefix(_LABEL) for name in table.index]  # (n_labels, n_methods)
    table = table.loc[table.mean(axis=1).sort_values(ascending=False).index]
    letters = "ABCDEFGH"[: len(order)]  # the methods' names would not fit next to each other
    names = [_wrapped(name, 24) for name in table.index]
    drawing, (axes,) = canvas(0.5 + _height(names) + 0.16 * len(order))
    _draw_heat_map(axes, table)
    axes.set_xticks([i + 0.5 for i in range(len(order))], list(letters))
    key = [f"{letter}: {cut(name)}" for letter, name in zip(letters, order, strict=True)]
    drawing.legend(
        _blank_handles(len(key)), key, loc="outside lower left", handlelength=0, handletextpad=0, labelspacing=0.3
    )
    axes.set_yticks([i + 0.5 for i in range(len(table))], names)
    axes.tick_params(length=0)
    axes.grid(False)
    axes.spines[:].set_visible(False)
    first = table[order[0]]
    text = (
        f"{order[0]} has its highest F1 on {first.idxmax()} ({first.max():.1f} %) and its lowest on {first.idxmin()}"
        f" ({first.min():.1f} %). Means over seeds, in %; methods from the best to the worst."
    )
    text += left_out(len(ranked) - len(order), "lower scores")
    return Plot(text, table.reset_index(names="label"), drawing)


def _blank_handles(n: int) -> list[Line2D]:
    """Return handles for a legend that is text only."""
    from matplotlib.lines import Line2D

    return [Line2D([], [], linestyle="") for _ in range(n)]


def _draw_heat_map(axes: Axes, table: pd.DataFrame) -> None:
    """Draw cells with their numbers, in black or white, whichever is easier to read on the cell."""
    mesh = axes.pcolormesh(table.to_numpy(), cmap="cividis", edgecolors="none")
    axes.invert_yaxis()
    for row, values in enumerate(table.to_numpy()):
        for column, value in enumerate(values):
            if value == value:  # not NaN
                red, green, blue, _ = mesh.cmap(mesh.norm(value))
                is_bright = 0.299 * red + 0.587 * green + 0.114 * blue > 0.5  # luma of ITU-R BT.601
                axes.text(
                    column + 0.5, row + 0.5, f"{value:.0f}", color="#000000" if is_bright else "#ffffff",
                    ha="center", va="center",
                )  # fmt: skip


@figure("ablation", "What each change does (ablation)")
def ablation(frame: pd.DataFrame) -> Plot:
    """Draw paired differences to the full method, a line per change, at the largest size, of the first pair."""
    lines = largest_size(changes(frame))
    if lines["pair"].nunique() > 1:
        lines = lines[lines["pair"] == lines["pair"].iloc[0]]
    full, table = lines.iloc[0], lines[lines["shared"] > 0]
    if table.empty:
        raise DataError(f"no change shares a seed with the method {REFERENCE!r}")
    table = table.sort_values("difference", kind="stable").reset_index(drop=True)
    names = [_wrapped(method) for method in table["method"]]
    drawing, (axes,) = canvas(0.6 + _height(names))
    axes.axvline(0, color=MUTED, linewidth=1)
    reach = (table["high"] - table["difference"]).fillna(0)  # half the width of Student's interval
    axes.errorbar(
        table["difference"], range(len(table)), xerr=reach, color=SERIES[0], marker="o", linestyle="", capsize=2
    )
    axes.set_yticks(range(len(table)), names)
    axes.set_ylim(len(table) - 0.4, -0.6)
    axes.set_xlabel("points more or less than the full method")
    worst, best = table.iloc[0], table.iloc[-1]
    clear = table[(table["low"] > 0) | (table["high"] < 0)]["method"].tolist()
    text = (
        f"Against the full method ({100 * full['score']:.1f} % over {plural(full['n'], 'seed')}), {worst['method']}"
        f" loses most ({worst['difference']:+.1f} points) and {best['method']} does best ({best['difference']:+.1f})."
        " Differences are paired by seed; bars are Student's 95 % intervals, not corrected for the number of changes:"
        f" {', '.join(clear) or 'none'} {'excludes' if len(clear) < 2 else 'exclude'} zero."
    )
    columns = ["changed", "method", "shared", "difference", "low", "high"]
    return Plot(text, table[columns].rename(columns={"shared": "n"}), drawing)


@figure("ranks", "Mean ranks over corpora (critical difference)")
def ranks(frame: pd.DataFrame) -> Plot:
    """Draw Demsar's critical difference diagram; refused where corpora are not independent, such as nested sizes."""
    import pandas as pd

    from kdh_ray.evaluation.statistics import compare_over_corpora

    rows = finished_rows(frame)
    if rows["protocol"].nunique() > 1:
        rows = pd.concat([largest_size(part) for _, part in rows.groupby("protocol")])
    # (n_corpora, n_methods)
    table = rows.groupby(["protocol", "size", "method"], dropna=False)["score"].mean().unstack("method")
    incomplete = table.columns[table.isna().any()].tolist()
    comparison = compare_over_corpora(table.drop(columns=incomplete))
    from scikit_posthocs import critical_difference_diagram

    drawing, (axes,) = canvas(1.0 + 0.2 * len(comparison.ranks))
    critical_difference_diagram(
        comparison.ranks, comparison.nemenyi, ax=axes,
        color_palette=[INK] * len(comparison.ranks), crossbar_props={"color": SERIES[0]},
    )  # fmt: skip
    data = pd.DataFrame({"method": list(comparison.ranks), "mean rank": list(comparison.ranks.values())})
    text = (
        f"Friedman's p over {len(table)} corpora is {comparison.p:.3g}. Mean ranks (1 is best) that differ by less than"
        f" {comparison.critical_difference:.2f} are not told apart by Nemenyi's test at the 5 % level."
    )
    text += f" Left out, since some corpora have no result of them: {', '.join(incomplete)}." if incomplete else ""
    return Plot(text, data.sort_values("mean rank").reset_index(drop=True), drawing)


def _look_of_kind(kind: str) -> tuple[str, str]:
    """Return the colour and marker of a kind of row."""
    index = KINDS.index(kind) if kind in KINDS else len(KINDS)
    return SERIES[index], MARKERS[index]


def _legend_of_kinds(axes: Axes, kinds: pd.Series[str]) -> None:
    """Add a legend of the kinds of methods, where there are several."""
    shown = [kind for kind in KINDS if (kinds == kind).any()]
    if len(shown) < 2:
        return
    for kind in shown:
        colour, marker = _look_of_kind(kind)
        axes.scatter([], [], color=colour, marker=marker, label=kind)
    axes.figure.legend(loc="outside upper left", ncols=3, handletextpad=0.2)


def _wrapped(name: str, width: int = 20) -> str:
    """Return a name in up to three lines of ``width`` characters."""
    return textwrap.fill(cut(name, 3 * width), width)


def _height(names: list[str]) -> float:
    """Return the height in inches of a line per name, all as high as the name with the most lines of text needs."""
    return len(names) * (0.07 + 0.12 * max(1 + name.count("\n") for name in names))
