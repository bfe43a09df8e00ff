"""How often is the model right in production: measured from the labels that people give, estimated without any.

Works on arrays: it knows neither products nor where labels come from. People do not label at random, mostly what was
sent to review; and confidences tell how often a model is right only while products are like those it was calibrated on.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayon.evaluation import Interval, confusion, scores

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]

_DRAWS = 4000
_SIMULATED = 200
_SIMULATED_ROWS = 20_000
_SMALL_STRATUM = 0.05


class Measured(NamedTuple):
    """Accuracy and macro-F1 by the labels of people, with 95% intervals, and how many labels there were.

    `worse` is the chance that accuracy is no lower than the reference's, [0, 1]: small where it has fallen.
    """

    accuracy: Interval
    macro_f1: Interval
    labels: int
    worse: float


class Estimated(NamedTuple):
    """Accuracy and macro-F1 as the confidences have it, with 95% intervals."""

    accuracy: Interval
    macro_f1: Interval


def measure(
    predicted: Ints,
    labels: Ints,
    strata: Ints,
    sizes: Ints,
    classes: int,
    reference: tuple[int, int],
    minimum: int = 10,
    seed: int = 0,
) -> Measured | None:
    """Return how often predictions were right, corrected for which of them people looked at.

    Within a stratum (filed, sent to review) the labelled products stand for all of it, and strata count by their size:
    that is weighing each label by the inverse of its chance to be given (Horvitz and Thompson 1952). Intervals are
    those of Beta posteriors by stratum (Jeffreys's prior), which stay honest where few labels all agree; macro-F1's
    those of the Bayesian bootstrap.

    Args:
        predicted: (L,) of the labelled products, in [0, classes).
        labels: (L,) what people said; `classes` for a category the model does not know, which is wrong.
        strata: (L,) in [0, S).
        sizes: (S,) products in all, labelled or not.
        reference: how many of how many predictions were right on the gold set.
        minimum: labels that every stratum of more than a twentieth of the products must have.

    Returns:
        None where a stratum has fewer labels than that: what nobody looked at cannot be told.
    """
    from scipy.special import betainc  # as in evaluation: who only names what is measured does without

    count = len(sizes)
    seen = np.bincount(strata, minlength=count)
    weights = sizes / max(sizes.sum(), 1)
    if len(labels) == 0 or (seen[weights > _SMALL_STRATUM] < minimum).any():
        return None
    rng = np.random.default_rng(seed)
    right = np.bincount(strata, weights=predicted == labels, minlength=count)
    draws = rng.beta(right + 0.5, seen - right + 0.5, size=(_DRAWS, count)) @ weights
    known = seen > 0
    value = float((right[known] / seen[known]) @ weights[known] / weights[known].sum())
    # the reference's part is exact: counting pairs of draws would never tell a chance below one in as many
    worse = float(betainc(reference[0] + 0.5, reference[1] - reference[0] + 0.5, draws.clip(0, 1)).mean())
    share = np.divide(weights, seen, out=np.zeros(count), where=known)[strata]
    exact = _macro_f1(labels, predicted, share[None, :], classes)
    at_once = max(1, min(_SIMULATED, _SIMULATED * _SIMULATED_ROWS // len(labels)))  # of many labels, few ways at a time
    ways = [min(at_once, _SIMULATED - done) for done in range(0, _SIMULATED, at_once)]
    bootstrapped = np.concatenate(
        [_macro_f1(labels, predicted, share * rng.exponential(size=(some, len(labels))), classes) for some in ways]
    )
    return Measured(_interval(value, draws), _interval(float(exact[0]), bootstrapped), len(labels), worse)


def estimate(labels: Ints, probabilities: Floats, classes: int, seed: int = 0) -> Estimated | None:
    """Return how often predictions are right if their calibrated probabilities are.

    Labels are drawn from the probabilities again and again and the predictions scored against them: confidence-based
    performance estimation, as NannyML does it, with the classes that a small window lacks left out as in a real
    measurement. What is not among the likeliest categories is spread over all. It stays high where products are unlike
    those of the calibration, so it can advise and never decide.

    Args:
        labels: (N, k) the likeliest categories, best first, in [0, classes).
        probabilities: (N, k) theirs.

    Returns:
        None for no products. Beyond 20,000 products so many are drawn.
    """
    rng = np.random.default_rng(seed)
    if len(labels) == 0:
        return None
    if len(labels) > _SIMULATED_ROWS:
        some = rng.choice(len(labels), _SIMULATED_ROWS, replace=False)
        labels, probabilities = labels[some], probabilities[some]
    edges = np.cumsum(probabilities, axis=1)
    values: list[tuple[float, float]] = []
    resampled: list[tuple[float, float]] = []
    for draw in range(_SIMULATED):
        # every other draw keeps the products as they are: those tell the value, the others how far chance reaches
        rows = rng.integers(0, len(labels), len(labels)) if draw % 2 else np.arange(len(labels))
        place = (rng.random((len(labels), 1)) >= edges[rows]).sum(axis=1)
        other = rng.integers(0, classes, len(labels))
        likely = labels[rows, np.minimum(place, labels.shape[1] - 1)]
        truth = np.where(place < labels.shape[1], likely, other)
        macro, _, accuracy = scores(confusion(truth, labels[rows, 0], classes))
        (resampled if draw % 2 else values).append((float(accuracy), float(macro)))
    value, spread = np.mean(values, axis=0), np.asarray(resampled)
    return Estimated(_interval(float(value[0]), spread[:, 0]), _interval(float(value[1]), spread[:, 1]))


def corrected(estimated: Estimated, on_reference: Estimated, accuracy: float, macro_f1: float) -> Estimated:
    """Return an estimate less what the same estimate was off on labelled products, where the truth is known.

    Confidences are calibrated on held-out products of the training; what is left of their error on the gold set, whose
    accuracy and macro-F1 are given, is taken to stay the same.
    """
    return Estimated(
        _moved(estimated.accuracy, accuracy - on_reference.accuracy.value),
        _moved(estimated.macro_f1, macro_f1 - on_reference.macro_f1.value),
    )


def _moved(interval: Interval, by: float) -> Interval:
    return Interval(*(min(max(value + by, 0.0), 1.0) for value in interval))


def _macro_f1(labels: Ints, predicted: Ints, weights: Floats, classes: int) -> NDArray[np.float64]:
    """Return the macro-F1, (R,), of products weighed in R ways, (R, L); a label of `classes` is nobody's."""
    sizes, hits = np.zeros((len(weights), classes)), np.zeros((len(weights), classes))
    for start in range(0, len(labels), _SIMULATED_ROWS):
        some = slice(start, start + _SIMULATED_ROWS)
        truth = (labels[some, None] == np.arange(classes)).astype(np.float64)
        said = (predicted[some, None] == np.arange(classes)).astype(np.float64)
        sizes += weights[:, some] @ truth + weights[:, some] @ said
        hits += weights[:, some] @ (truth * said)
    f1 = np.divide(2 * hits, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    found: NDArray[np.float64] = f1.sum(axis=1) / np.maximum((sizes > 0).sum(axis=1), 1)
    return found


def _interval(value: float, draws: Floats) -> Interval:
    low, high = np.percentile(draws, [2.5, 97.5])
    return Interval(value, float(min(low, value)), float(max(high, value)))
