"""The records that travel through rayon and the columns of its frames.

Knows no library beyond the standard one, reads no file and holds no rule: `rayon.data.validation` says what a
good product is, this module only says what one looks like.
"""

from __future__ import annotations

from typing import NamedTuple

PRODUCT_ID = "product_id"
DESIGNATION = "designation"
DESCRIPTION = "description"
CATEGORY = "category"
IMAGE = "image"

PRODUCT_COLUMNS = (PRODUCT_ID, DESIGNATION, DESCRIPTION, CATEGORY, IMAGE)
"""Columns of a products frame, whatever the catalogue called them. All are strings; an absent value is ''."""


class TooLittleError(ValueError):
    """There is too little to learn from, or to measure on. The message says how much, and which setting to change."""


SPLITS = ("train", "validation", "test", "unseen")
"""Where a product goes: fitted on, tuned on, the gold set, and the stream kept aside for simulated traffic."""

REJECT_COLUMNS = ("source", "row", PRODUCT_ID, "scope", "reason", "detail", "record")
"""Columns of a rejects frame: file, 1-based data row in it, id as read, what was refused ('product', or 'photo' where
the product is kept on its text), reason code, words, the whole row as JSON."""


class Product(NamedTuple):
    """A catalogue row with its photo.

    `category` is '' where it is not known; `image` holds the encoded bytes of the photo (JPEG, PNG, WebP...), or
    None where there is none. A product needs a text or a photo.

    Example:
        >>> Product("42", "Lampe LED")
        Product(product_id='42', designation='Lampe LED', description='', category='', image=None)
    """

    product_id: str
    designation: str = ""
    description: str = ""
    category: str = ""
    image: bytes | None = None


class Prediction(NamedTuple):
    """What the classifier says of one product.

    `confidence` is the calibrated probability of `category`, in [0, 1]. `top_k` holds (category, probability) pairs,
    best first. `text_contribution` and `image_contribution` are each branch's share of the evidence for `category`,
    in [0, 1], summing to 1. `decision` is 'accept' or 'review'. `photo_problem` says why the photo was not looked
    at, '' where nothing was wrong with it.
    """

    product_id: str
    category: str
    confidence: float
    top_k: tuple[tuple[str, float], ...]
    text_contribution: float
    image_contribution: float
    decision: str
    model_version: str
    photo_problem: str = ""


class Refusal(NamedTuple):
    """A product that cannot be judged: why, as a code to count by and as a sentence for a person."""

    product_id: str
    reason: str
    detail: str
