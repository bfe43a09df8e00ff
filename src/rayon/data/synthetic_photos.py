"""Draw the photo of a demo product: a shape in its colour, on a background, in some light, as JPEG bytes.

Knows strokes, colours and pixels; neither departments nor words. Size, JPEG quality, background and pose are drawn from
the photo's own seed, so that none of them tells the department. Equal arguments give equal bytes with one version of
Pillow and its JPEG library.
"""

from __future__ import annotations

import itertools
import math
import random

from PIL import Image, ImageDraw, ImageFilter

from rayon.data.synthetic_scenes import SIDES, clip, develop, draw_background, encode, shade
from rayon.data.synthetic_shapes import SHAPES, Stroke
from rayon.data.synthetic_vocabulary import COLOURS, Colour

_FIXED: dict[str, Colour] = {
    "k": (42, 42, 46),
    "w": (246, 245, 241),
    "g": (168, 173, 180),
    "b": (186, 140, 92),
    "n": (116, 80, 52),
    "q": (142, 200, 226),
    "v": (84, 150, 82),
    "s": (236, 202, 172),
    "y": (232, 190, 72),
    "z": (204, 58, 54),
}
_ALL_COLOURS = tuple(COLOURS.values())
_CIRCLE = tuple((math.cos(2 * math.pi * k / 22), math.sin(2 * math.pi * k / 22)) for k in range(22))


def draw_photo(shape: str, colour: str, count: int, seed: int, strangeness: float = 0.0) -> bytes:
    """Return a JPEG of `count` products of `shape` (a key of `SHAPES`) in `colour` (a key of `COLOURS`).

    `strangeness` in [0, 1] is how far the photographer is from the usual one. Width and height are within `SIDES`,
    independent of each other.
    """
    rng = random.Random(seed)
    width, height = (rng.randint(*SIDES) for _ in range(2))
    size = (2 * width, 2 * height)  # twice too large, then halved: Pillow's polygons have jagged edges
    palette = _palette(COLOURS[colour], rng)
    scene = draw_background((width, height), random.Random(rng.getrandbits(48)), strangeness)
    figures = _place(shape, count, size, palette, rng)
    _cast_shadow(scene, figures, rng)
    canvas = scene.resize(size, Image.Resampling.NEAREST)
    draw = ImageDraw.Draw(canvas)
    for points, fill in figures:
        draw.polygon(points, fill)
    if rng.random() < 0.14:
        _sticker(draw, size, palette, rng)
    return develop(canvas.reduce(2), rng, strangeness)


def truncate_photo(photo: bytes, seed: int) -> bytes:
    """Return `photo` cut short: its header is whole, 15 to 75% of its bytes are there and it cannot be decoded."""
    share = 0.15 + 0.6 * random.Random(seed).random()
    return photo[: max(64, int(len(photo) * share))]


def blank_photo(seed: int) -> bytes:
    """Return a photo of nothing: one grey with a little noise of the seed in its size and tone."""
    rng = random.Random(seed)
    tone = rng.randint(90, 250)
    return encode(Image.new("RGB", (rng.randint(*SIDES), rng.randint(*SIDES)), (tone, tone, tone)), 80)


_Figure = tuple[list[tuple[float, float]], Colour]


def _palette(main: Colour, rng: random.Random) -> dict[str, Colour]:
    """Return the colour of every key of the drawings; the product's own varies by a few percent."""
    main = tuple(clip(c + rng.randint(-14, 14)) for c in main)  # type: ignore[assignment]
    accent = rng.choice(_ALL_COLOURS)
    own = {"m": main, "d": shade(main, 0.76), "h": shade(main, 1.2), "a": accent, "e": shade(accent, 0.76)}
    return _FIXED | own | {"i": shade(accent, 1.2), "u": rng.choice(_ALL_COLOURS)}


def _place(
    shape: str, count: int, size: tuple[int, int], palette: dict[str, Colour], rng: random.Random
) -> list[_Figure]:
    """Return every stroke of every copy as a polygon in canvas pixels, in drawing order."""
    shown = min(count, 4) if count > 1 and rng.random() < 0.6 else 1
    spots = {
        1: ((0.0, 0.0),),
        2: ((-0.45, -0.08), (0.42, 0.1)),
        3: ((-0.45, 0.25), (0.45, 0.28), (0.0, -0.35)),
        4: ((-0.45, -0.42), (0.45, -0.42), (-0.45, 0.45), (0.45, 0.45)),
    }[shown]
    reach = min(size) * (0.48 if shown == 1 else 0.27) * rng.uniform(0.72, 1.0)
    angle, lean = math.radians(rng.gauss(0, 9)), rng.uniform(-0.12, 0.12)
    stretch, mirror = rng.uniform(0.82, 1.2), rng.choice((-1.0, 1.0))
    shift = (rng.uniform(-0.06, 0.06), rng.uniform(-0.06, 0.06))
    cos, sin = math.cos(angle) * reach, math.sin(angle) * reach
    figures: list[_Figure] = []
    for x0, y0 in spots:
        ox, oy = size[0] * (0.5 + 0.5 * x0 + shift[0]), size[1] * (0.5 + 0.5 * y0 + shift[1])
        if shown > 1 and rng.random() < 0.5:
            palette = palette | {"m": palette["a"], "d": palette["e"], "h": palette["i"], "a": palette["m"]}
        for stroke in SHAPES[shape]:
            for outline in _outlines(stroke, rng):
                points = []
                for x, y in outline:
                    x = (x * stretch + y * lean) * mirror
                    points.append((ox + x * cos - y * sin, oy + x * sin + y * cos))
                figures.append((points, palette[stroke.colour]))
    return figures


