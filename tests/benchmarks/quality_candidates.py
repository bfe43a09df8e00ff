"""The candidates that quality is measured of: scikit-learn's on tf-idf and frozen features, and rayon's own.

Each takes an encoded dataset, learns from its train and validation products and answers for its gold set. Knows how
each is fitted; it takes no time and measures nothing.
"""

from __future__ import annotations

import dataclasses
import io
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import joblib
import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

from rayon.bundle import Bundle, read_bundle
from rayon.config import Config
from rayon.data.batches import BranchInputs
from rayon.data.dataset import Dataset
from rayon.evaluation import macro_f1
from rayon.gold import GoldPredictions, gold_rows
from rayon.inputs import Encoded, split_rows, texts_of
from rayon.models.baseline import baseline_probabilities, make_baseline
from rayon.models.fusion import Pool
from rayon.models.served import predict
from rayon.training import train_candidate

Features = Mapping[str, NDArray[np.float32]]
Answer = Callable[[Sequence[str], NDArray[np.bool_], Features], NDArray[np.floating]]
"""Log-probabilities (N, C) of N products by text ('': none), whether there is a photo, and features by encoder."""

BASELINES = ("tfidf", "photo features", "frozen features", "frozen average")
OURS = ("text", "photo", "fusion", "plain average", "feature fusion")
KINDS = {"text": "text", "photo": "image", "fusion": "fusion", "plain average": "fusion", "feature fusion": "fusion"}
_FLOOR = 1e-9
STRENGTH = 0.01
"""C of logistic regressions on standardised features: of .0003 to .1 the best for both together, and within .002 of the
best for photos alone, in macro-F1 on a fifth of bestbuy15's learning products (splits 0 and 1)."""


class Fitted(NamedTuple):
    """A candidate that has learnt: its answer, which modalities and encoders it looks at, its bytes, and macro-F1 on
    the products outside the gold set, each judged by a model that never saw it (NaN where that is not known).
    """

    answer: Answer
    modalities: frozenset[str]
    encoders: tuple[str, ...]
    data: bytes
    held_out: float


def fit(name: str, dataset: Dataset, encoded: Encoded, config: Config, folder: Path) -> Fitted:
    """Train a candidate. `folder` is for checkpoints, and removed."""
    text, image = config.branches.text.encoders, config.branches.image.encoders
    parts: dict[str, list[tuple[str, Sequence[str]]]] = {
        "tfidf": [("text", ())],
        "photo features": [("image", image)],
        "frozen features": [("both", (*text, *image))],
        "frozen average": [("text", ()), ("image", image)],
    }
    if name in parts:
        return _baseline(dataset, encoded, parts[name], image)
    return _ours(name, dataset, encoded, config, folder)


def answer_gold(fitted: Fitted, dataset: Dataset, encoded: Encoded) -> GoldPredictions:
    """Let a candidate answer for the gold set, whole, without photos and without texts."""
    rows = gold_rows(dataset)
    frame, every = dataset.frame.iloc[rows], texts_of(dataset)
    texts, photo = [every[row] for row in rows], frame["has_image"].to_numpy(dtype=bool)
    features = {source: encoded.features[source][rows] for source in fitted.encoders}
    labels = frame["label"].to_numpy().astype(np.int64)
    share = np.full(len(rows), np.nan, dtype=np.float32)
    whole, blind, mute = fitted.answer(texts, photo, features), None, None
    if "text" in fitted.modalities:
        blind = fitted.answer(texts, np.zeros_like(photo), features).astype(np.float32)
    if "image" in fitted.modalities:
        mute = fitted.answer([""] * len(texts), photo, features).astype(np.float32)
    return GoldPredictions(rows, labels, whole.astype(np.float32), share, blind, mute)


