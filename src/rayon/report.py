"""The report on a model: everything measured on one set of products, as one record of plain data.

Puts together what `evaluation` and `calibration` measure. Knows arrays; it neither runs models nor draws.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayon.calibration import (
    ReliabilityBin,
    coverage_at,
    expected_calibration_error,
    negative_log_likelihood,
    reliability,
    risk_coverage,
)
from rayon.evaluation import Interval, confusion, constant_predictor, macro_f1, metrics, per_class
from rayon.schema import TooLittleError

_CURVE_POINTS = 200


class Report(NamedTuple):
    """A model measured on `products` labelled products.

    `metrics` maps macro_f1, weighted_f1 and accuracy to value and 95% interval. `nll` is in nats, `ece` in [0, 1].
    `reliability` holds the diagram's bins; `risk_coverage` the curve (share filed, precision), at most 200 points;
    `coverage` maps a precision such as '0.95' to the share that can be filed at it. `per_class` has a dict a category:
    category, support, predicted, precision, recall, f1; worst first. `confusion` is (C, C) counts, truth by row.
    `without_photo` and `without_text` are the macro-F1 over all products that have the other modality when this one is
    taken away, None where the model never uses it; `text_share` is the mean share of the evidence that came from text.
    """

    products: int
    categories: tuple[str, ...]
    metrics: dict[str, Interval]
    nll: float
    ece: float
    reliability: list[ReliabilityBin]
    risk_coverage: dict[str, list[float]]
    coverage: dict[str, float]
    per_class: list[dict[str, Any]]
    confusion: list[list[int]]
    without_photo: float | None
    without_text: float | None
    text_share: float
    constant: bool


def make_report(
    labels: NDArray[np.integer],
    log_probabilities: NDArray[np.floating],
    categories: tuple[str, ...],
    precision_targets: tuple[float, ...],
    text_share: NDArray[np.floating],
    resamples: int = 1000,
    without_photo: float | None = None,
    without_text: float | None = None,
) -> Report:
    """Measure predictions, (N, C) log-probabilities, against labels, (N,) in [0, C).

    Raises:
        TooLittleError: there is no labelled product to measure on.
    """
    if len(labels) == 0:
        raise TooLittleError("there is no labelled product to measure on: raise split.test, or add products.")
    classes = len(categories)
    predicted = log_probabilities.argmax(axis=1)
    confidence, correct = np.exp(log_probabilities.max(axis=1)), predicted == labels
    matrix = confusion(labels, predicted, classes)
    curve = risk_coverage(confidence, correct)
    points = np.unique(np.linspace(0, len(curve.coverage) - 1, _CURVE_POINTS).astype(int))
    return Report(
        products=len(labels),
        categories=categories,
        metrics=metrics(labels, predicted, classes, resamples),
        nll=negative_log_likelihood(log_probabilities, labels),
        ece=expected_calibration_error(confidence, correct),
        reliability=reliability(confidence, correct),
        risk_coverage={
            "coverage": curve.coverage[points].round(5).tolist(),
            "precision": curve.precision[points].round(5).tolist(),
        },
        coverage={str(target): coverage_at(confidence, correct, target) for target in precision_targets},
        per_class=[
            {str(name): value for name, value in row.items()}
            for row in per_class(matrix, categories).to_dict("records")
        ],
        confusion=matrix.tolist(),
        without_photo=without_photo,
        without_text=without_text,
        text_share=float(text_share.mean()),
        constant=constant_predictor(labels, predicted),
    )


def macro_f1_where(
    labels: NDArray[np.integer], log_probabilities: NDArray[np.floating], rows: NDArray[np.bool_], classes: int
) -> float | None:
    """Return the macro-F1 over the products where `rows` is true, None where there is none."""
    if not rows.any():
        return None
    return macro_f1(labels[rows], log_probabilities[rows].argmax(axis=1), classes)


def plain_report(report: Report) -> dict[str, Any]:
    """Return a report as plain data, as trainings keep it; `read_report` reads it back."""
    return {
        **report._asdict(),
        "metrics": {name: interval._asdict() for name, interval in report.metrics.items()},
        "reliability": [entry._asdict() for entry in report.reliability],
        "categories": list(report.categories),
    }


def read_report(plain: Mapping[str, Any]) -> Report:
    """Read what `plain_report` returned: the artifact `report` of a training."""
    return Report(
        **{
            **plain,
            "metrics": {name: Interval(**interval) for name, interval in plain["metrics"].items()},
            "reliability": [ReliabilityBin(**entry) for entry in plain["reliability"]],
            "categories": tuple(plain["categories"]),
        }
    )
