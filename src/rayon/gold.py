"""The gold set: what a bundle says of products that no training has seen, also when a modality is taken away.

Runs a bundle on rows of an encoded dataset. It decides nothing: selection is done on held-out products, not here.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayon.bundle import Bundle
from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.inputs import Encoded, make_inputs, split_rows, texts_of
from rayon.models.baseline import baseline_probabilities
from rayon.models.served import ablate
from rayon.report import Report, macro_f1_where, make_report


class GoldPredictions(NamedTuple):
    """Predictions on the gold set, plain arrays: rows of the dataset (N,), labels (N,), log-probabilities (N, C), the
    text's share of the evidence (N,) in [0, 1], and log-probabilities (N, C) with the photo, or the text, taken away
    (None where that leaves the model nothing to look at).
    """

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    log_probabilities: NDArray[np.float32]
    text_share: NDArray[np.float32]
    without_photo: NDArray[np.float32] | None
    without_text: NDArray[np.float32] | None


def gold_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Return the rows of the labelled products of the gold set."""
    frame = dataset.frame
    return np.flatnonzero((frame["split"] == "test") & (frame["label"] >= 0)).astype(np.int64)


def predict_gold(bundle: Bundle, dataset: Dataset, encoded: Encoded) -> GoldPredictions:
    """Run a bundle on the gold set, as it is, without photos and without texts."""
    rows = gold_rows(dataset)
    frame = dataset.frame.iloc[rows]
    network = bundle.served.network
    trained = {name: network.encoder(name) for name in network.trained}
    inputs = make_inputs(dataset, rows, network.branches, encoded, bundle.served.vectorizer, trained, bundle.image.side)
    has_text, has_image = frame["has_text"].to_numpy(dtype=bool), frame["has_image"].to_numpy(dtype=bool)
    whole, without_photo, without_text = ablate(bundle.served, inputs, has_text, has_image)
    return GoldPredictions(
        rows,
        frame["label"].to_numpy().astype(np.int64),
        whole.log_probabilities.astype(np.float32),
        whole.text_share.astype(np.float32),
        without_photo.log_probabilities.astype(np.float32) if without_photo else None,
        without_text.log_probabilities.astype(np.float32) if without_text else None,
    )


def predict_gold_baseline(dataset: Dataset) -> GoldPredictions:
    """Fit the tf-idf baseline on train and validation and run it on the gold set."""
    rows, (learn, _) = gold_rows(dataset), split_rows(dataset, folds=1)
    texts, labels = texts_of(dataset), dataset.frame["label"].to_numpy().astype(np.int64)
    probabilities = baseline_probabilities(
        [texts[row] for row in learn], labels[learn], [texts[row] for row in rows], len(dataset.categories)
    )
    log = np.log(np.clip(probabilities, 1e-9, None)).astype(np.float32)
    return GoldPredictions(rows, labels[rows], log, np.ones(len(rows), dtype=np.float32), log, None)


def report_gold(gold: GoldPredictions, dataset: Dataset, config: Config) -> Report:
    """Measure predictions on the gold set."""
    frame = dataset.frame.iloc[gold.rows]
    classes = len(dataset.categories)
    has_text, has_image = frame["has_text"].to_numpy(dtype=bool), frame["has_image"].to_numpy(dtype=bool)
    without_photo = without_text = None
    if gold.without_photo is not None:
        without_photo = macro_f1_where(gold.labels, gold.without_photo, has_text, classes)
    if gold.without_text is not None:
        without_text = macro_f1_where(gold.labels, gold.without_text, has_image, classes)
    return make_report(
        gold.labels,
        gold.log_probabilities,
        dataset.categories,
        config.evaluation.precision_targets,
        gold.text_share,
        config.evaluation.bootstrap,
        without_photo,
        without_text,
    )
