"""Whatever bytes arrive as a photo, it becomes a small JPEG or a refusal; the process does not swell."""

from __future__ import annotations

import io
import resource
import warnings

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged, examples
from PIL import Image

from rayon.data.images import PhotoError, decode_square, normalise_photo

SIDE, MEGAPIXELS, MEGABYTES = 64, 4.0, 1.0
_SWOLLEN = 600_000  # KB: an RGBA photo of the most pixels allowed takes 16 MB, and Pillow makes a few copies


def made(kind: str, mode: str = "RGB", **more: object) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 255, (30, 40, 3), dtype=np.uint8)
    sink = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(sink, kind, **more)
    return sink.getvalue()


PHOTOS = [
    made("JPEG"),
    made("JPEG", progressive=True),
    made("JPEG", mode="CMYK"),
    made("PNG"),
    made("PNG", mode="P"),
    made("PNG", mode="RGBA"),
    made("GIF", mode="P"),
    made("GIF", mode="P", save_all=True, append_images=[Image.new("P", (40, 30))] * 3),
    made("WEBP"),
    made("WEBP", lossless=True),
    made("BMP"),
    made("TIFF"),
    made("TIFF", compression="tiff_lzw"),
    made("TIFF", mode="I"),
]


@examples(400)
@given(raw=damaged(PHOTOS, head=80) | st.binary(max_size=80))
def test_any_bytes_are_a_small_photo_or_a_refusal(raw):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, of damaged metadata
        try:
            jpeg = normalise_photo(raw, SIDE, 90, MEGAPIXELS, MEGABYTES)
        except PhotoError as error:
            assert error.reason.startswith("photo_") and len(error.sentence) < 1000
        else:
            with Image.open(io.BytesIO(jpeg)) as image:
                assert image.format == "JPEG" and max(image.size) <= SIDE
            assert decode_square(jpeg, 32).shape == (32, 32, 3)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < _SWOLLEN


@examples(150)
@given(raw=damaged([made("JPEG"), made("JPEG", progressive=True)], head=200) | st.binary(max_size=60))
def test_a_stored_photo_that_is_damaged_is_pixels_or_a_refusal(raw):
    try:
        assert decode_square(raw, 32).shape == (32, 32, 3)
    except PhotoError as error:
        assert error.reason == "photo_damaged"
