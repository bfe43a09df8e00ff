"""The yardstick: it learns from texts, and copes with what a real catalogue lacks."""

from __future__ import annotations

import numpy as np
import pytest

from rayon.models.baseline import baseline_probabilities

TEXTS = ["lampe de bureau", "lampe rouge", "grande lampe", "roman policier", "roman de gare", "court roman"]
LABELS = np.array([0, 0, 0, 3, 3, 3])


def test_new_texts_go_where_their_words_went():
    found = baseline_probabilities(TEXTS, LABELS, ["petite lampe", "roman russe"], 5)
    assert found.shape == (2, 5)
    assert found.argmax(axis=1).tolist() == [0, 3]
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert (found[:, [1, 2, 4]] == 0.0).all()


def test_accents_and_case_do_not_matter():
    one, other = baseline_probabilities(TEXTS, LABELS, ["LÀMPÉ Rouge", "lampe rouge"], 5)
    np.testing.assert_allclose(one, other)


def test_a_single_category_takes_everything():
    found = baseline_probabilities(["une lampe", "deux lampes"], np.array([2, 2]), ["un roman", ""], 4)
    np.testing.assert_array_equal(found, [[0, 0, 1, 0], [0, 0, 1, 0]])


def test_a_text_of_unknown_words_gets_an_answer_all_the_same():
    found = baseline_probabilities(TEXTS, LABELS, ["", "xyzzy"], 5)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found.sum(axis=1), 1.0)


@pytest.mark.parametrize("texts", [[""] * 6, ["a1", "b2", "c3", "d4", "e5", "f6"]])
def test_a_catalogue_without_a_common_word_gets_the_class_frequencies(texts):
    """Products may be photos alone; the yardstick is then low and must not stop a training."""
    found = baseline_probabilities(texts, LABELS, ["lampe", ""], 5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
    assert found.shape == (2, 5)


def test_nothing_to_classify_is_no_error():
    assert baseline_probabilities(TEXTS, LABELS, [], 5).shape == (0, 5)
