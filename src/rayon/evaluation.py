"""How good is a set of predictions, and how sure are we of that?

Works on arrays and frames alone: it knows neither models nor products. `labels` and `predicted` are (N,) ints in
[0, C), `probabilities` is (N, C) with rows summing to 1. F1 averages leave out classes that neither occur nor are
predicted, as scikit-learn's do.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

_CELLS = 2**22
"""Of confusion matrices that are drawn at once: some 70 MB."""

METRICS = ("macro_f1", "weighted_f1", "accuracy")


class Interval(NamedTuple):
    """A measured value with its 95% interval."""

    value: float
    low: float
    high: float


def confusion(labels: Ints, predicted: Ints, classes: int) -> NDArray[np.int64]:
    """Return the (C, C) counts, true class by row and predicted class by column.

    Example:
        >>> confusion(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2)
        array([[1, 1],
               [0, 2]])
    """
    cells = np.bincount(labels.astype(np.int64) * classes + predicted, minlength=classes * classes)
    return cells.reshape(classes, classes).astype(np.int64)


def scores(matrix: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return macro-F1, weighted-F1 and accuracy, (..., 3), of one or many (..., C, C) confusion matrices."""
    counts = matrix.astype(np.float64)
    hits = np.diagonal(counts, axis1=-2, axis2=-1)
    support = counts.sum(axis=-1)
    sizes = support + counts.sum(axis=-2)
    f1 = 2 * hits / np.maximum(sizes, 1)
    total = np.maximum(support.sum(axis=-1), 1)
    macro = f1.sum(axis=-1) / np.maximum((sizes > 0).sum(axis=-1), 1)
    return np.stack([macro, (f1 * support).sum(axis=-1) / total, hits.sum(axis=-1) / total], axis=-1)


def category_f1(matrix: NDArray[np.integer]) -> NDArray[np.float64]:
    """Return the F1 of each class of a (C, C) confusion matrix, 0 where it neither occurs nor is predicted.

    Example:
        >>> category_f1(np.array([[1, 1], [0, 2]])).round(3)
        array([0.667, 0.8  ])
    """
    counts = matrix.astype(np.float64)
    f1: NDArray[np.float64] = 2 * np.diagonal(counts) / np.maximum(counts.sum(axis=0) + counts.sum(axis=1), 1)
    return f1


def most_confused(counts: NDArray[np.number], limit: int) -> NDArray[np.intp]:
    """Return the categories of a (C, C) confusion matrix with most mistakes, `limit` at most, in their own order.

    Example:
        >>> most_confused(np.array([[5, 0, 1], [0, 5, 0], [2, 0, 5]]), 2)
        array([0, 2])
    """
    mistakes = counts.sum(axis=0) + counts.sum(axis=1) - 2 * counts.diagonal()
    return np.sort(np.argsort(-mistakes, kind="stable")[:limit])


def macro_f1(labels: Ints, predicted: Ints, classes: int) -> float:
    """Return the macro-F1, in [0, 1]. `predicted` may hold `classes`: an answer that is none of them, which is wrong.

    Example:
        >>> round(macro_f1(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 2), 3)
        0.733
    """
    matrix = confusion(labels, predicted, classes + 1)
    occur = (matrix.sum(axis=0) + matrix.sum(axis=1))[:-1] > 0
    return float(category_f1(matrix)[:-1].sum() / max(occur.sum(), 1))


