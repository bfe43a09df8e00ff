"""From an opened dataset to what the branches look at: texts, grams, features, squares of pixels.

Knows branches, encoders and the feature store. It trains nothing and judges nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayon.config import Config
from rayon.data.batches import BranchInputs
from rayon.data.dataset import Dataset
from rayon.data.images import decode_square
from rayon.data.text import product_text
from rayon.models.computed import compute_features, is_computed
from rayon.models.encoders import encoder_key, load_image_encoder, load_text_encoder
from rayon.models.encoding import encode_images, encode_texts
from rayon.models.features import features_for
from rayon.models.network import Branch
from rayon.models.ngrams import NgramVectorizer
from rayon.models.shared import feature_store

NGRAM = "ngram"

Tell = Callable[[str, int, int], None]
"""Called with what is being done, how many are done, and how many there are at most."""


class Encoded(NamedTuple):
    """The frozen encoders' features of all products, by source, (N, D); how many products each had to encode anew."""

    features: dict[str, NDArray[np.float32]]
    encoded: dict[str, int]


def texts_of(dataset: Dataset) -> list[str]:
    """Return what the text branches read of each product, N strings, '' where there is no text."""
    frame = dataset.frame
    return [product_text(title, text) for title, text in zip(frame["designation"], frame["description"], strict=True)]


def encode_dataset(dataset: Dataset, config: Config, tell: Tell = lambda *_: None) -> Encoded:
    """Return the features of every product from the config's frozen encoders, encoding only what the store lacks.

    Products are found by the content of their text or photo: a second run, another split or a grown catalogue encodes
    nothing twice. An encoder is loaded only if it has something to do.
    """
    store = feature_store(config)
    features: dict[str, NDArray[np.float32]] = {}
    encoded: dict[str, int] = {}
    text, image = config.branches.text, config.branches.image
    keys = dataset.frame["text_key"].tolist()
    for source in text.encoders:
        if is_computed(source, "text") or not text.trainable:
            key, encode = encoder_key(source, text.max_tokens), _text_encoding(source, dataset, config, tell)
            features[source], encoded[source] = features_for(store, key, keys, encode)
    keys = dataset.frame["image_key"].tolist()
    for source in image.encoders:
        if is_computed(source, "image") or not image.trainable:
            key, encode = encoder_key(source, image.side), _image_encoding(source, dataset, config, tell)
            features[source], encoded[source] = features_for(store, key, keys, encode)
    return Encoded(features, encoded)


def candidate_branches(kind: str, config: Config) -> list[Branch]:
    """Return the branches of a candidate: those that read text, those that read the photo, or all ('fusion')."""
    found: list[Branch] = []
    branches = config.branches
    if kind in ("text", "fusion"):
        if branches.ngram.enabled:
            found.append(Branch(NGRAM, "ngram", "text", 0))
        found += [_branch(source, "text", branches.text.trainable) for source in branches.text.encoders]
    if kind in ("image", "fusion"):
        found += [_branch(source, "image", branches.image.trainable) for source in branches.image.encoders]
    return found


def _branch(source: str, modality: str, trainable: bool) -> Branch:
    mode = "encoder" if trainable and not is_computed(source, modality) else "features"
    return Branch(source, mode, modality, 0, source)


def split_rows(dataset: Dataset, folds: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows to learn from and the rows to judge by; with folds both are all of train and validation."""
    split, labelled = dataset.frame["split"], dataset.frame["label"] >= 0
    train = np.flatnonzero((split == "train") & labelled)
    validation = np.flatnonzero((split == "validation") & labelled)
    if folds:
        both = np.sort(np.concatenate([train, validation]))
        return both, both
    return train, validation


def make_inputs(
    dataset: Dataset,
    rows: NDArray[np.int64],
    branches: Sequence[Branch],
    encoded: Encoded,
    vectorizer: NgramVectorizer | None,
    encoders: Mapping[str, Any],
    side: int,
) -> BranchInputs:
    """Return what `branches` look at for some rows of a dataset: one entry a branch, in the order of `rows`.

    `encoders` holds the modules of the branches that are trained end to end, by branch; `side` is their photos' side.
    """
    texts = texts_of(dataset)
    chosen = [texts[row] for row in rows]
    trained = [branch for branch in branches if branch.kind == "encoder"]
    return BranchInputs(
        grams={b.name: vectorizer.transform(chosen) for b in branches if b.kind == "ngram" and vectorizer is not None},
        features={b.name: encoded.features[b.source][rows] for b in branches if b.kind == "features"},
        tokenisers={b.name: encoders[b.name].tokenize for b in trained if b.modality == "text"},
        photos={b.name: partial(_square, dataset, rows, side) for b in trained if b.modality == "image"},
        texts=chosen,
    )


def _square(dataset: Dataset, rows: NDArray[np.int64], side: int, position: int) -> NDArray[np.uint8]:
    photo = dataset.photo(int(rows[position]))
    return np.zeros((side, side, 3), dtype=np.uint8) if photo is None else decode_square(photo, side)


def _text_encoding(
    source: str, dataset: Dataset, config: Config, tell: Tell
) -> Callable[[NDArray[np.intp]], NDArray[np.float32]]:
    settings = config.branches.text
    texts = texts_of(dataset)
    if is_computed(source, "text"):
        return lambda rows: compute_features(source, [texts[row] for row in rows])
    load = cache(lambda: load_text_encoder(source, settings.max_tokens))
    finished = 0

    def encode(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        nonlocal finished
        report = partial(_report, tell, f"texts, {source}", finished, len(dataset))
        features = encode_texts(load(), [texts[row] for row in rows], settings.batch_size, progress=report)
        finished += len(rows)
        return features

    return encode


def _image_encoding(
    source: str, dataset: Dataset, config: Config, tell: Tell
) -> Callable[[NDArray[np.intp]], NDArray[np.float32]]:
    settings = config.branches.image
    if is_computed(source, "image"):
        return lambda rows: compute_features(source, [dataset.photo(row) for row in rows.tolist()])
    load = cache(lambda: load_image_encoder(source, settings.side))
    finished = 0

    def encode(rows: NDArray[np.intp]) -> NDArray[np.float32]:
        nonlocal finished
        report = partial(_report, tell, f"photos, {source}", finished, len(dataset))
        # only products with a photo are asked for: the others have no key
        photos = (photo for photo in map(dataset.photo, rows.tolist()) if photo is not None)
        features = encode_images(load(), photos, settings.batch_size, progress=report)
        finished += len(rows)
        return features

    return encode


def _report(tell: Tell, what: str, before: int, total: int, done: int) -> None:
    tell(what, before + done, total)
