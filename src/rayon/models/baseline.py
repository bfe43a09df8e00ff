"""The yardstick: tf-idf of words and characters with a logistic regression. Never promoted, always reported.

Knows texts and labels alone. A classifier that cannot beat it on a catalogue is not worth its encoders.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline, make_union
from threadpoolctl import threadpool_limits


def make_baseline() -> Pipeline:
    """Return the unfitted pipeline: word 1-2 and character 2-5 grams, balanced logistic regression with C = 10."""
    shared = {"min_df": 2, "sublinear_tf": True, "strip_accents": "unicode", "dtype": np.float32}
    return make_pipeline(
        make_union(
            TfidfVectorizer(ngram_range=(1, 2), **shared),
            TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), **shared),
        ),
        LogisticRegression(C=10.0, class_weight="balanced", max_iter=200),
    )


def baseline_probabilities(
    texts: Sequence[str], labels: NDArray[np.integer], unseen: Sequence[str], classes: int
) -> NDArray[np.float64]:
    """Fit the baseline on texts with labels and return its probabilities, (len(unseen), classes), for other texts.

    A class without a training product gets probability 0. With a single class everything belongs to it; where no two
    texts share a word (products may be photos alone) the classes' frequencies answer.
    """
    probabilities = np.zeros((len(unseen), classes))
    known, counts = np.unique(labels, return_counts=True)
    if len(known) == 1 or not _share_words(texts):
        probabilities[:, known] = counts / counts.sum()
        return probabilities
    if not unseen:
        return probabilities
    # its products are thin: a second BLAS thread doubles the seconds of the processor and saves none of the clock
    with threadpool_limits(limits=1, user_api="blas"):
        fitted = make_baseline().fit(list(texts), labels)
        probabilities[:, fitted[-1].classes_] = fitted.predict_proba(list(unseen))
    return probabilities


def _share_words(texts: Sequence[str]) -> bool:
    words = TfidfVectorizer(strip_accents="unicode").build_analyzer()
    seen: set[str] = set()
    for text in texts:
        found = set(words(text))
        if found & seen:
            return True
        seen |= found
    return False
