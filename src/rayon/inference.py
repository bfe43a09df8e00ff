"""Predicts categories: a bundle with its encoders, for a single product, a list, a frame or an opened shard.

The one path from products to predictions. It cleans texts and shrinks photos as training did, encodes what the feature
store lacks, and asks the served network. Knows neither flows nor where a bundle or a product comes from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rayon.bundle import Bundle
from rayon.config import Preprocess
from rayon.data.batches import BranchInputs
from rayon.data.images import PhotoError, decode_square, shrink_photo
from rayon.data.shards import input_key
from rayon.data.text import clean_label, clean_text, product_text
from rayon.models.computed import compute_features, is_computed
from rayon.models.encoders import encoder_key, load_image_encoder, load_text_encoder
from rayon.models.encoding import encode_images, encode_texts
from rayon.models.features import Store, features_for
from rayon.models.network import Branch
from rayon.models.served import Predicted, ablate, predict
from rayon.schema import DESCRIPTION, DESIGNATION, IMAGE, PRODUCT_ID, Prediction, Product, Refusal

TOP_K = 5

Features = NDArray[np.float32]


class PredictorError(ValueError):
    """A bundle cannot be served here, or a product cannot be judged. The message says why and what to do."""


class Ready(NamedTuple):
    """A product that can be judged: its id, cleaned texts, the photo as training would have stored it (a normalised
    JPEG, None for no photo) and, where a photo was given and cannot be looked at, why.
    """

    product_id: str
    designation: str
    description: str
    photo: bytes | None
    problem: str = ""


class Prepared(NamedTuple):
    """N products as training would have stored them: cleaned texts and normalised JPEGs, None for no photo."""

    designations: Sequence[str]
    descriptions: Sequence[str]
    photos: Sequence[bytes | None]


class Answers(NamedTuple):
    """What is said of N products: labels of the likeliest categories (N, k), best first, their probabilities (N, k),
    the text's share of the evidence (N,) in [0, 1], and the entropy of all probabilities (N,), nats. `features` are
    what the encoders made of them, (N, D) by branch, for who observes them (`rayon.observing`).
    """

    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    text_share: NDArray[np.float64]
    entropy: NDArray[np.float64]
    features: Mapping[str, Features] = MappingProxyType({})


class Scores(NamedTuple):
    """A scored frame: `predictions`, a row a product that could be judged, and `refusals`, a row for each other one."""

    predictions: pd.DataFrame
    refusals: pd.DataFrame


class Predictor:
    """A bundle ready to answer. Encoders are loaded when the first product needs them, and once a process.

    Args:
        bundle: the classifier.
        version: what predictions are signed with, as in 'TrainFlow/12'.
        precision: the target whose threshold decides between 'accept' and 'review', one the bundle was measured for;
            None accepts nothing, for who asks for no decision.
        store: where features are found and kept; None keeps none.

    Raises:
        PredictorError: an encoder is not the one that the bundle was trained on, or `precision` was not measured.
    """

    def __init__(
        self, bundle: Bundle, version: str, precision: float | None = 0.95, store: Store | None = None
    ) -> None:
        self.bundle, self.version = bundle, version
        self.categories = bundle.categories
        self.threshold = _threshold(bundle, precision)
        self._store = store
        _check_encoders(bundle)

    def predict(self, product: Product) -> Prediction:
        """Judge one product.

        Raises:
            PredictorError: it has neither a text nor a photo that can be read.
        """
        answer = self.predict_all([product])[0]
        if isinstance(answer, Refusal):
            raise PredictorError(f"product '{answer.product_id}': {answer.detail}")
        return answer

    def predict_all(self, products: Sequence[Product]) -> list[Prediction | Refusal]:
        """Judge products, in their order; one with nothing to go on gets a `Refusal` and costs the others nothing."""
        prepared = self.prepare(products)
        ready = [product for product in prepared if isinstance(product, Ready)]
        told = iter(self.tell(ready, self.judge(together(ready))))
        return [next(told) if isinstance(product, Ready) else product for product in prepared]

    def prepare(
        self, products: Sequence[Product], problems: Mapping[int, PhotoError] = MappingProxyType({})
    ) -> list[Ready | Refusal]:
        """Clean the texts of products and shrink their photos, as training did; `problems` says, by a product's place,
        why its photo could not be had.
        """
        settings = self.bundle.preprocess
        photos = _normalised([product.image for product in products], settings)
        return [
            _ready(product, problems.get(place, photo), settings)
            for place, (product, photo) in enumerate(zip(products, photos, strict=True))
        ]

    def tell(self, ready: Sequence[Ready], answers: Answers) -> list[Prediction]:
        """Put what was answered of products, in their order, into words: names, decision, signature."""
        return [self._prediction(product, answers, place) for place, product in enumerate(ready)]

    def score(self, frame: pd.DataFrame) -> Scores:
        """Judge a frame with the columns product_id, designation, description and image (encoded bytes or None).

        `predictions` has the fields of `Prediction` as columns, `refusals` those of `Refusal`; the index is that of
        `frame`. Missing texts may be NaN, and columns but product_id may be absent.
        """
        answers = self.predict_all([_product(row) for row in frame.to_dict("records")])
        refused = np.array([isinstance(answer, Refusal) for answer in answers], dtype=bool)
        return Scores(
            pd.DataFrame([a for a in answers if isinstance(a, Prediction)], frame.index[~refused], Prediction._fields),
            pd.DataFrame([a for a in answers if isinstance(a, Refusal)], frame.index[refused], Refusal._fields),
        )

    def judge(self, prepared: Prepared) -> Answers:
        """Judge products that are prepared already, as those of a shard are."""
        return answers_of(self.probabilities(prepared))

    def probabilities(self, prepared: Prepared) -> Predicted:
        """Return the log-probabilities (N, C) and the text's shares (N,) of prepared products, with the features of all
        encoders.
        """
        inputs = self._inputs(prepared)
        return _with_all_features(predict(self.bundle.served, inputs, *_presence(prepared, inputs)), inputs)

    def ablated(self, prepared: Prepared) -> tuple[Predicted, Predicted | None, Predicted | None]:
        """Return what `probabilities` does of prepared products as they are, without their photos and without their
        texts (None where that leaves the model nothing to look at), for little more than it costs once.
        """
        inputs = self._inputs(prepared)
        whole, without_photo, without_text = ablate(self.bundle.served, inputs, *_presence(prepared, inputs))
        return _with_all_features(whole, inputs), without_photo, without_text

    def _inputs(self, prepared: Prepared) -> BranchInputs:
        """Return what the branches look at."""
        served, bundle = self.bundle.served, self.bundle
        texts = [product_text(*both) for both in zip(prepared.designations, prepared.descriptions, strict=True)]
        photos = prepared.photos
        branches = served.network.branches
        trained: dict[str, Any] = {name: served.network.encoder(name) for name in served.network.trained}
        side = bundle.image.side
        return BranchInputs(
            grams={
                b.name: served.vectorizer.transform(texts) for b in branches if b.kind == "ngram" and served.vectorizer
            },
            features={b.name: self._features(b, texts, photos) for b in branches if b.kind == "features"},
            tokenisers={
                b.name: trained[b.name].tokenize for b in branches if b.name in trained and b.modality == "text"
            },
            photos={b.name: _squares(photos, side) for b in branches if b.name in trained and b.modality == "image"},
            texts=texts,
        )

    def features_of(self, product: Ready) -> dict[str, Features]:
        """Return one product's features (D,) by frozen encoder, where there is something for it to look at."""
        seen = {"text": bool(product.designation or product.description), "image": product.photo is not None}
        texts = [product_text(product.designation, product.description)]
        return {
            branch.source: self._features(branch, texts, [product.photo])[0]
            for branch in self.bundle.served.network.branches
            if branch.kind == "features" and seen[branch.modality]
        }

    def accepts(self, confidence: float) -> bool:
        """Say whether a prediction this sure may be filed without a human."""
        return bool(confidence >= self.threshold)

    def _prediction(self, product: Ready, answers: Answers, place: int) -> Prediction:
        top = tuple(
            (self.categories[label], float(probability))
            for label, probability in zip(answers.labels[place], answers.probabilities[place], strict=True)
        )
        share = float(answers.text_share[place])
        decision = "accept" if self.accepts(top[0][1]) else "review"
        return Prediction(
            product.product_id, top[0][0], top[0][1], top, share, 1.0 - share, decision, self.version, product.problem
        )

    def _features(self, branch: Branch, texts: Sequence[str], photos: Sequence[bytes | None]) -> Features:
        """Return one encoder's features, rounded as the store rounds them, zeros for products it cannot see."""
        if branch.modality == "text":
            settings = self.bundle.text
            size, keys = settings.max_tokens, [input_key(text.encode()) for text in texts]

            def encode(rows: NDArray[np.intp]) -> Features:
                seen = [texts[row] for row in rows]
                if is_computed(branch.source, "text"):
                    return compute_features(branch.source, seen)
                return encode_texts(_text_encoder(branch.source, size), seen, settings.batch_size)
        else:
            size, keys = self.bundle.image.side, [input_key(photo or b"") for photo in photos]

            def encode(rows: NDArray[np.intp]) -> Features:
                seen = [photo for photo in (photos[row] for row in rows) if photo is not None]
                if is_computed(branch.source, "image"):
                    return compute_features(branch.source, seen)
                return encode_images(_image_encoder(branch.source, size), seen, self.bundle.image.batch_size)

        if self._store is not None:
            return features_for(self._store, encoder_key(branch.source, size), keys, encode)[0]
        features = np.zeros((len(keys), branch.dim), dtype=np.float32)
        present = np.flatnonzero([bool(key) for key in keys])
        if len(present):
            features[present] = encode(present).astype(np.float16)
        return features


