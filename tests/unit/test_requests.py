"""What the app was asked comes back in the shape of ScoreFlow's predictions, labels included."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from rayon.bundle import read_bundle
from rayon.data.shards import input_key
from rayon.data.text import product_text
from rayon.feedback import Logged, Store, new_id
from rayon.inference import Predictor, Ready, together
from rayon.observing import OBSERVED, observe
from rayon.requests import iter_requests, observations
from rayon.schema import Product
from rayon.window import open_window


@pytest.fixture
def asked(make_config, trained_once, catalogue, tmp_path):
    """A store in which three products were predicted, one of them labelled twice; and what was observed of them."""
    done, _, _ = trained_once("fusion", make_config())
    predictor = Predictor(read_bundle(done.bundle), "TrainFlow/7", 0.9)
    photo = (catalogue / "images" / "0.png").read_bytes()
    products = [Product("a", "lampe chevet", "bleu"), Product("b", "", "", "", photo), Product("c", "xyzzy")]
    ready = [one for one in predictor.prepare(products) if isinstance(one, Ready)]
    columns = together(ready)
    answers = predictor.judge(columns)
    store = Store(f"sqlite:///{tmp_path}/s.sqlite", str(tmp_path / "photos"), "shop")
    ids = [new_id() for _ in ready]
    seen = zip(ids, ready, predictor.tell(ready, answers), observations(predictor, columns, answers), strict=True)
    store.add_predictions(
        [Logged(name, one.designation, one.description, one.photo, said, "api", note) for name, one, said, note in seen]
    )
    store.add_feedback(ids[0], "jouets", "anna")
    store.add_feedback(ids[0], "vases", "anna")
    yield store, predictor, columns, answers
    store.close()


def test_requests_have_the_shape_of_scored_products(asked):
    store, predictor, columns, answers = asked
    now = datetime.now(UTC)
    table = pa.concat_tables(iter_requests(store, now - timedelta(hours=1), now + timedelta(hours=1))).sort_by(
        "product_id"
    )
    assert table["product_id"].to_pylist() == ["a", "b", "c"]
    assert table["human_category"].to_pylist() == ["vases", "", ""]  # the last word
    assert table["has_image"].to_pylist() == [False, True, False]
    observed = observe(predictor, columns, answers)
    for name in OBSERVED.names:
        for kept, seen in zip(table[name].to_pylist(), observed[name].to_pylist(), strict=True):
            if isinstance(seen, float | list) and seen and not isinstance(seen, list | str):
                assert kept == pytest.approx(seen, rel=1e-4)
            elif isinstance(seen, list) and seen and isinstance(seen[0], float):
                np.testing.assert_allclose(kept, seen, rtol=1e-4)
            else:
                assert kept == seen
    contents = zip(columns.designations, columns.descriptions, columns.photos, strict=True)
    keys = [(input_key(product_text(title, text).encode()), input_key(photo or b"")) for title, text, photo in contents]
    assert list(zip(table["text_key"].to_pylist(), table["image_key"].to_pylist(), strict=True)) == keys
    assert keys[1][0] == b"" != keys[1][1] and len({key for both in keys for key in both}) == 4
    np.testing.assert_allclose(table["entropy"].to_numpy(), answers.entropy, rtol=1e-4)
    window = open_window(table, predictor.categories)
    assert window.top_labels[0, 0] == predictor.categories.index("lampes") and len(window.frame) == 3


def test_nothing_asked_is_an_empty_table(asked):
    store, *_ = asked
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    table = pa.concat_tables(iter_requests(store, long_ago, long_ago + timedelta(days=1)))
    assert table.num_rows == 0 and {"product_id", "top_k", "human_category", *OBSERVED.names} <= set(table.column_names)
