"""How pictures for notebooks are laid out: figures with room for rows or panels, tidy axes, names, notes, percent.

Knows matplotlib and nothing of what is drawn. No text from outside is read as mathematics.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from rayon.cards_charts import BLUE, GREEN, GREY, INK, ORANGE, RED

LIGHT, FAINT = "#93b4f5", "#e5e7eb"
PALETTE = (BLUE, ORANGE, LIGHT, GREY, GREEN, RED, INK)
WIDTH, ROW, DPI = 8.2, 0.27, 110
"""Of a figure and a row, in inches, and the dots of an inch."""


def nothing(text: str) -> Figure:
    """Return a figure that says why there is no picture."""
    figure, (axes,) = panels_figure(1, columns=1, height=0.5)
    axes.set_axis_off()
    axes.text(0, 0.5, plain(text), color=INK, size=9, va="center", transform=axes.transAxes)
    return figure


def plain(text: object) -> str:
    """Return a text on one line as it reads: a dollar sign would begin a formula."""
    return " ".join(str(text).split()).replace("$", r"\$")


def note(axes: Axes, text: str, x: float, y: float, side: Literal["left", "right"] = "left") -> None:
    """Write a text beside the end of a bar: from its `left` or up to its `right` edge."""
    offset = (4 if side == "left" else -4, 0)
    axes.annotate(text, (x, y), offset, textcoords="offset points", va="center", ha=side, size=8, color=INK)


def rows_figure(count: int, legend: bool = False) -> tuple[Figure, Axes]:
    """Return a figure with room for so many rows."""
    figure = Figure(figsize=(WIDTH, ROW * count + 0.8 + 0.3 * legend), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    tidy(axes)
    return figure, axes


def panels_figure(
    count: int, columns: int, height: float, width: float = WIDTH, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """Return a figure with so many panels, each `height` inches high, and the panels in reading order."""
    rows = -(-max(count, 1) // columns)
    figure = Figure(figsize=(width, height * rows), layout="constrained", dpi=DPI)
    grid: list[Axes] = list(figure.subplots(rows, columns, squeeze=False, sharey=sharey).ravel())
    for axes in grid:
        tidy(axes)
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, grid[:count]


def tidy(axes: Axes) -> None:
    """Take away what says nothing: frame, heavy ticks."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#d1d5db")
    axes.tick_params(color="#d1d5db", labelcolor=INK, labelsize=8.5)
    axes.xaxis.label.set(color=INK, size=9)
    axes.yaxis.label.set(color=INK, size=9)
    axes.set_axisbelow(True)


def name_rows(axes: Axes, names: Sequence[object] | pd.Index) -> None:
    """Name the rows of a picture, the first on top."""
    axes.set_yticks(range(len(names)), [plain(textwrap.shorten(str(name), 40, placeholder=" ...")) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color=FAINT)


def as_percent(axes: Axes, which: Literal["x", "y", "both"]) -> None:
    """Write an axis, or both, in percent."""
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        if which in (name, "both"):
            axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.3g}%"))


def cell_lines(axes: Axes, rows: int, columns: int) -> None:
    """Draw faint lines between the cells of a grid of so many rows and columns."""
    axes.set_xticks(np.arange(columns + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(rows + 1) - 0.5, minor=True)
    axes.grid(which="minor", color=FAINT, linewidth=0.5)
    axes.tick_params(which="minor", length=0)
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))


def legend_above(axes: Axes) -> None:
    """Put the legend above the picture, in one line."""
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=5, frameon=False, fontsize=8.5, borderaxespad=0.2)