def _baseline(
    dataset: Dataset, encoded: Encoded, parts: Sequence[tuple[str, Sequence[str]]], image: Sequence[str]
) -> Fitted:
    """Fit a logistic regression a part and average their log-probabilities: 'text' reads tf-idf, 'image' and 'both'
    standardised features, zeros where there is nothing.
    """
    learn, _ = split_rows(dataset, folds=1)
    frame, every = dataset.frame, texts_of(dataset)
    labels, has_image = frame["label"].to_numpy().astype(np.int64), frame["has_image"].to_numpy(dtype=bool)
    models: list[tuple[str, Sequence[str], Pipeline]] = []
    for kind, sources in parts:
        if kind == "text":
            models.append((kind, sources, make_baseline().fit([every[row] for row in learn], labels[learn])))
            continue
        rows = learn[has_image[learn]] if kind == "image" else learn
        model = make_pipeline(StandardScaler(), LogisticRegression(C=STRENGTH, class_weight="balanced", max_iter=300))
        models.append((kind, sources, model.fit(_stacked(encoded.features, sources, rows), labels[rows])))
    classes = len(dataset.categories)

    def answer(texts: Sequence[str], photo: NDArray[np.bool_], features: Features) -> NDArray[np.floating]:
        written = np.array([bool(text) for text in texts], dtype=bool)
        there = {"text": written, "image": photo, "both": written | photo}
        total, count = np.zeros((len(texts), classes)), np.zeros(len(texts))
        for kind, sources, model in models:
            seen = there[kind]
            if not seen.any():
                continue
            if kind == "text":
                read: Any = [text for text, known in zip(texts, seen, strict=True) if known]
            else:
                shown = {s: np.where((photo if s in image else written)[:, None], f, 0) for s, f in features.items()}
                read = _stacked(shown, sources, np.flatnonzero(seen))
            log = np.full((int(seen.sum()), classes), np.log(_FLOOR))
            log[:, model[-1].classes_] = np.log(np.clip(model.predict_proba(read), _FLOOR, None))
            total[seen] += log
            count[seen] += 1
        mean = total / np.maximum(count, 1)[:, None]
        return mean - np.log(np.exp(mean).sum(axis=1, keepdims=True))

    modalities = frozenset(m for kind, _ in parts for m in (("text", "image") if kind == "both" else (kind,)))
    data = io.BytesIO()
    joblib.dump([model for _, _, model in models], data)
    return Fitted(answer, modalities, tuple(s for _, sources in parts for s in sources), data.getvalue(), float("nan"))


def _stacked(features: Features, sources: Sequence[str], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.hstack([features[source][rows] for source in sources])


def _ours(name: str, dataset: Dataset, encoded: Encoded, config: Config, folder: Path) -> Fitted:
    kind = KINDS[name]
    if name == "feature fusion":
        config = dataclasses.replace(config, fusion=dataclasses.replace(config.fusion, kind="feature"))
    trained = train_candidate(kind, dataset, encoded, config, folder)
    assert trained is not None
    shutil.rmtree(folder)
    held_out = macro_f1(trained.labels, trained.probabilities.argmax(axis=1), len(dataset.categories))
    bundle = read_bundle(trained.bundle)
    fitted = Fitted(_answers(bundle), frozenset(), (), trained.bundle, held_out)
    branches = bundle.served.network.branches
    return fitted._replace(
        modalities=frozenset(branch.modality for branch in branches),
        encoders=tuple(branch.source for branch in branches if branch.kind == "features"),
    )


def plain_average(fitted: Fitted) -> Fitted:
    """Return a fusion whose branches count the same: what its pool is worth."""
    bundle = read_bundle(fitted.data)
    pool = bundle.served.pool
    weights, bias = {}, {}
    for state in pool.weights:
        seeing = [state == "both" or modality in ("both", state) for modality in pool.modalities]
        weights[state] = tuple(float(sees) / max(sum(seeing), 1) for sees in seeing)
        bias[state] = (0.0,) * len(pool.bias[state])
    averaged = bundle._replace(served=bundle.served._replace(pool=Pool(pool.branches, pool.modalities, weights, bias)))
    return fitted._replace(answer=_answers(averaged), held_out=float("nan"))


def _answers(bundle: Bundle) -> Answer:
    served = bundle.served
    branches = served.network.branches

    def answer(texts: Sequence[str], photo: NDArray[np.bool_], features: Features) -> NDArray[np.floating]:
        inputs = BranchInputs(
            grams={b.name: served.vectorizer.transform(texts) for b in branches if b.kind == "ngram"},
            features={b.name: features[b.source] for b in branches if b.kind == "features"},
            texts=list(texts),
        )
        written = np.array([bool(text) for text in texts], dtype=bool)
        return predict(served, inputs, written, photo).log_probabilities

    return answer


def cross_validated(dataset: Dataset) -> float:
    """Return the baseline's macro-F1 on train and validation, each fold judged by a fit on the others: the products on
    which the candidates' `held_out` is measured, which are four times as many as the gold set's.
    """
    learn, _ = split_rows(dataset, folds=1)
    frame, every = dataset.frame.iloc[learn], texts_of(dataset)
    texts = [every[row] for row in learn]
    labels, folds = frame["label"].to_numpy().astype(np.int64), frame["fold"].to_numpy()
    predicted = np.zeros_like(labels)
    for fold in np.unique(folds):
        inside, outside = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
        probabilities = baseline_probabilities(
            [texts[i] for i in outside], labels[outside], [texts[i] for i in inside], len(dataset.categories)
        )
        predicted[inside] = probabilities.argmax(axis=1)
    return macro_f1(labels, predicted, len(dataset.categories))
