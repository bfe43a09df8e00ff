"""Pictures of how good models are: reliability, precision by coverage, confusions, what text and photo count.

Draws what `rayon.report` and `rayon.error_analysis` measure, as matplotlib figures. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rayon.cards_charts import BLUE, GREEN, GREY, INK, ORANGE, confused_together
from rayon.evaluation import share_interval
from rayon.plots import intervals
from rayon.plots_layout import DPI, FAINT, LIGHT, PALETTE, as_percent, cell_lines, note, panels_figure, plain, tidy
from rayon.report import Report

_MISTAKES = LinearSegmentedColormap.from_list("mistakes", ["#ffffff", "#fcd9a8", "#ea7317", "#9a3412"])
_LEAST_SHOWN = 0.05
_NUMBERED = 30


def scores(reports: Mapping[str, Report], highlight: str = "") -> Figure:
    """Draw macro-F1, weighted-F1 and accuracy of models upon their 95% intervals; one of them may stand out."""
    panels = {
        label: {name: report.metrics[metric] for name, report in reports.items()}
        for metric, label in (("macro_f1", "macro-F1"), ("weighted_f1", "weighted-F1"), ("accuracy", "accuracy"))
    }
    return intervals(panels, highlight)


def reliability(reports: Mapping[str, Report]) -> Figure:
    """Draw how often models are right against how sure they are, with 95% intervals, a panel a model.

    An area is a number of products. On the dashed line confidence means what it says; below it the model boasts.
    """
    figure, grid = panels_figure(len(reports), columns=min(max(len(reports), 1), 3), height=3.1)
    for axes, (name, report) in zip(grid, reports.items(), strict=True):
        bins = report.reliability
        axes.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
        for entry in bins:
            _, low, high = share_interval(round(entry.accuracy * entry.products), entry.products)
            axes.plot([entry.confidence] * 2, [low, high], color=LIGHT, linewidth=1.5)
        sizes = [12 + 320 * b.products / max(report.products, 1) for b in bins]
        axes.scatter([b.confidence for b in bins], [b.accuracy for b in bins], s=sizes, color=BLUE, alpha=0.8, zorder=3)
        axes.set(xlim=(0, 1.03), ylim=(-0.03, 1.05), xlabel="confidence", aspect="equal")
        axes.set_title(plain(name), fontsize=9, color=INK, loc="left")
        axes.text(0.97, 0.05, f"ECE {report.ece:.3f}", transform=axes.transAxes, ha="right", size=8.5, color=INK)
        as_percent(axes, "both")
    if grid:
        grid[0].set_ylabel("really right")
    return figure


def coverage(reports: Mapping[str, Report]) -> Figure:
    """Draw the precision of what is filed against the share that is filed, the surest first, a curve a model.

    Dots mark how far a model gets at the precisions that it was measured for.
    """
    figure, (axes,) = panels_figure(1, columns=1, height=3.6)
    floor, targets = 1.0, set[float]()
    for number, ((name, report), colour) in enumerate(zip(reports.items(), PALETTE, strict=False)):
        share, precision = (np.array(report.risk_coverage[key]) for key in ("coverage", "precision"))
        told = share >= _LEAST_SHOWN  # the first few products decide nothing, and jump between none and all right
        width = max(3 - 0.7 * number, 1)  # one curve may hide another
        axes.plot(share[told], precision[told], color=colour, linewidth=width, label=plain(name))
        floor = min([floor, *precision[told]])
        for target, reached in report.coverage.items():
            targets.add(float(target))
            if reached > 0:
                axes.plot([reached], [float(target)], "o", color=colour, markersize=6)
    for height in sorted(targets):
        axes.axhline(height, color=GREEN, linestyle="--", linewidth=1, zorder=0)
        axes.text(0.005, height, f"{height:.0%}", color=GREEN, size=8, va="bottom")
    axes.set(xlim=(0, 1.01), ylim=(np.floor(floor * 20) / 20, 1.005))
    axes.set(xlabel="filed without a human, the surest first", ylabel="of which right")
    axes.grid(color=FAINT)
    axes.legend(frameon=False, fontsize=8.5, loc="lower left")
    as_percent(axes, "both")
    return figure


def confusions(matrix: Sequence[Sequence[int]], categories: Sequence[str], limit: int = 40) -> Figure:
    """Draw the mistakes of a (C, C) confusion matrix: the darker, the larger the share of the row's products.

    Categories that are taken for one another stand together; beyond `limit`, those with most mistakes are drawn. Right
    answers are grey, since they say nothing here.
    """
    counts = np.asarray(matrix, dtype=np.float64)
    order = confused_together(counts, limit)
    shares = (counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))[np.ix_(order, order)]
    shown = counts[np.ix_(order, order)].astype(int)
    side = 0.31 * len(order) + 1.9
    figure = Figure(figsize=(side + 0.5, side), layout="constrained", dpi=DPI)
    axes = figure.subplots()
    tidy(axes)
    diagonal = np.eye(len(order), dtype=bool)
    top = max(float(shares[~diagonal].max(initial=0.0)), 0.1)
    drawn = axes.imshow(np.where(diagonal, np.nan, shares), cmap=_MISTAKES, vmin=0, vmax=top)
    axes.imshow(np.where(diagonal, 0.25, np.nan), cmap="Greys", vmin=0, vmax=2)
    if len(order) <= _NUMBERED:
        for row, column in zip(*np.nonzero(shown), strict=True):
            dark = row != column and shares[row, column] > 0.6 * top
            axes.text(column, row, f"{shown[row, column]}", ha="center", va="center", size=7,
                      color="white" if dark else INK if row != column else GREY)  # fmt: skip
    names = [plain(categories[place]) for place in order]
    axes.set_xticks(range(len(names)), names, rotation=90)
    axes.set_yticks(range(len(names)), names)
    axes.tick_params(length=0, labelsize=8)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="predicted", ylabel="label")
    cell_lines(axes, len(names), len(names))
    bar = figure.colorbar(drawn, ax=axes, shrink=0.5, aspect=25, format=lambda value, _: f"{value:.0%}")
    bar.set_label("of the row's products", size=8.5, color=INK)
    bar.ax.tick_params(labelsize=8, length=0)
    bar.outline.set_visible(False)
    return figure


def slices(table: pd.DataFrame) -> Figure:
    """Draw what `rayon.error_analysis.slices` returns: accuracy upon its interval beside the mean confidence, and how
    much is filed. Where the diamond lies to the right of the line, the model boasts.
    """
    figure, (quality, filed) = panels_figure(2, columns=2, height=0.3 * len(table) + 1.0, sharey=True)
    places = np.arange(len(table))
    quality.hlines(places, table["low"], table["high"], color=BLUE, linewidth=3, alpha=0.5)
    quality.plot(table["accuracy"], places, "o", color=BLUE, markersize=6, label="right, with its 95% interval")
    quality.plot(table["confidence"], places, "D", color=ORANGE, markersize=4.5, label="mean confidence")
    filed.barh(places, table["filed"], color=LIGHT, height=0.7)
    for place, (share, right) in enumerate(zip(table["filed"], table["filed_right"], strict=True)):
        note(filed, f"{share:.0%}" if np.isnan(right) else f"{share:.0%}, {right:.0%} right", share, place)
    rows = zip(table["slice"], table["products"], strict=True)
    quality.set_yticks(places, [f"{plain(name)} ({products:,})" for name, products in rows])
    quality.set_ylim(len(table) - 0.4, -0.6)
    quality.set_xlabel("share of the products")
    quality.grid(axis="x", color=FAINT)
    filed.set_xlabel("filed without a human")
    filed.set_xlim(0, 1.35)
    filed.set_xticks([0, 0.25, 0.5, 0.75, 1])
    figure.legend(*quality.get_legend_handles_labels(), loc="outside upper left", ncols=2, frameon=False, fontsize=8.5)
    for axes in (quality, filed):
        axes.tick_params(axis="y", length=0)
        as_percent(axes, "x")
    return figure


def shares_of_evidence(text_share: NDArray[np.floating], right: NDArray[np.bool_]) -> Figure:
    """Draw how much of the evidence came from the text: products by that share, and how often they are wrong there,
    with 95% intervals.
    """
    figure, (counts, rates) = panels_figure(2, columns=2, height=2.8)
    edges = np.linspace(0, 1, 11)
    found = [np.histogram(text_share[some], edges)[0] for some in (right, ~right)]
    bottom = np.zeros(10)
    for each, colour, what in zip(found, (LIGHT, ORANGE), ("right", "wrong"), strict=True):
        told = f"{what} ({int(each.sum()):,})"
        counts.bar(edges[:-1], each, 0.1, bottom, align="edge", color=colour, edgecolor="white", label=told)
        bottom += each
    counts.set(ylabel="products")
    counts.legend(frameon=False, fontsize=8, loc="upper left")
    for place in range(0, 10, 2):  # a fifth at a time: half as many would be mostly chance
        good, bad = (int(each[place : place + 2].sum()) for each in found)
        if good + bad:
            rate, low, high = share_interval(bad, good + bad)
            rates.plot([edges[place + 1]] * 2, [low, high], color=ORANGE, linewidth=3, alpha=0.5)
            rates.plot([edges[place + 1]], [rate], "o", color=ORANGE, markersize=6)
    rates.set(ylabel="of which wrong", ylim=(0, None), xticks=edges[::2])
    rates.grid(axis="y", color=FAINT)
    as_percent(rates, "y")
    for axes in (counts, rates):
        axes.set(xlim=(0, 1), xlabel="the text's share of the evidence (photo: the rest)")
        as_percent(axes, "x")
    return figure


def agreement(table: pd.DataFrame) -> Figure:
    """Draw what `rayon.error_analysis.agreement` returns: products by what text and photo alone say, and what becomes
    of them together.
    """
    figure, (axes,) = panels_figure(1, columns=1, height=2.4)
    places = np.arange(len(table))
    products = table["products"].to_numpy(dtype=np.float64)
    right = products * table["right"].fillna(0).to_numpy()
    axes.barh(places, right, color=LIGHT, height=0.7, label="right together")
    axes.barh(places, products - right, left=right, color=ORANGE, height=0.7, label="wrong together")
    for place, (count, share) in enumerate(zip(products, table["right"], strict=True)):
        note(axes, "none" if np.isnan(share) else f"{count:,.0f}, {share:.0%} right", count, place)
    axes.set_yticks(places, [plain(name) for name in table.index])
    axes.invert_yaxis()
    axes.set_xlim(0, max(products.max(initial=0.0), 1.0) * 1.2)
    axes.set_xlabel("products with text and photo, by which of the two is right alone")
    axes.legend(frameon=False, fontsize=8.5, loc="lower right")
    return figure