# Frozen, and so shared: a process that swaps one model for another holds what both look through once.
_text_encoder = lru_cache(maxsize=4)(load_text_encoder)
_image_encoder = lru_cache(maxsize=4)(load_image_encoder)


def answers_of(predicted: Predicted) -> Answers:
    """Return what a model said of products as answers: its likeliest categories first."""
    log = predicted.log_probabilities
    labels = np.argsort(-log, axis=1, kind="stable")[:, :TOP_K]
    each = np.exp(log)
    likeliest = np.take_along_axis(each, labels, axis=1)
    return Answers(labels, likeliest, predicted.text_share, -(each * log).sum(axis=1), predicted.features)


def together(ready: Sequence[Ready]) -> Prepared:
    """Return products column by column."""
    return Prepared(
        [product.designation for product in ready],
        [product.description for product in ready],
        [product.photo for product in ready],
    )


def _threshold(bundle: Bundle, precision: float | None) -> float:
    if precision is None:
        return math.inf
    found = {threshold.precision: threshold.confidence for threshold in bundle.thresholds}
    if precision not in found:
        known = ", ".join(f"{target:g}" for target in sorted(found)) or "none"
        raise PredictorError(
            f"the model has no threshold for a precision of {precision:g}; measured when it was trained: {known}. Set "
            "score.precision to one of those, or train again with it among evaluation.precision_targets."
        )
    return found[precision]


