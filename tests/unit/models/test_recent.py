"""Features in memory: found again by content, rounded as on disk, and no more of them than asked for."""

from __future__ import annotations

import numpy as np

from rayon.models.features import features_for
from rayon.models.recent import RecentFeatures

KEYS = [bytes([n]) * 16 for n in range(6)]


def test_what_was_added_is_found_rounded_to_half_precision():
    recent = RecentFeatures()
    features = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
    recent.add("a", KEYS[:2], features)
    found, there = recent.find("a", [KEYS[1], KEYS[5], b"", KEYS[0]])
    assert there.tolist() == [True, False, False, True]
    np.testing.assert_array_equal(found[[0, 3]], features.astype(np.float16).astype(np.float32)[[1, 0]])
    assert np.isnan(found[1]).all() and not recent.find("b", KEYS[:1])[1].any()


def test_the_least_recently_asked_for_go_first():
    recent = RecentFeatures(products=3)
    recent.add("a", KEYS[:3], np.zeros((3, 2), np.float32))
    recent.find("a", KEYS[:1])
    recent.add("a", KEYS[3:5], np.ones((2, 2), np.float32))
    assert recent.find("a", KEYS)[1].tolist() == [True, False, False, True, True, False]


def test_nothing_is_encoded_twice():
    recent, asked = RecentFeatures(), []

    def encode(rows):
        asked.append(len(rows))
        return np.ones((len(rows), 4), np.float32)

    first, encoded = features_for(recent, "a", [KEYS[0], b"", KEYS[0]], encode)
    assert encoded == 1 and first.shape == (3, 4) and not first[1].any()
    assert features_for(recent, "a", [KEYS[0]], encode)[1] == 0 and asked == [1]
