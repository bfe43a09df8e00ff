"""How often the model is right: by people who look where they are sent, and by what its confidences say."""

from __future__ import annotations

import numpy as np
import pytest

from rayon.evaluation import macro_f1
from rayon.performance import estimate, measure


def traffic(rng: np.random.Generator, rows: int, accepted_right: float = 0.97, review_right: float = 0.5):
    """(predicted, truth, stratum): nine in ten are filed and mostly right, the others reviewed and often wrong."""
    predicted = rng.integers(0, 5, rows)
    stratum = (rng.random(rows) < 0.1).astype(np.int64)
    right = rng.random(rows) < np.where(stratum == 0, accepted_right, review_right)
    return predicted, np.where(right, predicted, (predicted + 1) % 5), stratum


def test_labels_of_review_alone_do_not_pass_for_the_whole():
    inside, values = 0, []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        predicted, truth, stratum = traffic(rng, 2000)
        looked = rng.random(2000) < np.where(stratum == 1, 0.8, 0.05)
        sizes = np.bincount(stratum, minlength=2)
        found = measure(predicted[looked], truth[looked], stratum[looked], sizes, 5, (460, 500), seed=seed)
        real = (predicted == truth).mean()
        naive = (predicted == truth)[looked].mean()
        values.append((found.accuracy.value - real, naive - real))
        inside += found.accuracy.low <= real <= found.accuracy.high
    bias = np.mean(values, axis=0)
    assert abs(bias[0]) < 0.01 and bias[1] < -0.1
    assert inside >= 52


def test_macro_f1_is_weighed_like_the_accuracy():
    rng = np.random.default_rng(0)
    predicted, truth, stratum = traffic(rng, 40_000)
    looked = rng.random(40_000) < np.where(stratum == 1, 0.8, 0.2)
    found = measure(predicted[looked], truth[looked], stratum[looked], np.bincount(stratum, minlength=2), 5, (460, 500))
    assert found.macro_f1.value == pytest.approx(macro_f1(truth, predicted, 5), abs=0.01)
    assert found.macro_f1.low < found.macro_f1.value < found.macro_f1.high


def test_a_fall_is_told_and_no_fall_is_not():
    rng = np.random.default_rng(0)
    predicted, truth, stratum = traffic(rng, 400, accepted_right=0.6)
    sizes = np.bincount(stratum, minlength=2)
    assert measure(predicted, truth, stratum, sizes, 5, (460, 500)).worse < 0.001
    predicted, truth, stratum = traffic(rng, 400)
    assert measure(predicted, truth, stratum, sizes, 5, (460, 500)).worse > 0.01


@pytest.mark.parametrize(("right", "most"), [(920, 1.0), (900, 0.2), (880, 0.01), (600, 1e-20)])
def test_the_chance_of_no_fall_is_told_however_small_it_is(right, most):
    predicted = np.zeros(1000, dtype=np.int64)
    labels = (np.arange(1000) >= right).astype(np.int64)
    found = measure(predicted, labels, predicted, np.array([1000]), 2, (460, 500))
    rng = np.random.default_rng(1)
    counted = (rng.beta(right + 0.5, 1000.5 - right, 200_000) >= rng.beta(460.5, 40.5, 200_000)).mean()
    assert found.worse <= most and found.worse == pytest.approx(counted, rel=0.1, abs=1e-4)


def test_what_nobody_looked_at_cannot_be_told():
    rng = np.random.default_rng(0)
    predicted, truth, stratum = traffic(rng, 400)
    reviewed = stratum == 1
    sizes = np.bincount(stratum, minlength=2)
    assert measure(predicted[reviewed], truth[reviewed], stratum[reviewed], sizes, 5, (460, 500)) is None
    assert measure(predicted[:0], truth[:0], stratum[:0], sizes, 5, (460, 500)) is None
    everything = measure(predicted[reviewed], truth[reviewed], stratum[reviewed], np.array([0, 40]), 5, (460, 500))
    assert everything.accuracy.value == pytest.approx((predicted == truth)[reviewed].mean())


def test_a_category_the_model_does_not_know_is_a_mistake():
    predicted = np.zeros(40, dtype=np.int64)
    labels = np.where(np.arange(40) < 20, 0, 5)
    found = measure(predicted, labels, np.zeros(40, dtype=np.int64), np.array([40, 0]), 5, (460, 500))
    assert found.accuracy.value == 0.5


def calibrated(rng: np.random.Generator, rows: int, classes: int = 8):
    probabilities = rng.dirichlet(np.full(classes, 0.15), rows)
    truth = (probabilities.cumsum(axis=1) < rng.random((rows, 1))).sum(axis=1)
    order = np.argsort(-probabilities, axis=1)
    return order[:, :5], np.take_along_axis(probabilities, order[:, :5], axis=1), truth


def test_calibrated_confidences_tell_macro_f1_without_labels():
    errors, inside = [], 0
    for seed in range(30):
        labels, probabilities, truth = calibrated(np.random.default_rng(seed), 800)
        found = estimate(labels, probabilities, 8)
        real = macro_f1(truth, labels[:, 0], 8)
        errors.append(found.macro_f1.value - real)
        inside += found.macro_f1.low <= real <= found.macro_f1.high
        assert found.accuracy.value == pytest.approx(probabilities[:, 0].mean(), abs=0.01)
    assert abs(np.mean(errors)) < 0.01 and np.abs(errors).max() < 0.06
    assert inside >= 26


def test_an_estimate_needs_products():
    assert estimate(np.zeros((0, 5), dtype=np.int64), np.zeros((0, 5)), 8) is None
