"""Pictures for notebooks: bars, dots, distributions, intervals, curves, as matplotlib figures.

Each function draws plain values and returns a figure of its own: nothing is kept in matplotlib's global state, so that
nothing is shown twice. It knows neither models nor products.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from rayon.cards_charts import BLUE, GREEN, GREY, INK, ORANGE, RED
from rayon.evaluation import Interval
from rayon.plots_layout import (
    FAINT,
    LIGHT,
    PALETTE,
    ROW,
    as_percent,
    legend_above,
    name_rows,
    note,
    nothing,
    panels_figure,
    plain,
    rows_figure,
)

MOST_ROWS = 40
"""Rows that a picture has room for; the first ones are drawn."""

_PARTS = (BLUE, LIGHT, ORANGE, GREY, GREEN)
_BINS = 30


def bars(frame: pd.DataFrame, label: str, decimals: int = 0) -> Figure:
    """Draw a bar a row, made of its columns, one colour each, with the sum beside it; the first row is on top."""
    if frame.empty:
        return nothing(f"no {label} to show")
    shown = frame.iloc[:MOST_ROWS]
    figure, axes = rows_figure(len(shown), legend=len(shown.columns) > 1)
    start = np.zeros(len(shown))
    for column, colour in zip(shown.columns, _PARTS, strict=False):
        values = shown[column].fillna(0).to_numpy(dtype=np.float64)
        axes.barh(range(len(shown)), values, left=start, height=0.72, color=colour, label=plain(column))
        start += values
    for place, total in enumerate(start):
        note(axes, f"{total:,.{decimals}f}", total, place)
    name_rows(axes, shown.index)
    axes.set_xlim(0, max(start.max(), 1e-9) * 1.1)
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=decimals == 0))
    axes.set_xlabel(label)
    if len(shown.columns) > 1:
        legend_above(axes)
    return figure


def dots(frame: pd.DataFrame, label: str, percent: bool = True) -> Figure:
    """Draw a dot for each column of each row, joined by a line; the first row is on top."""
    if frame.empty:
        return nothing(f"no {label} to show")
    shown = frame.iloc[:MOST_ROWS]
    figure, axes = rows_figure(len(shown), legend=True)
    places = np.arange(len(shown))
    low, high = shown.min(axis=1).to_numpy(dtype=float), shown.max(axis=1).to_numpy(dtype=float)
    axes.hlines(places, low, high, color=FAINT, linewidth=3, zorder=1)
    for column, colour in zip(shown.columns, PALETTE, strict=False):
        axes.scatter(shown[column], places, s=38, color=colour, label=plain(column), zorder=2, clip_on=False)
    name_rows(axes, shown.index)
    axes.set_xlim(left=min(0.0, float(low.min())))
    axes.set_xlabel(label)
    if percent:
        as_percent(axes, "x")
    legend_above(axes)
    return figure


def differences(values: pd.Series, label: str) -> Figure:
    """Draw a bar a row to the right of zero (better, blue) or to its left (worse, red), with the value beside it."""
    shown = values.iloc[:MOST_ROWS]
    figure, axes = rows_figure(len(shown))
    numbers = shown.to_numpy(dtype=np.float64)
    colours = [BLUE if number >= 0 else RED for number in numbers]
    axes.barh(range(len(shown)), numbers, height=0.72, color=colours)
    for place, number in enumerate(numbers):
        if number:
            note(axes, f"{number:+.2f}", number, place, "left" if number > 0 else "right")
    name_rows(axes, shown.index)
    reach = max(float(np.abs(numbers).max(initial=0.0)) * 1.2, 0.02)
    axes.set_xlim(-reach, reach)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.set_xlabel(label)
    return figure


def histograms(panels: Mapping[str, Mapping[str, NDArray[np.number]]], share: bool = True) -> Figure:
    """Draw distributions in panels side by side, three a row: by what the values are, then by whose they are.

    The first of a panel is filled, others are outlines. One value in a hundred at most lies beyond an end, and is drawn
    there. Bins of whole numbers are whole numbers wide.
    """
    if not panels:
        return nothing("no values to show")
    figure, grid = panels_figure(len(panels), columns=min(3, len(panels)), height=2.5)
    several = max(map(len, panels.values())) > 1
    for axes, (label, named) in zip(grid, panels.items(), strict=True):
        values = {name: each[np.isfinite(each)] for name, each in named.items()}
        edges = _edges(np.concatenate(list(values.values())))
        for number, (name, each) in enumerate(values.items()):
            counts = np.histogram(np.clip(each, edges[0], edges[-1]), edges)[0]
            heights = counts / max(len(each), 1) if share else counts
            told = plain(name) if several else f"{len(each):,} products"
            axes.stairs(heights, edges, fill=number == 0, color=(LIGHT, ORANGE)[number > 0], linewidth=1.8, label=told)
        axes.set_xlabel(plain(label))
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=not share))
        if share:
            as_percent(axes, "y")
        if not several:
            axes.legend(frameon=False, fontsize=8, handlelength=0)
    if several:
        figure.legend(
            *grid[0].get_legend_handles_labels(), loc="outside upper left", ncols=5, frameon=False, fontsize=9
        )
    grid[0].set_ylabel("share of the products" if share else "products")
    return figure


def intervals(panels: Mapping[str, Mapping[str, Interval]], highlight: str = "") -> Figure:
    """Draw values upon their 95% intervals, a panel by what they measure, a row by what was measured."""
    names = list(next(iter(panels.values()), {}))
    height = ROW * 1.6 * len(names) + 1.0
    figure, grid = panels_figure(len(panels), columns=max(len(panels), 1), height=height, sharey=True)
    for axes, (label, values) in zip(grid, panels.items(), strict=True):
        for place, name in enumerate(names):
            value, low, high = values[name]
            colour = BLUE if highlight in ("", name) else GREY
            axes.plot([low, high], [place, place], color=colour, linewidth=3, alpha=0.5, solid_capstyle="round")
            axes.plot([value], [place], "o", color=colour, markersize=6)
            axes.annotate(
                f"{value:.3f}", (value, place), (0, 7), textcoords="offset points", ha="center", size=8, color=INK
            )
        axes.set_xlabel(plain(label))
        axes.set_ylim(len(names) - 0.5, -0.8)
        axes.grid(axis="x", color=FAINT)
        axes.xaxis.set_major_locator(MaxNLocator(5))
    if grid:
        grid[0].set_yticks(range(len(names)), [plain(name) for name in names])
        for axes in grid:
            axes.tick_params(axis="y", length=0)
    return figure


def curves(frame: pd.DataFrame, panels: Mapping[str, Sequence[str]], label: str) -> Figure:
    """Draw columns of a frame over its index, in panels: by what a panel shows, which columns it holds."""
    figure, grid = panels_figure(len(panels), columns=max(len(panels), 1), height=2.8)
    for axes, (what, columns) in zip(grid, panels.items(), strict=True):
        for column, colour in zip(columns, PALETTE, strict=False):
            if column in frame:
                axes.plot(frame.index, frame[column], "o-", color=colour, markersize=3.5, label=plain(column))
        axes.set(xlabel=label, ylabel=what)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.grid(color=FAINT)
        if len(columns) > 1:
            axes.legend(frameon=False, fontsize=8)
    return figure


def _edges(values: NDArray[np.number]) -> NDArray[np.float64]:
    low, high = np.percentile(values, [0.5, 99.5]) if len(values) else (0.0, 1.0)
    if np.issubdtype(values.dtype, np.integer):
        low, high = np.floor(low), np.ceil(high)
        width = max(np.ceil((high - low) / _BINS), 1.0)
        whole: NDArray[np.float64] = np.arange(low - 0.5, high + width, width)
        return whole
    return np.linspace(low, high if high > low else low + 1.0, _BINS + 1)
