"""Are the probabilities honest, and how much can be filed without a human?

Works on arrays alone: it knows neither models nor products. `probabilities` is (N, C) with rows summing to 1, `labels`
is (N,) int in [0, C); `confidence` is each row's largest probability, `correct` whether that class was the label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

Floats = NDArray[np.floating]
Ints = NDArray[np.integer]
Bools = NDArray[np.bool_]


class ReliabilityBin(NamedTuple):
    """Products whose confidence lies in (low, high]: how many, how sure on average, how often right."""

    low: float
    high: float
    products: int
    confidence: float
    accuracy: float


class RiskCoverage(NamedTuple):
    """Filing the surest products first: the share filed and the precision among them, both (K,), coverage rising."""

    coverage: Floats
    precision: Floats


def log_softmax(logits: Floats) -> NDArray[np.float64]:
    """Return the log-probabilities of (..., C) logits, along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float64)
    return result


def negative_log_likelihood(logits: Floats, labels: Ints) -> float:
    """Return the mean of -log p(label) over (N, C) logits; lower is better, log(C) is a guess."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


def fit_temperature(logits: Floats, labels: Ints) -> float:
    """Return the T in [0.05, 20] for which softmax(logits / T) is likeliest (Guo et al., arXiv 1706.04599)."""
    if len(labels) == 0:
        return 1.0
    found = minimize_scalar(
        lambda log_t: negative_log_likelihood(logits / np.exp(log_t), labels),
        bounds=(np.log(0.05), np.log(20.0)),
        method="bounded",
    )
    return float(np.exp(found.x))


def reliability(confidence: Floats, correct: Bools, bins: int = 15) -> list[ReliabilityBin]:
    """Return the non-empty bins of the reliability diagram, equally wide over [0, 1]."""
    edges = np.linspace(0.0, 1.0, bins + 1)
    place = np.clip(np.digitize(confidence, edges[1:-1], right=True), 0, bins - 1)
    return [
        ReliabilityBin(
            low=float(edges[b]),
            high=float(edges[b + 1]),
            products=int((place == b).sum()),
            confidence=float(confidence[place == b].mean()),
            accuracy=float(correct[place == b].mean()),
        )
        for b in range(bins)
        if (place == b).any()
    ]


def expected_calibration_error(confidence: Floats, correct: Bools, bins: int = 15) -> float:
    """Return the ECE in [0, 1]: the gap between confidence and accuracy, averaged over equally wide bins by size."""
    total = sum(b.products * abs(b.confidence - b.accuracy) for b in reliability(confidence, correct, bins))
    return float(total / max(len(confidence), 1))


def risk_coverage(confidence: Floats, correct: Bools) -> RiskCoverage:
    """Return the precision at every coverage, surest products first; equal confidences are filed together."""
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    ends = np.flatnonzero(np.diff(confidence[order], append=-1.0))
    return RiskCoverage(coverage=(ends + 1) / max(len(order), 1), precision=precision[ends])


def coverage_at(confidence: Floats, correct: Bools, precision: float) -> float:
    """Return the largest share of products that can be filed at `precision` or better, 0.0 where none can."""
    curve = risk_coverage(confidence, correct)
    good = curve.coverage[curve.precision >= precision]
    return float(good.max()) if good.size else 0.0


def threshold_for(confidence: Floats, correct: Bools, precision: float) -> float:
    """Return the lowest confidence from which filing is right at least `precision` of the time, 1.01 where none is.

    1.01 is above any probability: everything then goes to review.
    """
    if len(confidence) == 0:
        return 1.01
    share = coverage_at(confidence, correct, precision)
    if share == 0.0:
        return 1.01
    return float(np.sort(confidence)[::-1][round(share * len(confidence)) - 1])
