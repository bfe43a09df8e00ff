from __future__ import annotations

import subprocess
import sys
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayon.config import Split
from rayon.data.splits import assign_folds, assign_splits, group_hash

SPLIT = Split(validation=0.1, test=0.2, unseen=0.1)


def groups_of(titles: list[str]) -> np.ndarray:
    return group_hash(titles, [""] * len(titles), [str(n) for n in range(len(titles))])


@pytest.fixture(scope="module")
def many() -> np.ndarray:
    return groups_of([f"produit {n}" for n in range(20_000)])


def test_a_group_is_the_same_in_every_process_and_version():
    assert groups_of(["Robe d'été", "ROBE D ETE", "Robe"]).tolist() == [
        4533011385064384638,
        4533011385064384638,
        13748043230534935104,
    ]
    code = "from rayon.data.splits import group_hash; print(group_hash(['Robe'], [''], ['1'])[0])"
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(other.stdout) == groups_of(["Robe"])[0]


def test_splits_and_folds_are_the_same_in_every_version():
    names = assign_splits(np.arange(12, dtype=np.uint64), Split(validation=0.1, test=0.2, unseen=0.2))
    assert " ".join(name[:2] for name in names) == "tr tr tr un va tr te un tr tr tr un"
    assert assign_folds(np.arange(8, dtype=np.uint64), 5, 3).tolist() == [4, 1, 3, 1, 1, 2, 2, 1]


def test_untitled_products_do_not_form_one_group():
    groups = group_hash(["", "!!", "", ""], ["un texte", "", "", "un texte"], ["1", "2", "3", "4"])
    assert groups[0] == groups[3]
    assert len(set(groups.tolist())) == 3


def test_shares_are_as_configured(many):
    shares = assign_splits(many, SPLIT).value_counts() / len(many)
    expected = {"train": 0.6, "validation": 0.1, "test": 0.2, "unseen": 0.1}
    assert all(abs(shares[name] - share) < 0.01 for name, share in expected.items())


def test_the_gold_set_does_not_move_when_rows_are_added(many):
    before = assign_splits(many[:500], SPLIT)
    after = assign_splits(many, SPLIT)[:500]
    assert (before == after).all()


def test_the_gold_set_does_not_depend_on_the_other_shares(many):
    gold = assign_splits(many, SPLIT) == "test"
    assert (gold == (assign_splits(many, Split(validation=0.3, test=0.2, unseen=0.0)) == "test")).all()
    larger = assign_splits(many, Split(validation=0.0, test=0.4)) == "test"
    assert (larger | ~gold).all()


def test_another_seed_gives_another_gold_set(many):
    one, other = (assign_splits(many, Split(test=0.2, seed=seed)) == "test" for seed in (0, 1))
    assert 0.02 < (one & other).mean() < 0.06


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["Robe", "robe ", "RÖBE", "Lot 2", "lot-2", "", "?"]), st.text(max_size=3))))
def test_a_title_is_never_on_two_sides(rows):
    titles = [title for title, _ in rows]
    groups = group_hash(titles, [text for _, text in rows], [str(n) for n in range(len(rows))])
    sides = defaultdict(set)
    normal = {"robe ": "robe", "Robe": "robe", "RÖBE": "robe", "Lot 2": "lot", "lot-2": "lot"}
    for title, split, fold in zip(titles, assign_splits(groups, SPLIT), assign_folds(groups, 5, 0), strict=True):
        if title in normal:
            sides[normal[title]].add((split, fold))
    assert all(len(side) == 1 for side in sides.values())


def test_folds_are_even_and_independent_of_the_split(many):
    folds = assign_folds(many, 5, 0)
    assert set(folds.tolist()) == {0, 1, 2, 3, 4}
    test = assign_splits(many, SPLIT) == "test"
    for part in (folds, folds[test]):
        assert np.abs(np.bincount(part) / len(part) - 0.2).max() < 0.03


def test_without_folds_no_product_has_one(many):
    assert set(assign_folds(many, 0, 0).tolist()) == {-1}