def _outlines(stroke: Stroke, rng: random.Random) -> list[list[tuple[float, float]]]:
    """Return the polygons of a stroke in the unit square."""
    n = stroke.numbers
    match stroke.kind:
        case "r":
            return [[(n[0], n[1]), (n[2], n[1]), (n[2], n[3]), (n[0], n[3])]]
        case "R":
            cut = 0.18 * min(n[2] - n[0], n[3] - n[1])
            soft = 0.3 * cut
            corners = [(n[0], n[1], 1, 1), (n[2], n[1], -1, 1), (n[2], n[3], -1, -1), (n[0], n[3], 1, -1)]
            points: list[tuple[float, float]] = []
            for index, (x, y, dx, dy) in enumerate(corners):
                bend = [(x, y + dy * cut), (x + dx * soft, y + dy * soft), (x + dx * cut, y)]
                points += bend if index % 2 == 0 else bend[::-1]
            return [points]
        case "o":
            return [[(n[0] + n[2] * c, n[1] + n[3] * s) for c, s in _CIRCLE]]
        case "p":
            return [list(zip(n[::2], n[1::2], strict=True))]
        case "l":
            ends = list(zip(n[:-1:2], n[1:-1:2], strict=True))
            return [_segment(a, b, n[-1] / 2) for a, b in itertools.pairwise(ends)]
        case _:
            return _print_lines(n, rng)


def _segment(a: tuple[float, float], b: tuple[float, float], half: float) -> list[tuple[float, float]]:
    """Return the rectangle of the given half width from a to b, a little longer than the way."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    length = math.hypot(dx, dy) or 1.0
    ux, uy = dx / length * half, dy / length * half
    return [
        (a[0] - uy - ux / 2, a[1] + ux - uy / 2),
        (a[0] + uy - ux / 2, a[1] - ux - uy / 2),
        (b[0] + uy + ux / 2, b[1] - ux + uy / 2),
        (b[0] - uy + ux / 2, b[1] + ux + uy / 2),
    ]


def _print_lines(box: tuple[float, ...], rng: random.Random) -> list[list[tuple[float, float]]]:
    """Return words of illegible print that fill a box (x0, y0, x1, y1, lines)."""
    x0, y0, x1, y1, lines = box
    pitch = (y1 - y0) / lines
    words = []
    for line in range(int(lines)):
        top, x = y0 + (line + 0.2) * pitch, x0
        end = x1 - rng.random() * 0.35 * (x1 - x0)
        while x < end:
            stop = min(end, x + pitch * rng.uniform(0.8, 3.2))
            words.append([(x, top), (stop, top), (stop, top + 0.6 * pitch), (x, top + 0.6 * pitch)])
            x = stop + 0.3 * pitch
    return words


def _cast_shadow(scene: Image.Image, figures: list[_Figure], rng: random.Random) -> None:
    """Darken `scene` softly beneath the figures (in pixels of twice its size), to one side."""
    small = (scene.width // 4, scene.height // 4)
    mask = Image.new("L", small)
    draw = ImageDraw.Draw(mask)
    dx, dy = rng.uniform(-1.5, 1.5), rng.uniform(0.5, 2.5)
    depth = rng.randint(50, 110)
    for points, _ in figures:
        draw.polygon([(x / 8 + dx, y / 8 + dy) for x, y in points], depth)
    soft = mask.filter(ImageFilter.BoxBlur(1.6)).resize(scene.size, Image.Resampling.BILINEAR)
    scene.paste((40, 40, 48), (0, 0), soft)


def _sticker(draw: ImageDraw.ImageDraw, size: tuple[int, int], palette: dict[str, Colour], rng: random.Random) -> None:
    """Put a seller's badge in a corner, or a banner with a slogan at the bottom."""
    if rng.random() < 0.5:
        x, y, radius = rng.choice((0.15, 0.85)) * size[0], 0.15 * size[1], 0.11 * size[0]
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), palette["z"])
        box = (x - 0.7 * radius, y - 0.3 * radius, x + 0.7 * radius, y + 0.3 * radius, 1.0)
    else:
        draw.rectangle((0, 0.88 * size[1], *size), palette["u"])
        box = (0.06 * size[0], 0.9 * size[1], 0.94 * size[0], 0.98 * size[1], 1.0)
    for word in _print_lines(box, rng):
        draw.polygon(word, palette["w"])