def _check_encoders(bundle: Bundle) -> None:
    for branch in bundle.served.network.branches:
        if branch.kind == "features":
            size = bundle.text.max_tokens if branch.modality == "text" else bundle.image.side
            here, then = encoder_key(branch.source, size), bundle.encoder_keys.get(branch.source, "")
            if here != then:
                raise PredictorError(
                    f"the encoder {branch.source} here ({here[:12]}) is not the one that the model was trained on "
                    f"({then[:12] or 'not told'}): its features would mean something else. Install the package "
                    "versions of that training, or train again with these."
                )


def _normalised(images: Sequence[bytes | None], settings: Preprocess) -> list[bytes | PhotoError | None]:
    def one(image: bytes | None) -> bytes | PhotoError | None:
        if image is None:
            return None
        try:
            return shrink_photo(image, settings)
        except PhotoError as error:
            return PhotoError(error.reason, error.sentence)

    if len(images) < 2 or settings.workers == 0:
        return [one(image) for image in images]
    with ThreadPoolExecutor(settings.workers) as pool:
        return list(pool.map(one, images))


def _squares(photos: Sequence[bytes | None], side: int) -> Callable[[int], NDArray[np.uint8]]:
    def decode(row: int) -> NDArray[np.uint8]:
        photo = photos[row]
        return np.zeros((side, side, 3), dtype=np.uint8) if photo is None else decode_square(photo, side)

    return decode


def _with_all_features(predicted: Predicted, inputs: BranchInputs) -> Predicted:
    return predicted._replace(features={**inputs.features, **predicted.features})


def _presence(prepared: Prepared, inputs: BranchInputs) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Say which products have a text and which a photo, each (N,)."""
    has_image = np.array([photo is not None for photo in prepared.photos], dtype=bool)
    return np.array([bool(text) for text in inputs.texts], dtype=bool), has_image


def _ready(product: Product, photo: bytes | PhotoError | None, settings: Preprocess) -> Ready | Refusal:
    name = clean_label(product.product_id)
    title, description = (
        clean_text(text, settings.max_text_chars) for text in (product.designation, product.description)
    )
    if isinstance(photo, PhotoError):
        if not title and not description:
            return Refusal(name, photo.reason, f"{photo.sentence}; the product has no text either")
        return Ready(name, title, description, None, f"{photo.reason}: {photo.sentence}")
    if photo is None and not title and not description:
        return Refusal(name, "no_text_no_photo", "the product has neither a title, a description nor a photo")
    return Ready(name, title, description, photo)


def _product(row: dict[Any, Any]) -> Product:
    def text(column: str) -> str:
        value = row.get(column, "")
        return value if isinstance(value, str) else "" if pd.isna(value) else str(value)

    image = row.get(IMAGE)
    return Product(
        text(PRODUCT_ID), text(DESIGNATION), text(DESCRIPTION), "", image if isinstance(image, bytes) else None
    )
