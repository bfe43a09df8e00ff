"""Slices, confusions and what text and photo say alone: counted by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from rayon.error_analysis import (
    GONE,
    JUDGED,
    agreement,
    alone,
    confused_pairs,
    mistakes,
    overruled,
    rare_categories,
    slices,
    worst_pair,
)

CATEGORIES = ("books", "lamps", "toys")


@pytest.fixture
def judged() -> pd.DataFrame:
    """100 products: books and lamps are confused, toys are rare and always wrong."""
    rows = []
    for n in range(100):
        category = "toys" if n >= 92 else CATEGORIES[n % 2]
        wrong = n >= 92 or n % 10 == 3
        predicted = "books" if category != "books" and wrong else "lamps" if wrong else category
        filed = n % 4 != 0
        has_text, has_photo = n % 20 != 7, n % 20 != 9
        language = "" if not has_text or n % 5 == 0 else "fr" if n % 5 < 4 else "en" if n < 97 else "it"
        rows.append((n, f"p{n}", "titre", category, predicted, 0.5 + n / 250, not wrong, filed, 0.7, has_text,
                     has_text and n % 2 == 0, has_photo, language))  # fmt: skip
    return pd.DataFrame(rows, columns=list(JUDGED))


def test_a_slice_is_measured_on_its_products_alone(judged):
    table = slices(judged, rare=("toys",)).set_index("slice")
    assert table.loc["all", "products"] == 100
    assert table.loc["rare categories", "accuracy"] == 0.0 and table.loc["rare categories", "high"] > 0.2
    no_photo = judged[~judged["has_photo"]]
    assert table.loc["no photo", "products"] == len(no_photo) == 5
    assert table.loc["no photo", "accuracy"] == no_photo["right"].mean()
    assert table.loc["no photo", "filed_right"] == no_photo.loc[no_photo["filed"], "right"].mean()
    for one, other in (("with description", "no description"), ("with photo", "no photo"),
                       ("rare categories", "other categories")):  # fmt: skip
        assert table.loc[one, "products"] + table.loc[other, "products"] == 100
    assert (table["low"] <= table["accuracy"]).all() and (table["accuracy"] <= table["high"]).all()


def test_few_products_make_a_wide_interval(judged):
    table = slices(judged).set_index("slice")
    width = table["high"] - table["low"]
    assert width["no photo"] > 2.5 * width["all"]


def test_a_language_that_hardly_occurs_is_unclear(judged):
    table = slices(judged).set_index("slice")
    assert {"French", "English"} <= set(table.index) and "Italian" not in table.index
    assert (
        table.loc["language unclear", "products"] == (judged["has_text"] & ~judged["language"].isin(["fr", "en"])).sum()
    )


def test_a_kind_without_products_is_left_out(judged):
    assert "no photo" not in set(slices(judged[judged["has_photo"]])["slice"])


def test_rare_categories_hold_a_tenth_together():
    labels = pd.Series(["a"] * 90 + ["b"] * 6 + ["c"] * 4)
    assert rare_categories(labels) == ("c", "b")
    assert rare_categories(labels, 0.05) == ("c",)
    assert rare_categories(pd.Series(["a", "b"] * 50)) in (("a",), ("b",))  # one at least


def test_pairs_come_with_their_share_of_the_category(judged):
    pairs = confused_pairs(judged)
    wrong = judged[~judged["right"]]
    assert pairs["products"].sum() == len(wrong) and pairs["filed"].sum() == wrong["filed"].sum()
    toys = pairs[pairs["category"] == "toys"].iloc[0]
    assert (toys["predicted"], toys["products"], toys["share"]) == ("books", 8, 1.0)
    assert pairs["products"].is_monotonic_decreasing


def test_mistakes_are_the_surest_first_and_of_one_pair_if_asked(judged):
    found = mistakes(judged, 5)
    assert len(found) == 5 and not found["right"].any() and found["confidence"].is_monotonic_decreasing
    of_pair = mistakes(judged, 50, ("lamps", "books"))
    assert set(of_pair["category"]) == {"lamps"} and set(of_pair["predicted"]) == {"books"}
    assert mistakes(judged, 5, ("books", "books")).empty
    assert worst_pair(judged) == tuple(confused_pairs(judged)[["category", "predicted"]].iloc[0])


def test_a_model_without_mistakes_has_none_to_show(judged):
    right = judged[judged["right"]]
    assert worst_pair(right) is None and mistakes(right, 5, worst_pair(right)).empty and confused_pairs(right).empty


def one_hot(names: list[str], width: int = 3) -> np.ndarray:
    """Log-probabilities of a model that is .8 sure of each name."""
    places = [(*CATEGORIES, GONE).index(name) for name in names]
    return np.log(np.where(np.eye(width)[places] == 1, 0.8, 0.2 / (width - 1)))


def test_what_is_not_there_says_nothing(judged):
    few = judged.iloc[[7, 8, 9]]  # without text, with both, without photo
    apart = alone(few, one_hot(["books"] * 3), one_hot(["toys"] * 3), CATEGORIES)
    assert apart["text_says"].tolist() == ["", "books", "books"]
    assert apart["photo_says"].tolist() == ["toys", "toys", ""]
    assert apart["text_confidence"].round(3).tolist()[1:] == [0.8, 0.8] and np.isnan(apart["text_confidence"].iloc[0])


def test_a_model_without_photo_branch_says_nothing_of_photos_and_a_category_may_be_gone(judged):
    few = judged.iloc[[1, 2, 4]]
    apart = alone(few, one_hot(["books", "lamps", GONE], 4), None, CATEGORIES)
    assert apart["text_says"].tolist() == ["books", "lamps", GONE]
    assert (apart["photo_says"] == "").all() and apart["photo_confidence"].isna().all()


def test_agreement_tells_apart_who_was_right_alone(judged):
    both = judged[judged["has_text"] & judged["has_photo"]].iloc[:20]
    text = both["category"].tolist()
    photo = [name if place < 5 else "toys" for place, name in enumerate(both["category"])]
    table = agreement(alone(both, one_hot(text), one_hot(photo), CATEGORIES))
    assert table["products"].to_dict() == {"both right": 5, "text alone": 15, "photo alone": 0, "neither": 0}
    assert table["share"].sum() == pytest.approx(1.0)
    assert table.loc["text alone", "right"] == both["right"].iloc[5:].mean()
    assert np.isnan(table.loc["neither", "right"])


def test_overruled_products_are_wrong_although_one_side_knew(judged):
    apart = alone(judged, one_hot(judged["category"].tolist()), one_hot(["books"] * 100), CATEGORIES)
    found = overruled(apart, 100)
    knew = ~judged["right"] & (judged["has_text"] | ((judged["category"] == "books") & judged["has_photo"]))
    assert sorted(found["row"]) == sorted(judged.loc[knew, "row"])
