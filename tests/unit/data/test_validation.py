from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandera.errors import SchemaErrors

from rayon.data.catalog import CHUNK_COLUMNS
from rayon.data.validation import SeenIds, clean_products, validate_products
from rayon.schema import REJECT_COLUMNS


def chunk(*rows: tuple[str, str, str, str, str], problem: str = "") -> pd.DataFrame:
    content = [(*values, "p.csv", number, f'{{"n": {number}}}', problem) for number, values in enumerate(rows, start=1)]
    return pd.DataFrame(content, columns=list(CHUNK_COLUMNS)).astype(
        dict.fromkeys([column for column in CHUNK_COLUMNS if column != "row"], "str")
    )


GOOD = ("1", "Robe", "", "dress", "")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("", "Robe", "", "dress", ""), "missing_id"),
        (("2", "", "", "dress", ""), "no_text_no_photo"),
        (("2", "Robe", "", "", ""), "missing_category"),
        (("1", "Other", "", "dress", ""), "duplicate_id"),
        (("2", "Robe", "", "hat", ""), "rare_category"),
        (("", "", "", "", ""), "missing_id"),
    ],
)
def test_a_bad_row_is_rejected_with_its_reason(row, reason):
    counts = pd.Series({"dress": 5, "hat": 1})
    valid, rejects = validate_products(chunk(GOOD, row), SeenIds(), True, counts, 2)
    assert valid["product_id"].tolist() == ["1"]
    assert tuple(rejects.columns) == REJECT_COLUMNS
    (reject,) = rejects.to_dict("records")
    assert (reject["reason"], reject["row"], reject["source"], reject["scope"]) == (reason, 2, "p.csv", "product")
    assert reject["record"] == '{"n": 2}' and len(reject["detail"]) > 20


def test_the_sentence_names_id_category_and_setting():
    counts = pd.Series({"dress": 5, "hat": 1})
    rows = chunk(GOOD, GOOD, ("3", "Hut", "", "hat", ""))
    _, rejects = validate_products(rows, SeenIds(), True, counts, 2)
    assert "id '1'" in rejects["detail"].iloc[0]
    assert "fewer than 2 products (preprocess.min_products_per_category) are in 'hat'" in rejects["detail"].iloc[1]


def test_a_photo_alone_makes_a_product():
    valid, rejects = validate_products(chunk(("1", "", "", "dress", "a.jpg")), SeenIds())
    assert len(valid) == 1 and rejects.empty


def test_a_category_is_not_needed_where_it_is_not_required():
    valid, _ = validate_products(chunk(("1", "Robe", "", "", "")), SeenIds(), require_category=False)
    assert len(valid) == 1


def test_a_row_without_proper_fields_does_not_take_an_id():
    seen = SeenIds()
    _, rejects = validate_products(chunk(GOOD, problem="the row has too many fields"), seen)
    valid, _ = validate_products(chunk(GOOD), seen)
    assert rejects["reason"].tolist() == ["bad_row"] and len(valid) == 1


@pytest.mark.parametrize(
    ("bad", "reason"),
    [(("1", "", "", "dress", ""), "no_text_no_photo"), (("1", "Robe", "", "", ""), "missing_category")],
)
@pytest.mark.parametrize("together", [True, False])
def test_a_row_that_lacks_something_does_not_take_an_id(bad, reason, together):
    seen = SeenIds()
    chunks = [chunk(bad, GOOD, GOOD)] if together else [chunk(bad), chunk(GOOD), chunk(GOOD)]
    parted = [validate_products(each, seen) for each in chunks]
    assert sum(len(valid) for valid, _ in parted) == 1
    assert [reason for _, rejects in parted for reason in rejects["reason"]] == [reason, "duplicate_id"]


def test_a_row_of_a_rare_category_keeps_its_id_in_both_passes():
    rows = chunk(("1", "Hut", "", "hat", ""), GOOD, ("2", "Robe", "", "dress", ""))
    counted, _ = validate_products(rows, SeenIds())
    assert counted["row"].tolist() == [1, 3]
    _, rejects = validate_products(rows, SeenIds(), True, pd.Series({"hat": 1, "dress": 2}), 2)
    assert rejects["reason"].tolist() == ["rare_category", "duplicate_id"]


def test_ids_of_earlier_chunks_are_remembered():
    seen = SeenIds()
    validate_products(chunk(GOOD, ("2", "Robe", "", "dress", "")), seen)
    valid, rejects = validate_products(chunk(("3", "Robe", "", "dress", ""), GOOD), seen)
    assert valid["product_id"].tolist() == ["3"] and rejects["product_id"].tolist() == ["1"]


def test_cleaning_comes_before_judging():
    cleaned = clean_products(chunk((" 1 ", "<br>\x00", "&nbsp;", " dress", " ")), 100)
    _, rejects = validate_products(cleaned, SeenIds())
    assert cleaned["product_id"].tolist() == ["1"]
    assert rejects["reason"].tolist() == ["no_text_no_photo"]


def test_a_frame_of_other_columns_is_no_chunk():
    with pytest.raises(SchemaErrors):
        validate_products(chunk(GOOD).astype({"problem": object}).assign(problem=3), SeenIds(), require_category=False)


field = st.sampled_from(["", "1", "2", "3", "x"])


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(st.tuples(field, field, field, field, field), max_size=8), min_size=1, max_size=4))
def test_every_row_is_either_valid_or_rejected(chunks):
    seen = SeenIds()
    ids: list[str] = []
    for rows in chunks:
        frame = chunk(*rows)
        valid, rejects = validate_products(frame, seen)
        assert sorted([*valid["row"], *rejects["row"]]) == frame["row"].tolist()
        ids += valid["product_id"].tolist()
    assert len(ids) == len(set(ids)) and "" not in ids


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(field, max_size=10), max_size=5))
def test_seen_ids_equal_a_set(batches):
    seen, known = SeenIds(), set()
    for ids in batches:
        expected = []
        for each in ids:
            expected.append(each in known)
            known |= {each} - {""}
        assert seen.repeated(pd.Series(ids, dtype="str")).tolist() == expected
