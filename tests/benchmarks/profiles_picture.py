"""A flow's profile as a picture: above, a bar a step, made of what its seconds were spent on; below, a bar a purpose.

Knows matplotlib, the looks of rayon's pictures, and seconds; not where they come from. The lower bars are the legend.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from profiles_rules import COLOURS
from profiles_samples import RUN, Spent
from rayon.cards_charts import INK
from rayon.plots_layout import DPI, ROW, WIDTH, name_rows, note, tidy

LEAST = 0.006
"""Of a flow's seconds: purposes below it are drawn and counted, and have no bar of their own."""
ROOM = 0.045
"""Of the longest bar: parts shorter than this have no number on them."""


def draw(flow: str, rows: int, spent: Sequence[Spent], file: Path) -> None:
    """Draw a flow's profile and write it as SVG (or as PNG, by the file's name)."""
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "rayon", "font.family": ["DejaVu Sans", "sans-serif"]}):
        figure = picture(flow, rows, spent)
        figure.savefig(file, metadata={"Date": None} if file.suffix == ".svg" else None)


def picture(flow: str, rows: int, spent: Sequence[Spent]) -> Figure:
    """Return the picture of a flow."""
    steps = list(dict.fromkeys([RUN, *(each.step for each in spent)]))
    sums: dict[str, float] = defaultdict(float)
    parts: dict[str, dict[str, float]] = {step: defaultdict(float) for step in steps}
    for each in spent:
        sums[each.category] += each.seconds
        parts[each.step][each.category] += each.seconds
    whole = sum(sums.values())
    shown = sorted((what for what in sums if sums[what] >= LEAST * whole), key=lambda what: -sums[what])
    heights = [len(steps) + 1.0, len(shown) + 1.0]
    figure = Figure(figsize=(WIDTH, 1.25 * ROW * sum(heights) + 0.9), layout="constrained", dpi=DPI)
    upper, lower = figure.subplots(2, 1, height_ratios=heights)
    tidy(upper)
    tidy(lower)
    figure.suptitle(
        f"{flow}, {rows:,} rows: {whole:.1f} CPU seconds", x=0.01, ha="left", size=12, color=INK, weight="bold"
    )
    _stacked(upper, steps, parts)
    lower.barh(range(len(shown)), [sums[what] for what in shown], height=0.72, color=[COLOURS[what] for what in shown])
    for place, what in enumerate(shown):
        note(lower, f"{sums[what]:.2f} s, {sums[what] / whole:.0%}", sums[what], place)
    name_rows(lower, shown)
    lower.set_xlim(0, max(sums.values()) * 1.18)
    lower.set_title("all steps, by what the seconds were spent on", loc="left", size=9, color=INK)
    return figure


def _stacked(axes: Axes, steps: Sequence[str], parts: dict[str, dict[str, float]]) -> None:
    longest = max(sum(each.values()) for each in parts.values())
    for place, step in enumerate(steps):
        start = 0.0
        for what, seconds in sorted(parts[step].items(), key=lambda item: list(COLOURS).index(item[0])):
            axes.barh(place, seconds, left=start, height=0.72, color=COLOURS[what])
            if seconds >= ROOM * longest:
                middle = start + seconds / 2
                axes.text(
                    middle, place, f"{seconds:.1f}", ha="center", va="center", size=7.5, color=_ink(COLOURS[what])
                )
            start += seconds
        note(axes, f"{start:.1f} s", start, place)
    name_rows(axes, steps)
    axes.set_xlim(0, longest * 1.1)
    axes.set_title("step by step, in order", loc="left", size=9, color=INK)


def _ink(colour: str) -> str:
    """Return the colour of a text that is legible on another: white on dark, dark on light."""
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return "#ffffff" if 0.3 * red + 0.59 * green + 0.11 * blue < 150 else INK
