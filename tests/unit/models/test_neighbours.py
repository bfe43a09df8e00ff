"""Neighbours: who is asked, who has no say, and that what is remembered survives a bundle."""

from __future__ import annotations

import numpy as np
import pytest

from rayon.config import NeighbourBranch
from rayon.data.batches import Targets
from rayon.models.neighbours import (
    DOUBT,
    LENGTHS,
    Neighbours,
    branch_of,
    fit_neighbours,
    held_out_logits,
    neighbour_logits,
    remember,
)
from rayon.models.network import Branch

CLASSES = 4
BRANCHES = [
    Branch("a", "features", "text", 24, "bundled:a"),
    Branch("b", "features", "text", 8, "bundled:b"),
    Branch("photo", "features", "image", 300, "bundled:c"),
    Branch("grams", "ngram", "text", 50),
]


@pytest.fixture
def products():
    """Features and random labels of 400 products, in five folds; the labels have nothing to do with the features."""
    rng = np.random.default_rng(0)
    features = {
        "a": rng.normal(size=(400, 24)).astype(np.float32) + 5,
        "b": 100 * rng.normal(size=(400, 8)).astype(np.float32),
        "photo": rng.normal(size=(400, 300)).astype(np.float32),
    }
    return features, rng.integers(0, CLASSES, 400), rng.integers(0, 5, 400)


def remembered(features, labels, rows, nearest: int = 5, length: int = 16) -> Neighbours:
    return fit_neighbours(features, ["a", "b"], rows, labels, length, nearest)


def test_the_nearest_product_decides(products):
    features, labels, _ = products
    known = remembered(features, labels, np.arange(200), nearest=1)
    log = neighbour_logits(known, features, CLASSES)
    np.testing.assert_array_equal(log[:200].argmax(axis=1), labels[:200])
    np.testing.assert_allclose(np.exp(log[:200].max(axis=1)), 1 - DOUBT + DOUBT / CLASSES, atol=1e-6)
    np.testing.assert_allclose(np.exp(log).sum(axis=1), 1.0, atol=1e-5)


def test_groups_are_found_again_however_long_a_branch_is():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, CLASSES, 600)
    features = {
        "a": (rng.normal(size=(CLASSES, 24))[labels] + 0.5 * rng.normal(size=(600, 24))).astype(np.float32),
        "b": 1000 * rng.normal(size=(600, 8)).astype(np.float32),  # as large as it is empty
    }
    known = remembered(features, labels, np.arange(400), nearest=30)
    guess = neighbour_logits(known, features, CLASSES)[400:].argmax(axis=1)
    assert (guess == labels[400:]).mean() > 0.9


def test_nobody_of_a_products_own_fold_has_a_say(products):
    """Every product has a twin in its own fold, with its label: whoever heard it would be right."""
    features, labels, folds = products
    twins = {name: np.concatenate([x, x]) for name, x in features.items()}
    labels, folds, rows = np.tile(labels, 2), np.tile(folds, 2), np.arange(800)
    known = remembered(twins, labels, rows)
    heard = neighbour_logits(known, twins, CLASSES).argmax(axis=1)
    fair = held_out_logits(known, folds, twins, rows, folds, CLASSES).argmax(axis=1)
    assert (heard == labels).mean() > 0.9
    assert (fair == labels).mean() == pytest.approx(1 / CLASSES, abs=0.08)
    strangers = held_out_logits(known, folds, twins, rows, np.full(800, -1), CLASSES)
    np.testing.assert_array_equal(strangers.argmax(axis=1), heard)


def test_where_nobody_has_a_say_all_categories_are_as_likely(products):
    features, labels, _ = products
    rows = np.arange(50)
    alone = held_out_logits(
        remembered(features, labels, rows), np.zeros(50, int), features, rows, np.zeros(50, int), CLASSES
    )
    np.testing.assert_allclose(np.exp(alone), 1 / CLASSES, atol=1e-6)


def test_what_is_remembered_of_which_modality(products):
    features, labels, folds = products
    targets = Targets(labels, folds, has_text=np.arange(400) % 2 == 0, has_image=np.arange(400) < 150)
    rest = (np.arange(300), np.arange(300, 400), CLASSES, NeighbourBranch(count=10, products=100))
    found, answers = remember(BRANCHES, features, targets, *rest)
    assert found["text"].branches == ("a", "b") and found["image"].branches == ("photo",)
    assert found["text"].keys.shape == (100, 32) and found["image"].keys.shape == (100, LENGTHS["image"])
    assert set(answers) == {branch_of("text"), branch_of("image")}
    assert all(log.shape == (100, CLASSES) for log in answers.values())
    np.testing.assert_array_equal(found["text"].keys, found["text"].keys.astype(np.float16).astype(np.float32))
    trained = [branch._replace(kind="encoder") if branch.modality == "text" else branch for branch in BRANCHES]
    assert set(remember(trained, features, targets, *rest)[0]) == {"image"}
    nothing = targets._replace(has_image=np.zeros(400, bool))
    assert set(remember(BRANCHES, features, nothing, *rest)[0]) == {"text"}


def test_a_single_product_and_equal_products_are_no_error(products):
    features, labels, _ = products
    one = remembered(features, labels, np.array([3]))
    assert neighbour_logits(one, features, CLASSES).argmax(axis=1).tolist() == [labels[3]] * 400
    same = {name: np.ones_like(x) for name, x in features.items()}
    assert np.isfinite(neighbour_logits(remembered(same, labels, np.arange(20)), same, CLASSES)).all()
