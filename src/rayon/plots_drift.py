"""Pictures of monitoring: windows over time, comparisons by window, as matplotlib figures.

Draws points of the history as `rayon.monitor_run.make_point` makes them. It judges nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayon.cards_charts import BLUE, GREEN, GREY, INK, ORANGE, RED
from rayon.plots_layout import DPI, FAINT, as_percent, cell_lines, panels_figure, plain, tidy

Point = Mapping[str, Any]

VERDICTS = {"ok": GREEN, "watch": ORANGE, "retrain": RED}
_RATIOS = (0.0, 0.5, 1.0, 2.0, 4.0)
_RATIO_COLOURS = ("#ffffff", "#eef0f3", "#fcd9a8", "#f2994a", "#c2410c")
_CURVES = (("measured", BLUE, "by people's labels"), ("estimated", GREY, "estimated from the confidences"))
MOST_WINDOWS = 14
"""Windows that a picture has room for; the newest are drawn."""


def timeline(points: Sequence[Point]) -> Figure:
    """Draw accuracy and macro-F1 of each window, measured and estimated, with 95% intervals, and the verdict below."""
    points = points[-MOST_WINDOWS:]
    figure, grid = panels_figure(2, columns=2, height=3.2)
    for axes, (key, label) in zip(grid, (("accuracy", "accuracy"), ("macro_f1", "macro-F1")), strict=True):
        for number, (kind, colour, told) in enumerate(_CURVES):
            rows = [(place, point[kind][key]) for place, point in enumerate(points) if point[kind]]
            if rows:
                x = np.array([place for place, _ in rows]) + 0.12 * (number - 0.5)
                value, low, high = (np.array([row[part] for _, row in rows]) for part in ("value", "low", "high"))
                errors = np.clip([value - low, high - value], 0, None)
                axes.errorbar(x, value, errors, fmt="o-", color=colour, markersize=4, linewidth=1.2, label=told)
        axes.set_xlim(-0.5, max(len(points), 1) - 0.5)
        axes.set_title(label, fontsize=9.5, color=INK, loc="left")
        axes.grid(axis="y", color=FAINT)
        as_percent(axes, "y")
        _windows(axes, points)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False, fontsize=8.5)
    return figure


def drift_map(points: Sequence[Point], called: Mapping[str, str] | None = None) -> Figure:
    """Draw each comparison of each window as a multiple of its limit; above 1 it is worth a look if it is no chance.

    `called` says what comparisons are called, where their name is not to be read.
    """
    points = points[-MOST_WINDOWS:]
    names = sorted({name for point in points for name in point["ratios"]}, key=lambda name: -_largest(points, name))
    ratios = np.array([[point["ratios"].get(name, np.nan) for point in points] for name in names])
    figure = Figure(
        figsize=(max(3.4 + 0.62 * len(points), 6.0), 0.27 * len(names) + 1.5), layout="constrained", dpi=DPI
    )
    axes = figure.subplots()
    tidy(axes)
    if ratios.size:
        axes.imshow(
            np.clip(ratios, 0, _RATIOS[-1]), aspect="auto",
            cmap=ListedColormap(_RATIO_COLOURS), norm=BoundaryNorm([*_RATIOS, np.inf], len(_RATIO_COLOURS)),
        )  # fmt: skip
    for (row, column), ratio in np.ndenumerate(ratios):
        if np.isfinite(ratio):
            colour = "white" if ratio >= _RATIOS[-1] else INK if ratio >= 1 else GREY
            axes.text(column, row, f"{max(ratio, 0.0):.1f}", ha="center", va="center", size=7.5, color=colour)
    axes.set_yticks(range(len(names)), [plain((called or {}).get(name, name)) for name in names])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    cell_lines(axes, max(len(names), 1), max(len(points), 1))
    axes.set_title("difference / limit", fontsize=9.5, color=INK, loc="left")
    _windows(axes, points)
    return figure


def views(panels: Mapping[str, tuple[NDArray[np.floating], NDArray[np.floating]]]) -> Figure:
    """Draw where products lie among the training's, by what is looked at: training and window, (N, K) positions each.

    The first two directions, in which the training's products differ most, are drawn; products without a position are
    left out. A window that lies elsewhere, or spreads differently, is what the model was not trained on.
    """
    figure, grid = panels_figure(len(panels), columns=max(len(panels), 1), height=3.6)
    for axes, (what, sides) in zip(grid, panels.items(), strict=True):
        for (name, colour), view in zip((("training", GREY), ("window", ORANGE)), sides, strict=True):
            there = view[np.isfinite(view).all(axis=1)]
            if there.shape[1] > 1:
                axes.scatter(
                    there[:, 0], there[:, 1], s=9, color=colour, alpha=0.55, linewidths=0,
                    label=f"{name} ({len(there):,})",
                )  # fmt: skip
        axes.set(xlabel="first direction", ylabel="second direction")
        axes.set_title(what, fontsize=9.5, color=INK, loc="left")
        if axes.get_legend_handles_labels()[0]:
            axes.legend(frameon=False, fontsize=8, markerscale=2)
    return figure


def _windows(axes: Any, points: Sequence[Point]) -> None:
    """Name the windows below a picture by when they ended and the verdict on them, in its colour."""
    labels = [
        f"{datetime.fromisoformat(point['time']):%d %b\n%H:%M}\n{plain(point['verdict']).replace(' ', chr(10))}"
        for point in points
    ]
    axes.set_xticks(range(len(points)), labels, fontsize=7.5)
    for tick, point in zip(axes.get_xticklabels(), points, strict=True):
        tick.set_color(VERDICTS.get(point["verdict"], GREY))
    axes.tick_params(axis="x", length=0)


def _largest(points: Sequence[Point], name: str) -> float:
    return max((float(point["ratios"].get(name, 0.0)) for point in points), default=0.0)
