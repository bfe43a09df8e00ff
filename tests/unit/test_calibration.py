"""Calibration: against the data's own truth, arithmetic and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_softmax as scipy_log_softmax

from rayon.calibration import (
    Tempering,
    coverage_at,
    expected_calibration_error,
    fit_tempering,
    log_softmax,
    negative_log_likelihood,
    reliability,
    risk_coverage,
    temper,
    threshold_for,
)

NOTHING = np.empty(0), np.empty(0, dtype=bool)


def drawn(rng: np.random.Generator, logits: np.ndarray) -> np.ndarray:
    """Labels drawn from the logits' own probabilities."""
    return (np.exp(log_softmax(logits)).cumsum(axis=1) > rng.random((len(logits), 1))).argmax(axis=1)


def test_log_softmax_is_exact_for_large_logits_and_any_shape():
    logits = np.random.default_rng(0).normal(scale=300, size=(4, 5, 6))
    np.testing.assert_allclose(log_softmax(logits), scipy_log_softmax(logits, axis=-1), atol=1e-9)
    assert log_softmax(logits.astype(np.float32)).dtype == np.float64
    assert log_softmax(np.empty((0, 3))).shape == (0, 3)


def test_a_guess_costs_the_log_of_the_number_of_classes():
    assert negative_log_likelihood(np.zeros((7, 5)), np.arange(7) % 5) == pytest.approx(np.log(5))


@pytest.mark.parametrize("temperature", [0.3, 1.0, 2.5, 8.0])
def test_honest_scores_get_their_temperature_back(temperature):
    rng = np.random.default_rng(1)
    logits = rng.normal(scale=2.0, size=(6000, 6))
    labels = drawn(rng, logits)
    tempered = temper(logits * temperature, fit_tempering(logits * temperature, labels))
    assert negative_log_likelihood(tempered, labels) <= negative_log_likelihood(logits, labels)
    np.testing.assert_allclose(np.exp(tempered), np.exp(log_softmax(logits)), atol=0.05)


def test_a_known_share_of_doubt_is_found_again():
    rng = np.random.default_rng(2)
    logits = 12.0 * np.eye(5)[rng.integers(0, 5, 20_000)] + rng.normal(size=(20_000, 5))
    sure = drawn(rng, logits)
    labels = np.where(rng.random(20_000) < 0.2, rng.integers(0, 5, 20_000), sure)
    found = fit_tempering(logits, labels)
    assert found.share * (1 - 1 / 5) == pytest.approx(0.2 * (1 - 1 / 5), rel=0.1)
    assert found.softness < 0.1


@given(st.integers(0, 1000), st.integers(1, 40), st.floats(0.1, 50.0))
def test_tempering_stays_within_its_bounds_and_keeps_the_order(seed, rows, spread):
    rng = np.random.default_rng(seed)
    scores = rng.normal(scale=spread, size=(rows, 4))
    found = fit_tempering(scores, rng.integers(0, 4, rows))
    assert 0.05 <= found.scale <= 20.0 and 0.0 <= found.share <= 0.5 and 0.0 <= found.softness <= 1.0
    tempered = temper(scores, found)
    np.testing.assert_allclose(np.exp(tempered).sum(axis=1), 1.0)
    best = tempered[np.arange(rows), scores.argmax(axis=1)]
    np.testing.assert_allclose(best, tempered.max(axis=1), atol=1e-12)


def test_nothing_to_learn_from_leaves_scores_as_they_are():
    assert fit_tempering(np.empty((0, 3)), np.empty(0, dtype=int)) == Tempering()
    scores = np.random.default_rng(3).normal(size=(5, 3))
    np.testing.assert_array_equal(temper(scores, Tempering()), log_softmax(scores))


def test_honest_probabilities_have_hardly_an_error():
    rng = np.random.default_rng(2)
    confidence = rng.uniform(0.2, 1.0, 40_000)
    assert expected_calibration_error(confidence, rng.random(40_000) < confidence) < 0.01


def test_an_over_confident_model_errs_by_what_it_claims_too_much():
    assert expected_calibration_error(np.full(50, 0.9), np.arange(50) < 30) == pytest.approx(0.3)
    confidence = np.repeat([0.95, 0.55], [30, 10])
    correct = np.concatenate([np.arange(30) < 15, np.arange(10) < 8])
    # 30 products 0.45 too sure, 10 products 0.25 too shy
    assert expected_calibration_error(confidence, correct) == pytest.approx((30 * 0.45 + 10 * 0.25) / 40)
    assert expected_calibration_error(*NOTHING) == 0.0


def test_reliability_bins_hold_every_product_once():
    confidence = np.array([0.0, 0.1, 0.1000001, 0.5, 0.9, 1.0])
    bins = reliability(confidence, np.array([0, 0, 1, 1, 1, 1], dtype=bool), bins=10)
    assert [(round(b.low, 6), round(b.high, 6), b.products) for b in bins] == [
        (0.0, 0.1, 2),
        (0.1, 0.2, 1),
        (0.4, 0.5, 1),
        (0.8, 0.9, 1),
        (0.9, 1.0, 1),
    ]
    assert bins[0].accuracy == 0.0 and bins[0].confidence == pytest.approx(0.05)


def filed(confidence: np.ndarray, correct: np.ndarray, threshold: float) -> tuple[float, float]:
    """Share and precision of what a threshold files, as an app would compute them."""
    chosen = confidence >= threshold
    return chosen.mean(), correct[chosen].mean() if chosen.any() else 0.0


products = st.lists(
    st.tuples(st.sampled_from([0.2, 0.35, 0.5, 0.8, 0.97, 1.0]), st.booleans()), min_size=1, max_size=25
)


@given(products, st.sampled_from([0.3, 0.5, 2 / 3, 0.9, 0.999]))
def test_coverage_and_threshold_are_those_of_trying_every_threshold(rows, precision):
    confidence, correct = np.array([c for c, _ in rows]), np.array([r for _, r in rows])
    tries = {t: filed(confidence, correct, t) for t in set(confidence)}
    good = {threshold: share for threshold, (share, right) in tries.items() if right >= precision}
    assert coverage_at(confidence, correct, precision) == pytest.approx(max(good.values(), default=0.0))
    assert threshold_for(confidence, correct, precision) == min(good, default=1.01)


@given(products)
def test_the_curve_ends_with_everything_filed_and_never_splits_equals(rows):
    confidence, correct = np.array([c for c, _ in rows]), np.array([r for _, r in rows])
    curve = risk_coverage(confidence, correct)
    assert len(curve.coverage) == len(set(confidence)) == len(curve.precision)
    assert (np.diff(curve.coverage) > 0).all()
    assert curve.coverage[-1] == 1.0 and curve.precision[-1] == pytest.approx(correct.mean())


def test_nothing_to_file_goes_to_review():
    assert coverage_at(*NOTHING, 0.9) == 0.0
    assert threshold_for(*NOTHING, 0.9) == 1.01
    assert risk_coverage(*NOTHING).coverage.size == 0
