"""Are the probabilities honest, and how much can be filed without a human?

Works on arrays alone: it knows neither models nor products. `probabilities` is (N, C) with rows summing to 1, `labels`
is (N,) int in [0, C); `confidence` is each row's largest probability, `correct` whether that class was the label.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
    """Return the log-probabilities of (..., C) logits, along the last axis.

    Example:
        >>> np.exp(log_softmax(np.array([0.0, 0.0, np.log(2)]))).round(3)
        array([0.25, 0.25, 0.5 ])
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: NDArray[np.float64] = (shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))).astype(np.float64)
    return result


def negative_log_likelihood(logits: Floats, labels: Ints) -> float:
    """Return the mean of -log p(label) over (N, C) logits; lower is better, log(C) is a guess."""
    return float(-log_softmax(logits)[np.arange(len(labels)), labels].mean())


class Tempering(NamedTuple):
    """How sure scores may be: p = (1 - share) softmax(scale s) + share softmax(softness scale s).

    `scale` > 0 is an inverse temperature. The second, softer softmax is the doubt that stays where scores are far
    apart: with wrong labels among the products no score makes a prediction certain, and one temperature then says too
    little of the sure ones or too much of the others. The order of the classes is that of the scores.
    """

    scale: float = 1.0
    share: float = 0.0
    softness: float = 1.0


def temper(scores: Floats, tempering: Tempering) -> NDArray[np.float64]:
    """Return the log-probabilities (N, C) that tempered (N, C) scores stand for.

    Example:
        >>> scores = np.array([[4.0, 0.0]])
        >>> np.exp(temper(scores, Tempering(scale=0.5))).round(3)
        array([[0.881, 0.119]])
        >>> np.exp(temper(scores, Tempering(share=0.1, softness=0.0))).round(3)
        array([[0.934, 0.066]])
    """
    sharp = log_softmax(tempering.scale * scores)
    if tempering.share == 0.0:
        return sharp
    soft = log_softmax(tempering.scale * tempering.softness * scores)
    mixed: NDArray[np.float64] = np.logaddexp(np.log1p(-tempering.share) + sharp, np.log(tempering.share) + soft)
    return mixed


def fit_tempering(scores: Floats, labels: Ints) -> Tempering:
    """Return the tempering under which `labels` are likeliest: scale in [0.05, 20], share in [0, 0.5], softness in
    [0, 1]. With softness 1 it is temperature scaling (Guo et al., arXiv 1706.04599).
    """
    from scipy.optimize import minimize  # a quarter of a second that who only predicts need not wait

    if len(labels) == 0:
        return Tempering()
    rows = np.arange(len(labels))
    own = scores[rows, labels]

    def objective(point: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scale, share, softness = point
        sharp, soft = np.exp(log_softmax(scale * scores)), np.exp(log_softmax(scale * softness * scores))
        likelihood = np.maximum((1 - share) * sharp[rows, labels] + share * soft[rows, labels], 1e-300)
        from_sharp = (1 - share) * sharp[rows, labels] / likelihood
        from_soft = share * soft[rows, labels] / likelihood
        above_sharp, above_soft = own - (sharp * scores).sum(axis=1), own - (soft * scores).sum(axis=1)
        gradient = (
            from_sharp * above_sharp + from_soft * softness * above_soft,
            (soft[rows, labels] - sharp[rows, labels]) / likelihood,
            from_soft * scale * above_soft,
        )
        return float(-np.log(likelihood).mean()), -np.array([part.mean() for part in gradient])

    bounds = [(0.05, 20.0), (0.0, 0.5), (0.0, 1.0)]
    found = minimize(objective, np.array([1.0, 0.05, 0.5]), jac=True, method="L-BFGS-B", bounds=bounds)
    return Tempering(*map(float, found.x))


def reliability(confidence: Floats, correct: Bools, bins: int = 15) -> list[ReliabilityBin]:
    """Return the non-empty bins of the reliability diagram, equally wide over [0, 1].

    Example:
        >>> confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])
        >>> reliability(confidence, correct, bins=2)
        [ReliabilityBin(low=0.5, high=1.0, products=4, confidence=0.75, accuracy=0.75)]
    """
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
    """Return the ECE in [0, 1]: the gap between confidence and accuracy, averaged over equally wide bins by size.

    Example:
        >>> confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])
        >>> round(expected_calibration_error(confidence, correct), 3)
        0.1
    """
    total = sum(b.products * abs(b.confidence - b.accuracy) for b in reliability(confidence, correct, bins))
    return float(total / max(len(confidence), 1))


def risk_coverage(confidence: Floats, correct: Bools) -> RiskCoverage:
    """Return the precision at every coverage, surest products first; equal confidences are filed together."""
    order = np.argsort(-confidence, kind="stable")
    precision = np.cumsum(correct[order]) / np.arange(1, len(order) + 1)
    ends = np.flatnonzero(np.diff(confidence[order], append=-1.0))
    return RiskCoverage(coverage=(ends + 1) / max(len(order), 1), precision=precision[ends])


def coverage_at(confidence: Floats, correct: Bools, precision: float) -> float:
    """Return the largest share of products that can be filed at `precision` or better, 0.0 where none can.

    Example:
        >>> confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])
        >>> coverage_at(confidence, correct, 0.95), coverage_at(confidence, correct, 0.75)
        (0.5, 1.0)
    """
    curve = risk_coverage(confidence, correct)
    good = curve.coverage[curve.precision >= precision]
    return float(good.max()) if good.size else 0.0


def threshold_for(confidence: Floats, correct: Bools, precision: float) -> float:
    """Return the lowest confidence from which filing is right at least `precision` of the time, 1.01 where none is.

    1.01 is above any probability: everything then goes to review.

    Example:
        >>> confidence, correct = np.array([0.9, 0.9, 0.6, 0.6]), np.array([True, True, True, False])
        >>> threshold_for(confidence, correct, 0.95), threshold_for(confidence, ~correct, 0.95)
        (0.9, 1.01)
    """
    if len(confidence) == 0:
        return 1.01
    share = coverage_at(confidence, correct, precision)
    if share == 0.0:
        return 1.01
    return float(np.sort(confidence)[::-1][round(share * len(confidence)) - 1])
