"""Cheap traits of texts and photos."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from rayon.data.traits import is_plain_word, language_of, photo_look, words_of


def jpeg(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def test_words_are_taken_as_the_ngrams_take_them():
    assert words_of("Lampe LED, 12V\nd'été") == ["lampe", "led", "12v", "d", "été"]
    assert words_of("") == []


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Une lampe pour la table avec un abat-jour", "fr"),
        ("A lamp for the table with this shade", "en"),
        ("Eine Lampe für den Tisch mit Schirm", "de"),
        ("Lampe LED 12V", ""),
        ("", ""),
    ],
)
def test_languages_are_told_by_their_function_words(text, language):
    assert language_of(words_of(text)) == language


def test_only_plain_words_are_worth_showing():
    assert is_plain_word("été") and is_plain_word("lampe")
    assert not any(map(is_plain_word, ("b07xyz", "12", "ab", "x" * 31)))


def test_photos_are_dark_or_bright_blank_or_sharp():
    rng = np.random.default_rng(0)
    dark, bright = (np.full((96, 96, 3), value) for value in (20, 230))
    noise = rng.integers(0, 256, (96, 96, 3))
    assert photo_look(jpeg(dark)).brightness == pytest.approx(20 / 255, abs=0.01)
    assert photo_look(jpeg(bright)).brightness == pytest.approx(230 / 255, abs=0.01)
    assert photo_look(jpeg(dark)).sharpness < 0.001 < 0.05 < photo_look(jpeg(noise)).sharpness
    assert photo_look(jpeg(np.full((1, 1, 3), 9))).sharpness == 0.0
