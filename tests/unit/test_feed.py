"""What a feed does: products repeat one another, columns come or go; said, and never a reason to retrain."""

from __future__ import annotations

import dataclasses

import pyarrow as pa
import pytest
from test_monitoring import CATEGORIES, SETTINGS, graves, predictions, verdict, window

from rayon.columns import say_columns
from rayon.feed import Repeats, look_at_feed, repeats_of
from rayon.monitoring import judge
from rayon.monitoring_config import Limit, Limits
from rayon.window import open_window


def record(judged, name):
    return next(record for record in judged.records if record.name == name)


@pytest.mark.parametrize(("rows", "found"), [(400, 2), (1000, 2), (5000, 1)])
def test_one_product_under_fifty_ids_asks_for_a_look_however_many_others_there_are(rows, found):
    judged = verdict(window(1, rows, repeats=49))
    assert judged.alone == "watch"
    expected = {"most_repeated": "watch", "repeated_content": "watch"}
    assert graves(judged) == dict(list(expected.items())[:found])
    assert judged.reasons[0] == (
        "50 products share one text and photo ('p1-0' is the first of them); in training no two did"
    )
    assert record(judged, "most_repeated").actual == 50 and record(judged, "most_repeated").p is None
    assert record(judged, "repeated_content").actual == pytest.approx(49 / rows)
    assert judged.facts["repeated_content"] == pytest.approx(49 / rows)


def test_repeats_like_trainings_or_fewer_are_no_alarm():
    reference = window(0, 500, repeats=30)
    for rows, repeats in ((1000, 60), (1000, 10), (300, 0)):
        judged = judge(reference, window(1, rows, repeats=repeats), CATEGORIES, SETTINGS)
        assert judged.alone == "ok", graves(judged)
    assert record(judged, "repeated_content").actual == 0.0
    assert "no two products" in record(judged, "most_repeated").sentence


def test_a_feed_asks_for_no_more_than_a_look_whatever_the_limits_say():
    limit = Limit(1.0, 2.0, 3.0)
    settings = dataclasses.replace(SETTINGS, limits=dataclasses.replace(Limits(), most_repeated=limit, columns=limit))
    judged = judge(
        window(0, 500), window(1, 400, repeats=49), CATEGORIES, settings, columns={"new": list("abcd"), "gone": []}
    )
    assert set(graves(judged).values()) == {"watch"} and judged.verdict == "watch"
    assert {"columns", "most_repeated"} <= set(graves(judged))


def test_what_repeats_is_told_by_text_photo_and_id():
    table = predictions(1, 8)
    contents = {
        "product_id": ["a", "b", "a", "c", "d", "", "", None],
        "text_key": [b"x", b"x", b"x", b"x", None, b"x", b"x", b"x"],
        "image_key": [b"1", b"1", b"1", b"2", b"1", b"1", b"1", b"1"],
    }
    for name, column in contents.items():
        kind = table.schema.field(name).type
        table = table.set_column(table.column_names.index(name), name, pa.array(column, kind))
    # the same id again is no repeat, another photo is another product, and without id or content nothing is known
    assert repeats_of(open_window(table, CATEGORIES)) == Repeats(products=3, repeated=1, most=2, first="a")


def test_texts_and_photos_are_not_taken_for_one_another():
    table = predictions(1, 2)
    for name, column in (("text_key", [b"x", b""]), ("image_key", [b"", b"x"])):
        table = table.set_column(table.column_names.index(name), name, pa.array(column, pa.binary()))
    assert open_window(table, CATEGORIES).frame["content"].nunique() == 2


def test_files_without_keys_are_judged_by_the_rest():
    old = open_window(predictions(1, 400).drop_columns(["text_key", "image_key"]), CATEGORIES)
    assert (old.frame["content"] == -1).all()
    judged = verdict(old)
    assert judged.alone == "ok" and judged.facts["repeated_content"] is None
    assert not {"repeated_content", "most_repeated"} & {record.name for record in judged.records}
    feed = look_at_feed(old, window(1, 400, repeats=49))
    assert not feed.compared and [each.actual for each in feed.counted] == [50]
    assert feed.counted[0].sentence.endswith("is the first of them)")


def test_columns_that_came_or_went_ask_for_a_look_and_are_named():
    columns = {"new": ["supplier", "ean"], "gone": ["description"]}
    judged = judge(window(0, 500), window(1), CATEGORIES, SETTINGS, columns=columns)
    assert judged.alone == "watch" and graves(judged) == {"columns": "watch"}
    assert judged.reasons == (
        "the input's columns have changed: it lacks 'description' and has 'supplier', 'ean', unknown to the model's "
        "training",
    )
    assert record(judged, "columns").actual == 3
    for nothing in ({"new": [], "gone": []}, {}, None):
        assert "columns" not in {each.name for each in look_at_feed(window(0, 30), window(1, 30), nothing).counted}


def test_many_columns_are_not_all_named():
    many = say_columns({"new": [f"c{n}" for n in range(12)]})
    assert many.endswith("'c4' and 7 more, unknown to the model's training")
    assert say_columns({"gone": ["image"]}) == "the input's columns have changed: it lacks 'image'"


def test_a_thousand_times_as_many_products_cost_no_more_than_their_keys():
    reference, many = window(0, 500), open_window(wide(100_000), CATEGORIES)
    feed = look_at_feed(reference, many)
    assert feed.repeated == pytest.approx(0.5) and feed.counted[0].actual == 2
    assert many.frame["content"].memory_usage(index=False) == 800_000


def wide(rows: int) -> pa.Table:
    """Predictions with nothing but what is required and contents that come twice each."""
    top = pa.array([[{"category": "jeux", "probability": 1.0}]] * rows)
    columns = {"category": "jeux", "decision": "accept", "model_version": "TrainFlow/7"}
    return pa.table(
        {
            "product_id": [str(row) for row in range(rows)],
            **{name: pa.array([value] * rows) for name, value in columns.items()},
            "confidence": pa.array([0.9] * rows),
            "top_k": top,
            "text_key": [(row // 2).to_bytes(16) for row in range(rows)],
            "image_key": [bytes(16)] * rows,
        }
    )
