"""Cheap traits of a product that are compared over time: its words, its language, how bright and sharp its photo is.

Knows strings and JPEG bytes alone. Each trait is a plain statistic that costs microseconds; none of them decides
anything about a product.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

_WORD = re.compile(r"\b\w+\b")
_LETTERS = re.compile(r"^[^\W\d_]{3,30}$")
_PREVIEW = 112

_FUNCTION_WORDS = {
    "fr": "le la les des du une et pour avec dans sur est sans aux par ce cette vous votre nous qui que plus",
    "en": "the and of for with in on is to from this that your you are it by or be as at all can",
    "de": "der die das und für mit im ist ein eine von zu den auf nicht auch dem oder sie ihr bei aus wird",
    "es": "el los las y para con en del un por es su que al como más sin sus este esta lo se tu",
    "it": "il gli e per con di che un è della dei nel sono alla più al da non si questo delle lo ed",
}
_LANGUAGES: dict[str, frozenset[str]] = {name: frozenset(text.split()) for name, text in _FUNCTION_WORDS.items()}


class PhotoLook(NamedTuple):
    """How a photo looks: mean brightness and mean step between neighbouring pixels, both in [0, 1] of full range."""

    brightness: float
    sharpness: float


def words_of(text: str) -> list[str]:
    """Return a text's words in lower case, in their order, as the n-gram branch takes them: runs of word characters."""
    return _WORD.findall(text.lower())


def language_of(words: Sequence[str]) -> str:
    """Return 'fr', 'en', 'de', 'es' or 'it' where one of them has most function words of a text, else ''.

    Counting function words is the oldest sound way to tell languages apart (Grefenstette 1995) and needs no model. A
    short title often has none, and '' then says so: the share of each answer is what is compared, not single answers.

    Example:
        >>> language_of(words_of("la lampe de chevet pour les enfants")), language_of(words_of("Lampe LED"))
        ('fr', '')
    """
    counts = {name: sum(word in known for word in words) for name, known in _LANGUAGES.items()}
    best = max(counts.values())
    leaders = [name for name, count in counts.items() if count == best]
    return leaders[0] if best > 0 and len(leaders) == 1 else ""


def is_plain_word(word: str) -> bool:
    """Say whether a word is worth showing as a new one: letters alone, three to thirty of them."""
    return _LETTERS.match(word) is not None


def photo_look(jpeg: bytes) -> PhotoLook:
    """Return how a JPEG looks, from a greyscale preview that the decoder makes in a fraction of the full time.

    Raises:
        OSError: the bytes are no image; those of a shard always are.
    """
    with Image.open(io.BytesIO(jpeg)) as image:
        image.draft("L", (_PREVIEW, _PREVIEW))
        pixels = np.asarray(image.convert("L"), dtype=np.float32) / 255.0
    steps = [np.abs(np.diff(pixels, axis=axis)) for axis in (0, 1)]
    return PhotoLook(float(pixels.mean()), float(np.mean([step.mean() if step.size else 0.0 for step in steps])))
