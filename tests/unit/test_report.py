"""The report: numbers agree with the modules they come from, and all of it is plain data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from rayon.calibration import coverage_at, log_softmax
from rayon.report import Report, macro_f1_where, make_report, plain_report, read_report

CATEGORIES = ("books", "lamps", "toys", "never")


@pytest.fixture
def predictions() -> tuple[np.ndarray, np.ndarray]:
    """900 labels of three of the four categories and log-probabilities that are often right."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 900)
    return labels, log_softmax(rng.normal(size=(900, 4)) + 2.0 * np.eye(4)[labels])


def report_of(labels: np.ndarray, log: np.ndarray, **more) -> Report:
    return make_report(labels, log, CATEGORIES, (0.9, 0.95), np.full(len(labels), 0.75), 200, **more)


def test_the_numbers_are_those_of_their_modules(predictions):
    labels, log = predictions
    report = report_of(labels, log, without_photo=0.5)
    predicted, confidence = log.argmax(axis=1), np.exp(log).max(axis=1)
    assert report.products == 900
    assert report.metrics["macro_f1"].value == pytest.approx(f1_score(labels, predicted, average="macro"))
    assert report.metrics["macro_f1"].low < report.metrics["macro_f1"].value < report.metrics["macro_f1"].high
    assert report.nll == pytest.approx(log_loss(labels, np.exp(log), labels=range(4)))
    assert report.coverage == {
        "0.9": coverage_at(confidence, predicted == labels, 0.9),
        "0.95": pytest.approx(coverage_at(confidence, predicted == labels, 0.95)),
    }
    assert sum(b.products for b in report.reliability) == 900
    assert np.array(report.confusion).sum(axis=1).tolist() == [*np.bincount(labels), 0]
    assert report.per_class[-1]["category"] == "never"
    assert (report.without_photo, report.without_text, report.text_share) == (0.5, None, pytest.approx(0.75))
    assert report.constant is False


def test_everything_is_plain_data(predictions):
    report = report_of(*predictions)
    again = json.loads(json.dumps(report._asdict()))
    assert again["per_class"] == report.per_class
    assert again["metrics"]["accuracy"] == list(report.metrics["accuracy"])


def test_the_curve_is_thinned_out_and_keeps_its_ends(predictions):
    labels, log = predictions
    curve = report_of(labels, log).risk_coverage
    assert len(curve["coverage"]) == len(curve["precision"]) == 200
    assert curve["coverage"][0] == pytest.approx(1 / 900, abs=1e-5) and curve["coverage"][-1] == 1.0
    short = report_of(labels[:3], log[:3]).risk_coverage
    assert len(short["coverage"]) == 3


def test_a_model_that_says_one_thing_is_called_constant(predictions):
    labels, _ = predictions
    assert report_of(labels, np.log(np.tile([0.1, 0.7, 0.1, 0.1], (900, 1)))).constant is True


def test_nothing_to_measure_on_is_an_error_that_says_what_to_do():
    with pytest.raises(ValueError, match=r"raise split\.test"):
        report_of(np.empty(0, dtype=int), np.empty((0, 4)))


def test_macro_f1_of_some_rows(predictions):
    labels, log = predictions
    rows = np.arange(900) % 3 == 0
    expected = f1_score(labels[rows], log[rows].argmax(axis=1), average="macro")
    assert macro_f1_where(labels, log, rows, 4) == pytest.approx(expected)
    assert macro_f1_where(labels, log, np.zeros(900, dtype=bool), 4) is None


def test_a_report_survives_the_way_through_plain_data(predictions):
    report = report_of(*predictions, without_photo=0.5)
    plain = json.loads(json.dumps(plain_report(report)))
    assert read_report(plain) == report
