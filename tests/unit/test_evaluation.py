"""Evaluation: against scikit-learn, a plain bootstrap, and planted mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, precision_recall_fscore_support

from rayon.evaluation import (
    confusion,
    constant_predictor,
    macro_f1,
    metrics,
    per_class,
    scores,
    share_interval,
    suspects,
)


@st.composite
def labelled(draw):
    classes = draw(st.integers(1, 6))
    size = draw(st.integers(1, 40))
    column = st.lists(st.integers(0, classes - 1), min_size=size, max_size=size).map(np.array)
    return classes, draw(column), draw(column)


@given(labelled())
def test_scores_are_scikit_learns(problem):
    classes, labels, predicted = problem
    matrix = confusion(labels, predicted, classes)
    np.testing.assert_array_equal(matrix, confusion_matrix(labels, predicted, labels=range(classes)))
    expected = [
        f1_score(labels, predicted, average="macro", zero_division=0),
        f1_score(labels, predicted, average="weighted", zero_division=0),
        accuracy_score(labels, predicted),
    ]
    np.testing.assert_allclose(scores(matrix), expected, atol=1e-12)
    assert macro_f1(labels, predicted, classes) == pytest.approx(expected[0])


@given(labelled())
def test_the_table_by_category_is_scikit_learns_with_the_worst_first(problem):
    classes, labels, predicted = problem
    names = tuple(f"c{i}" for i in range(classes))
    table = per_class(confusion(labels, predicted, classes), names)
    expected = precision_recall_fscore_support(labels, predicted, labels=range(classes), zero_division=0)
    by_name = table.set_index("category").loc[list(names)]
    for column, values in zip(("precision", "recall", "f1", "support"), expected, strict=True):
        np.testing.assert_allclose(by_name[column], values)
    seen = table[table["support"] > 0]
    assert seen["f1"].is_monotonic_increasing
    assert (table["support"].to_numpy()[len(seen) :] == 0).all()


def test_many_matrices_are_scored_at_once():
    matrices = np.random.default_rng(0).integers(0, 9, (7, 4, 4))
    np.testing.assert_allclose(scores(matrices), [scores(matrix) for matrix in matrices])


def test_nothing_scores_nothing():
    nothing = np.empty(0, dtype=int)
    assert scores(confusion(nothing, nothing, 3)).tolist() == [0.0, 0.0, 0.0]


def test_intervals_are_those_of_drawing_rows():
    rng = np.random.default_rng(3)
    labels = rng.choice(5, 400, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    predicted = np.where(rng.random(400) < 0.8, labels, rng.integers(0, 5, 400))
    draws = []
    for _ in range(1500):
        rows = rng.integers(0, 400, 400)
        draws.append(scores(confusion(labels[rows], predicted[rows], 5)))
    low, high = np.percentile(draws, [2.5, 97.5], axis=0)
    found = metrics(labels, predicted, 5, resamples=4000)
    for i, (name, interval) in enumerate(found.items()):
        assert interval.value == scores(confusion(labels, predicted, 5))[i]
        assert interval.low == pytest.approx(low[i], abs=0.012), name
        assert interval.high == pytest.approx(high[i], abs=0.012), name


def test_many_classes_are_drawn_some_matrices_at_a_time(monkeypatch):
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 12, 300)
    predicted = np.where(rng.random(300) < 0.7, labels, rng.integers(0, 12, 300))
    at_once = metrics(labels, predicted, 12, resamples=50)
    monkeypatch.setattr("rayon.evaluation._CELLS", 7 * 144)
    assert metrics(labels, predicted, 12, resamples=50) == at_once


def test_the_same_seed_draws_the_same_interval():
    labels = np.arange(60) % 3
    predicted = np.where(np.arange(60) % 7 == 0, 0, labels)
    assert metrics(labels, predicted, 3, seed=1) == metrics(labels, predicted, 3, seed=1)
    assert metrics(labels, predicted, 3, seed=1) != metrics(labels, predicted, 3, seed=2)


def test_an_interval_narrows_with_the_number_of_products():
    def width(products: int) -> float:
        labels = np.arange(products) % 4
        _, low, high = metrics(labels, np.where(np.arange(products) % 5 == 0, 0, labels), 4)["accuracy"]
        return high - low

    assert width(4000) < 0.4 * width(400)


@pytest.mark.parametrize("products", [1, 2])
def test_a_perfect_score_of_few_products_is_an_interval_too(products):
    labels = np.zeros(products, dtype=int)
    assert metrics(labels, labels, 2)["macro_f1"] == (1.0, 1.0, 1.0)


class TestConstantPredictor:
    labels = np.repeat([0, 1, 2, 3], [40, 30, 20, 10])

    def test_always_the_same_class(self):
        assert constant_predictor(self.labels, np.zeros(100, dtype=int))
        assert constant_predictor(self.labels, np.where(np.arange(100) == 50, 1, 0))

    def test_a_class_that_nobody_has(self):
        assert constant_predictor(self.labels, np.full(100, 7))

    def test_a_good_model(self):
        assert not constant_predictor(self.labels, self.labels)
        assert not constant_predictor(self.labels, np.where(np.arange(100) % 3 == 0, 0, self.labels))

    def test_one_class_holds_nearly_everything_and_is_nearly_always_said(self):
        labels = np.where(np.arange(100) < 94, 0, 1)
        assert not constant_predictor(labels, np.where(np.arange(100) < 97, 0, 1))

    def test_a_single_class_is_rightly_said_always(self):
        assert not constant_predictor(np.zeros(20, dtype=int), np.zeros(20, dtype=int))

    def test_most_classes_are_never_found(self):
        labels = np.arange(200) % 10
        predicted = np.arange(200) // 10 % 2
        assert constant_predictor(labels, predicted)

    def test_half_of_the_classes_found_well_is_a_model(self):
        labels = np.arange(200) % 10
        assert not constant_predictor(labels, np.where(labels < 4, labels, 0))

    def test_no_products(self):
        assert constant_predictor(np.empty(0, dtype=int), np.empty(0, dtype=int))


def believing(rng: np.random.Generator, truth: np.ndarray, classes: int) -> np.ndarray:
    logits = rng.normal(scale=0.7, size=(len(truth), classes)) + 3.0 * np.eye(classes)[truth]
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


def test_wrong_labels_are_found_and_the_right_ones_suggested():
    rng = np.random.default_rng(4)
    truth = rng.integers(0, 5, 1000)
    probabilities = believing(rng, truth, 5)
    wrong = rng.choice(1000, 50, replace=False)
    labels = truth.copy()
    labels[wrong] = (truth[wrong] + rng.integers(1, 5, 50)) % 5
    found = suspects(labels, probabilities, 50)
    planted = found[found["row"].isin(wrong)]
    # no more than half of a class is surer than usual for it, so some are passed over; hardly one is named wrongly
    assert len(planted) >= 25 and len(planted) >= 0.95 * len(found)
    assert (planted["suggested"].to_numpy() == truth[planted["row"]]).mean() > 0.95
    assert (found["label"].to_numpy() == labels[found["row"]]).all()
    assert (found["suggested"] != found["label"]).all()
    assert found["margin"].is_monotonic_decreasing
    np.testing.assert_allclose(
        found["margin"],
        probabilities[found["row"], found["suggested"]] - probabilities[found["row"], found["label"]],
    )


def test_labels_that_the_model_believes_are_no_suspects():
    labels = np.arange(60) % 3
    probabilities = np.full((60, 3), 0.1)
    probabilities[np.arange(60), labels] = 0.8
    assert suspects(labels, probabilities, 10).empty
    assert suspects(labels, probabilities, 0).empty
    assert list(suspects(labels, probabilities, 0).columns) == ["row", "label", "suggested", "margin"]


def test_a_class_that_nobody_has_is_not_suggested():
    probabilities = np.tile([0.3, 0.3, 0.4], (20, 1))
    assert 2 not in set(suspects(np.arange(20) % 2, probabilities, 20)["suggested"])


def test_a_share_of_few_products_has_an_honest_interval():
    assert tuple(share_interval(0, 0))[1:] == (0.0, 1.0)
    never, always = share_interval(0, 10), share_interval(10, 10)
    assert never.value == never.low == 0.0 and 0.15 < never.high < 0.3
    assert always.value == always.high == 1.0 and always.low == pytest.approx(1 - never.high)
    rng = np.random.default_rng(0)
    covered = [
        low <= 0.9 <= high for _, low, high in (share_interval(int(hits), 40) for hits in rng.binomial(40, 0.9, 500))
    ]
    assert np.mean(covered) > 0.92