def metrics(labels: Ints, predicted: Ints, classes: int, resamples: int = 1000, seed: int = 0) -> dict[str, Interval]:
    """Return macro-F1, weighted-F1 and accuracy with percentile-bootstrap 95% intervals.

    Drawing N products with replacement is drawing the confusion matrix's cells from a multinomial, which costs the same
    whatever N is. Matrices of many classes are drawn some at a time, so that memory stays what it is for few.
    """
    matrix = confusion(labels, predicted, classes)
    value = scores(matrix)
    some, rng = max(1, _CELLS // max(matrix.size, 1)), np.random.default_rng(seed)
    filled = np.flatnonzero(matrix)
    shares = matrix.ravel()[filled] / max(matrix.sum(), 1)
    drawn = []
    for start in range(0, resamples, some):
        counts = np.zeros((min(some, resamples - start), matrix.size), dtype=np.int64)
        if len(filled):
            counts[:, filled] = rng.multinomial(matrix.sum(), shares, size=len(counts))
        drawn.append(scores(counts.reshape(-1, classes, classes)))
    low, high = np.percentile(np.concatenate(drawn), [2.5, 97.5], axis=0)
    return {name: Interval(float(value[i]), float(low[i]), float(high[i])) for i, name in enumerate(METRICS)}


def share_interval(hits: int, total: int) -> Interval:
    """Return the share of `hits` in `total` with its 95% interval, that of Jeffreys's prior: honest for few products
    and for none or all of them hit. For a total of 0 the share is NaN and the interval [0, 1].

    Example:
        >>> share, low, high = share_interval(5, 5)
        >>> share, round(low, 2), high
        (1.0, 0.62, 1.0)
    """
    if total == 0:
        return Interval(float("nan"), 0.0, 1.0)
    from scipy.special import betaincinv  # here, since most who import this module only name intervals

    low, high = (float(betaincinv(hits + 0.5, total - hits + 0.5, tail)) for tail in (0.025, 0.975))
    return Interval(hits / total, low if hits else 0.0, high if hits < total else 1.0)


def paired_gain(
    labels: Ints, ours: Ints, theirs: Ints, classes: int, confidence: float = 0.95, resamples: int = 1000, seed: int = 0
) -> Interval:
    """Return how much macro-F1 `ours` has above `theirs` on the same products, with its percentile-bootstrap interval.

    Products are drawn, so that each draw judges both on the same ones. Both may hold `classes` for an answer that is
    none of them, which is wrong.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> gain = paired_gain(labels, labels, np.array([0, 1, 1, 1]), 2)
        >>> round(gain.value, 3), round(gain.low, 3), round(gain.high, 3)
        (0.267, 0.0, 0.8)
    """
    triples, counts = np.unique(np.stack([labels, ours, theirs], axis=1), axis=0, return_counts=True)
    total = counts.sum()
    draws = np.random.default_rng(seed).multinomial(total, counts / max(total, 1), size=resamples)
    every = np.concatenate([counts[None], draws]).astype(np.float64)
    truth = _one_hot(triples[:, 0], classes)
    gains = _macro(every, truth, _one_hot(triples[:, 1], classes)) - _macro(
        every, truth, _one_hot(triples[:, 2], classes)
    )
    tail = 50 * (1 - confidence)
    low, high = np.percentile(gains[1:], [tail, 100 - tail])
    return Interval(float(gains[0]), float(low), float(high))


def _one_hot(values: Ints, classes: int) -> NDArray[np.float64]:
    """Return (K, C); a value that is no class has an empty row."""
    found: NDArray[np.float64] = (values[:, None] == np.arange(classes)).astype(np.float64)
    return found


def _macro(counts: Floats, truth: Floats, predicted: Floats) -> NDArray[np.float64]:
    """Return the macro-F1 of each row of (R, K) counts of K kinds of products, over classes that occur in that row."""
    support = counts @ truth
    f1 = 2 * (counts @ (truth * predicted)) / np.maximum(support + counts @ predicted, 1)
    occurs = support > 0
    result: NDArray[np.float64] = (f1 * occurs).sum(axis=1) / np.maximum(occurs.sum(axis=1), 1)
    return result


def per_class(matrix: NDArray[np.integer], categories: tuple[str, ...]) -> pd.DataFrame:
    """Return a row a category: category, support, predicted, precision, recall, f1; worst F1 first, unseen last."""
    hits = np.diagonal(matrix).astype(float)
    support, predicted = matrix.sum(axis=1), matrix.sum(axis=0)
    table = pd.DataFrame(
        {
            "category": list(categories),
            "support": support,
            "predicted": predicted,
            "precision": hits / np.maximum(predicted, 1),
            "recall": hits / np.maximum(support, 1),
            "f1": 2 * hits / np.maximum(support + predicted, 1),
        }
    )
    table["_absent"] = table["support"] == 0
    return table.sort_values(["_absent", "f1"], kind="stable").drop(columns="_absent").reset_index(drop=True)


def constant_predictor(labels: Ints, predicted: Ints) -> bool:
    """Say whether the predictions hardly depend on the product.

    True where one class takes over 95% of the predictions although it holds under 90% of the labels, or where fewer
    than half of the classes that occur are ever predicted rightly and macro-F1 is not twice that of always saying the
    commonest class.

    Example:
        >>> constant_predictor(np.array([0, 1, 2, 3]), np.array([0, 0, 0, 0]))
        True
    """
    if len(labels) == 0:
        return True
    classes = int(max(labels.max(), predicted.max())) + 1
    commonest = np.bincount(predicted, minlength=classes).argmax()
    if (predicted == commonest).mean() > 0.95 and (labels == commonest).mean() < 0.90:
        return True
    matrix = confusion(labels, predicted, classes)
    occurring = matrix.sum(axis=1) > 0
    found = (np.diagonal(matrix) > 0) & occurring
    majority = np.full_like(labels, np.bincount(labels).argmax())
    weak = scores(matrix)[0] < 2 * macro_f1(labels, majority, classes)
    return bool(occurring.sum() > 1 and found.sum() < occurring.sum() / 2 and weak)


def suspects(labels: Ints, probabilities: Floats, count: int) -> pd.DataFrame:
    """Rank the labels that a model which never saw them finds least believable: (row, label, suggested, margin).

    Confident learning's rule (Northcutt et al., arXiv 1911.00068): another class is more probable than is usual for
    that class's own products. `margin` = p(suggested) - p(label), in (0, 1], largest first. For review: a suspect is
    often a hard product and not a wrong label.

    Example:
        >>> suspects(np.array([0, 0, 1]), np.array([[0.9, 0.1], [0.1, 0.9], [0.2, 0.8]]), 5)
           row  label  suggested  margin
        0    1      0          1     0.8
    """
    classes = probabilities.shape[1]
    own = probabilities[np.arange(len(labels)), labels]
    sizes = np.bincount(labels, minlength=classes)
    # a class that no product carries has no usual probability and is never suggested
    usual = np.where(sizes, np.bincount(labels, weights=own, minlength=classes) / np.maximum(sizes, 1), np.inf)
    others = np.where(probabilities >= usual, probabilities, 0.0)
    others[np.arange(len(labels)), labels] = 0.0
    suggested = others.argmax(axis=1)
    margin = others.max(axis=1) - own
    rows = np.flatnonzero(margin > 0)
    rows = rows[np.argsort(-margin[rows], kind="stable")][:count]
    return pd.DataFrame({"row": rows, "label": labels[rows], "suggested": suggested[rows], "margin": margin[rows]})
