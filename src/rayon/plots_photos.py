"""Sheets of photos for notebooks: photos in rows, with lines below them.

Knows encoded photos and short texts, and draws a matplotlib figure.
"""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from io import BytesIO
from typing import Literal, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox, TransformedBbox
from PIL import Image

from rayon.cards_charts import GREEN, GREY, INK, RED
from rayon.plots_layout import DPI, FAINT, nothing

_CHARACTERS = 27
_TILE, _LINE = 1.5, 0.15
_TONES = {"plain": INK, "faint": "#6b7280", "right": GREEN, "wrong": RED}

Tone = Literal["plain", "faint", "right", "wrong"]


class Tile(NamedTuple):
    """A photo (encoded bytes, None for none) and the lines below it, each with a tone: right is green, wrong red."""

    photo: bytes | None
    lines: Sequence[tuple[Tone, str]] = ()


def photo_sheet(tiles: Sequence[Tile], columns: int = 5) -> Figure:
    """Draw photos in rows, with their lines below; a sheet without any says so."""
    if not tiles:
        return nothing("no product to show")
    wrapped = [[(tone, line) for tone, text in tile.lines for line in _wrap(text)] for tile in tiles]
    rows = [range(start, min(start + columns, len(tiles))) for start in range(0, len(tiles), columns)]
    heights = [_TILE + _LINE * (max(len(wrapped[place]) for place in row) + 1) for row in rows]
    width, height = columns * (_TILE + 0.14), sum(heights)
    figure = Figure(figsize=(width, height), dpi=DPI)
    top = height
    for row, tall in zip(rows, heights, strict=True):
        for column, place in enumerate(row):
            left = column * (_TILE + 0.14) + 0.07
            axes = figure.add_axes((left / width, (top - _TILE) / height, _TILE / width, _TILE / height))
            _show(axes, tiles[place].photo)
            column_box = TransformedBbox(Bbox([[left / width, 0], [(left + _TILE) / width, 1]]), figure.transSubfigure)
            for number, (tone, line) in enumerate(wrapped[place], start=1):
                y = (top - _TILE - _LINE * number) / height
                text = figure.text(left / width, y, line, color=_TONES[tone], size=7.2, clip_on=True)
                text.set_clip_box(column_box)  # a line is never known for certain to be short enough
        top -= tall
    return figure


def _wrap(text: str) -> list[str]:
    words = " ".join(text.split())
    wide = sum(_em(character) for character in words) / max(len(words), 1)
    lines = textwrap.wrap(words, max(int(_CHARACTERS / max(wide, 1.0)), 1), max_lines=2, placeholder=" ...")
    return [line.replace("$", r"\$") for line in lines]


def _em(character: str) -> float:
    """Return about how wide a character is, in small letters."""
    if unicodedata.east_asian_width(character) in "WF":
        return 1.8
    return 1.25 if character.isupper() else 1.0


def _show(axes: Axes, photo: bytes | None) -> None:
    axes.set(xticks=[], yticks=[])
    axes.set_facecolor("#f3f4f6")
    for spine in axes.spines.values():
        spine.set_color(FAINT)
    if photo is None:
        axes.text(0.5, 0.5, "no photo", transform=axes.transAxes, ha="center", va="center", color=GREY, size=8)
        return
    with Image.open(BytesIO(photo)) as image:
        axes.imshow(np.asarray(image.convert("RGB")), aspect="equal")
    axes.set_anchor("C")
