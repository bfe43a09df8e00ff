"""What is said of a dataset: counted by hand on a few products."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rayon.data.profile import disagreements, gaps, lengths, mix, repetitions
from rayon.data.splits import group_hash

PRODUCTS = [
    # id, title, description, category, photo, split
    ("a", "Table basse", "en chêne", "home", b"1", "train"),
    ("b", "TABLE  basse", "", "toys", b"2", "test"),  # the title of a, under another label
    ("c", "Lampe", "", "home", b"3", "train"),
    ("d", "Vase", "bleu", "garden", b"3", "train"),  # the photo of c, under another label
    ("e", "Puzzle", "100 pièces", "toys", b"", "train"),
    ("f", "Puzzle", "100 pièces", "toys", b"4", "validation"),  # the text of e
    ("g", "", "", "home", b"5", "test"),
    ("h", "", "", "home", b"6", "test"),  # no title is no title in common
]


@pytest.fixture
def frame() -> pd.DataFrame:
    columns = ["product_id", "designation", "description", "category", "image_key", "split"]
    frame = pd.DataFrame(PRODUCTS, columns=columns)
    frame["split"] = pd.Categorical(frame["split"], ["train", "validation", "test", "unseen"])
    frame["group"] = group_hash(frame["designation"], frame["description"], frame["product_id"])
    texts = frame["designation"] + "\n" + frame["description"]
    frame["text_key"] = [text.encode() if text.strip() else b"" for text in texts]
    frame["has_text"], frame["has_image"] = texts.str.strip() != "", frame["image_key"].str.len() > 0
    return frame


def test_the_mix_counts_every_product_once_and_the_largest_first(frame):
    table = mix(frame)
    assert table.index.tolist()[0] == "home" and table.to_numpy().sum() == len(frame)
    assert table.columns.tolist() == ["train", "validation", "test"]
    assert table.loc["home"].tolist() == [2, 0, 2]


def test_gaps_are_shares_of_the_category(frame):
    table = gaps(frame)
    assert table.loc["home", "no description"] == 0.75 and table.loc["home", "no title"] == 0.5
    assert table.loc["toys", "no photo"] == pytest.approx(1 / 3)
    assert table.index[0] == "home"


def test_a_gap_that_no_product_has_is_left_out(frame):
    assert gaps(frame[frame["has_image"]]).columns.tolist() == ["no description", "no title"]


def test_lengths_are_those_of_texts_that_are_there(frame):
    found = lengths(frame)
    assert sorted(found["title"]) == [4, 5, 6, 6, 11, 12] and len(found["description"]) == 4
    assert all(np.issubdtype(each.dtype, np.integer) for each in found.values())


def test_repetitions_count_products_groups_and_labels_that_disagree(frame):
    table = repetitions(frame).set_index("what")
    assert table.loc["title and description"].tolist() == [2, 0.25, 1, 0]
    assert table.loc["title"].tolist() == [4, 0.5, 2, 1]
    assert table.loc["photo"].tolist() == [2, 0.25, 1, 1]


def test_disagreements_show_each_product_once_beside_those_it_repeats(frame):
    table = disagreements(frame)
    assert [tuple(row) for row in table[["same", "product_id"]].to_numpy()] == [
        ("photo", "c"), ("photo", "d"), ("title", "a"), ("title", "b"),
    ]  # fmt: skip
    assert table["group"].tolist() == [0, 0, 1, 1]
    assert frame.loc[table["row"], "product_id"].tolist() == table["product_id"].tolist()


def test_where_nothing_repeats_there_is_nothing_to_show(frame):
    alone = frame.iloc[[0, 2, 4]]
    assert disagreements(alone).empty and repetitions(alone)["products"].sum() == 0
