"""What surrounds the demo products: backgrounds, and how a photo is lit, exposed and encoded.

Knows colours and pixels, not what is shown.
"""

from __future__ import annotations

import functools
import io
import random

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from rayon.data.synthetic_vocabulary import COLOURS, Colour

SIDES = (160, 224)
"""Bounds of a photo's width and height, in pixels."""

_ALL_COLOURS = tuple(COLOURS.values())
_WALLS: tuple[Colour, ...] = (
    (236, 232, 224),
    (214, 222, 226),
    (226, 214, 204),
    (206, 214, 204),
    (232, 226, 236),
    (198, 204, 212),
)
_FLOORS: tuple[Colour, ...] = ((178, 146, 112), (200, 180, 156), (146, 128, 112), (172, 172, 170), (122, 96, 74))


def draw_background(size: tuple[int, int], rng: random.Random, strangeness: float) -> Image.Image:
    """Return an empty scene: mostly a white or grey studio, else coloured paper, a room, a table or a lawn.

    `strangeness` is the chance, but for a sixth, of paper, a table or the night instead.
    """
    kinds, weights = ("white", "studio", "paper", "room", "planks", "lawn"), (42, 18, 12, 13, 9, 6)
    kind = rng.choices(kinds, weights)[0]
    wall, floor, paper = rng.choice(_WALLS), rng.choice(_FLOORS), rng.choice(_ALL_COLOURS)
    if rng.random() < 0.85 * strangeness:
        kind = rng.choice(("paper", "planks", "night", "night"))
    if kind == "white":
        return Image.new("RGB", size, (255, 255, 255))
    if kind == "night":
        return _gradient(size, (22, 24, 38), (66, 60, 84))
    if kind == "studio":
        return _gradient(size, wall, (250, 250, 250))
    if kind == "paper":
        return _gradient(size, shade(paper, 1.35), shade(paper, 1.15))
    horizon = int(size[1] * rng.uniform(0.5, 0.75))
    scene = Image.new("RGB", size, (178, 212, 236) if kind == "lawn" else wall)
    draw = ImageDraw.Draw(scene)
    if kind == "planks":
        horizon = 0
    draw.rectangle((0, horizon, *size), (122, 168, 92) if kind == "lawn" else floor)
    if kind == "planks":
        step = rng.randint(15, 30)
        for y in range(0, size[1], step):
            draw.line((0, y, size[0], y), shade(floor, 0.8), 2)
    elif kind == "room":
        draw.rectangle((0, horizon - 6, size[0], horizon), shade(wall, 1.3))
    else:
        for _ in range(24):
            x, y = rng.randrange(size[0]), rng.randrange(horizon, size[1])
            draw.line((x, y, x + 2, y - 7), (94, 142, 70), 2)
    return scene


def _gradient(size: tuple[int, int], top: Colour, bottom: Colour) -> Image.Image:
    """Return a vertical blend of two colours."""
    column = Image.new("RGB", (1, 32))
    for y in range(32):
        column.putpixel((0, y), tuple(int(a + (b - a) * y / 31) for a, b in zip(top, bottom, strict=True)))
    return column.resize(size, Image.Resampling.BILINEAR)


@functools.cache
def _light(direction: int) -> Image.Image:
    """Return the light of a lamp on the largest photo: white on one side (one of eight), darker on the other."""
    gradient = Image.linear_gradient("L").rotate(45 * direction).crop((38, 38, 218, 218)).resize((SIDES[1], SIDES[1]))
    return gradient.point([216 + level * 39 // 255 for level in range(256)]).convert("RGB")


@functools.cache
def _grain(index: int) -> Image.Image:
    """Return a 256 x 256 plate of sensor noise around 128; eight plates, the same for everyone."""
    rng = random.Random(index)
    noise = bytes(clip(rng.gauss(128, 5)) for _ in range(256 * 256))
    return Image.frombytes("L", (256, 256), noise).convert("RGB")


def develop(photo: Image.Image, rng: random.Random, strangeness: float) -> bytes:
    """Light, expose, blur and encode a photo; with `strangeness` towards 1 it gets darker, warmer and flatter."""
    photo = ImageChops.multiply(photo, _light(rng.randrange(8)).crop((0, 0, *photo.size)))
    if rng.random() < 0.15:
        photo = photo.filter(ImageFilter.BoxBlur(rng.uniform(0.5, 1.2)))
    exposure, contrast = rng.uniform(0.9, 1.14), rng.uniform(0.85, 1.1)
    tint = [rng.gauss(1.0, 0.025) for _ in range(3)]
    exposure, contrast = exposure * (1 - 0.45 * strangeness), contrast * (1 - 0.3 * strangeness)
    tint = [t * (1 + strangeness * g) for t, g in zip(tint, (0.22, 0.0, -0.3), strict=True)]
    red, green, blue = (exposure * t for t in tint)
    lift = 128 * (1 - contrast)
    matrix = (
        *(red * contrast, 0, 0, red * lift),
        *(0, green * contrast, 0, green * lift),
        *(0, 0, blue * contrast, blue * lift),
    )
    x, y = rng.randrange(32), rng.randrange(32)
    grain = _grain(rng.randrange(8)).crop((x, y, x + photo.width, y + photo.height))
    photo = ImageChops.add(photo.convert("RGB", matrix), grain, 1, -128)
    return encode(photo, rng.randint(72, 92))


def encode(photo: Image.Image, quality: int) -> bytes:
    buffer = io.BytesIO()
    photo.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def shade(colour: Colour, factor: float) -> Colour:
    """Return `colour` darker (factor below 1) or nearer to white (above 1)."""
    if factor <= 1:
        return tuple(int(c * factor) for c in colour)  # type: ignore[return-value]
    return tuple(clip(c + (255 - c) * (factor - 1) * 1.6) for c in colour)  # type: ignore[return-value]


def clip(value: float) -> int:
    return max(0, min(255, int(value)))
