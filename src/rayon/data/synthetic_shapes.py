"""The shapes of the demo products, as small drawings in a compact notation.

Knows the notation; the drawings are in `synthetic_drawings_*`, and `rayon.data.synthetic_photos` puts them on paper. A
drawing begins with 'name:' at the start of a line and is a list of strokes separated by ';', in a square from -1 to 1
(x to the right, y down), later strokes over earlier ones:

    r x0 y0 x1 y1 C           rectangle            R x0 y0 x1 y1 C     rectangle with round corners
    o cx cy rx ry C           ellipse              p x y x y ... C     polygon
    l x y x y ... w C         line of width w      t x0 y0 x1 y1 n C   n lines of illegible print

Colours C: m the product's colour (d darker, h lighter), a its accent (e darker, i lighter), k black, w white, g grey
metal, b wood (n darker), q water, v leaf, s skin, y gold, z red, u a colour of chance.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from rayon.data import synthetic_drawings_home, synthetic_drawings_play, synthetic_drawings_things


class Stroke(NamedTuple):
    """One filled figure: its kind, its numbers in the unit square and its colour key."""

    kind: str
    numbers: tuple[float, ...]
    colour: str


def _drawings(text: str) -> dict[str, tuple[Stroke, ...]]:
    drawings = {}
    for drawing in re.split(r"\n(?=\w)", text.strip()):
        name, _, strokes = drawing.partition(":")
        drawings[name] = tuple(_stroke(stroke.split()) for stroke in strokes.split(";"))
    return drawings


def _stroke(words: list[str]) -> Stroke:
    kind, *numbers, colour = words
    return Stroke(kind, tuple(float(number) for number in numbers), colour)


SHAPES: dict[str, tuple[Stroke, ...]] = {
    **_drawings(synthetic_drawings_home.DRAWINGS),
    **_drawings(synthetic_drawings_play.DRAWINGS),
    **_drawings(synthetic_drawings_things.DRAWINGS),
}

AMBIGUOUS_SHAPES = ("carton", "polybag", "tag", "giftbox", "swatch")
"""Photos of a parcel, a bag, a logo, a box or a fabric: any department may show one."""
