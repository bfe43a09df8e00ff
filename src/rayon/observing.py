"""What is noted of a product when it is judged, so that products can be compared over time without being read again.

The one place that makes these observations: for scored shards, for the gold set at training and for single requests.
So reference and current have one frame shape, and who compares them needs neither catalogue, photos nor encoders.
Knows what the predictor was given and answered; it compares nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayon.data.text import product_text
from rayon.data.traits import is_plain_word, language_of, photo_look, words_of
from rayon.models.projection import DIMENSIONS, View, project
from rayon.vectors import vector_column

if TYPE_CHECKING:  # who reads predictions needs the columns below, and neither torch nor scikit-learn
    from rayon.bundle import Bundle
    from rayon.inference import Answers, Predictor, Prepared
    from rayon.models.ngrams import NgramVectorizer

OBSERVED = pa.schema(
    {
        "words": pa.int32(),
        "unknown_words": pa.float32(),
        "new_words": pa.list_(pa.string()),
        "language": pa.string(),
        "text_view": pa.list_(pa.float32()),
        "text_novelty": pa.float32(),
        "photo_view": pa.list_(pa.float32()),
        "photo_novelty": pa.float32(),
        "brightness": pa.float32(),
        "sharpness": pa.float32(),
    }
)
"""What is observed of a product. `words` counts those of title and description, `unknown_words` is the share of its
different words that no training product had twice, `new_words` a few of them; `language` is a guess, '' where the text
does not tell. `text_view` and `photo_view` are positions among the training products (`rayon.models.projection`),
`*_novelty` how unlike these it is (about 1: as usual). `brightness` and `sharpness` are in [0, 1]. Null where the text
or the photo is missing, or the model has nothing to measure it by."""

NEW_WORDS = 4
"""How many new words of a product are kept."""


def observe(predictor: Predictor, prepared: Prepared, answers: Answers) -> pa.Table:
    """Return what is observed of N products that were judged, with the columns of `OBSERVED`.

    Args:
        prepared: the products, as `Predictor.judge` was given them.
        answers: what it answered.
    """
    bundle = predictor.bundle
    texts = [product_text(*both) for both in zip(prepared.designations, prepared.descriptions, strict=True)]
    has_text = np.array([bool(text) for text in texts], dtype=bool)
    has_photo = np.array([photo is not None for photo in prepared.photos], dtype=bool)
    words = [words_of(text) for text in texts]
    unknown, new = _vocabulary(words, bundle.served.vectorizer)
    looks = [photo_look(photo) if photo is not None else None for photo in prepared.photos]
    text = _view("text", bundle, answers, has_text)
    photo = _view("image", bundle, answers, has_photo)
    columns: dict[str, pa.Array] = {
        "words": pa.array([len(each) for each in words], pa.int32()),
        "unknown_words": _nullable(unknown),
        "new_words": pa.array(new, pa.list_(pa.string())),
        "language": pa.array([language_of(each) if each else None for each in words], pa.string()),
        "text_view": _vectors(text.view),
        "text_novelty": _nullable(text.novelty),
        "photo_view": _vectors(photo.view),
        "photo_novelty": _nullable(photo.novelty),
        "brightness": pa.array([look.brightness if look else None for look in looks], pa.float32()),
        "sharpness": pa.array([look.sharpness if look else None for look in looks], pa.float32()),
    }
    return pa.table(columns, schema=OBSERVED)


def _vocabulary(
    words: Sequence[Sequence[str]], vectorizer: NgramVectorizer | None
) -> tuple[NDArray[np.float32], list[list[str] | None]]:
    """Return the share of each product's different words that the n-gram branch does not know, and a few of them."""
    unknown = np.full(len(words), np.nan, dtype=np.float32)
    new: list[list[str] | None] = [None] * len(words)
    if vectorizer is None:
        return unknown, new
    each = [list(dict.fromkeys(product)) for product in words]
    vocabulary = sorted({word for product in each for word in product})
    known = dict(zip(vocabulary, vectorizer.knows(vocabulary).tolist(), strict=True))
    for row, product in enumerate(each):
        if product:
            strange = [word for word in product if not known[word]]
            unknown[row] = len(strange) / len(product)
            new[row] = [word for word in strange if is_plain_word(word)][:NEW_WORDS]
    return unknown, new


def _view(modality: str, bundle: Bundle, answers: Answers, present: NDArray[np.bool_]) -> View:
    projection = bundle.projections.get(modality)
    if projection is None:
        nothing = np.full(len(present), np.nan, dtype=np.float32)
        return View(np.full((len(present), DIMENSIONS), np.nan, dtype=np.float32), nothing)
    return project(projection, answers.features, present)


def _nullable(values: NDArray[np.float32]) -> Any:
    return pa.array(values, pa.float32(), from_pandas=True)  # NaN becomes null


def _vectors(view: NDArray[np.float32]) -> Any:
    return vector_column(view, np.isnan(view).max(axis=1))
