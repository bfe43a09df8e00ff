"""A window of any size: counted in lots as in one go, sampled the same way in any order, judged by both."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_feed import wide
from test_monitoring import CATEGORIES, SETTINGS, graves, predictions

from rayon.cards_monitor import Report, monitor_card
from rayon.evaluation import macro_f1
from rayon.monitor_run import judge_window, make_point, shown
from rayon.performance import measure
from rayon.production import read_window
from rayon.reference import Reference
from rayon.sampling import Sample
from rayon.tally import BLANK, Tally
from rayon.window import HUMAN, open_frame, open_window

REFERENCE = Reference(predictions(0, 500), "TrainFlow/7", CATEGORIES)
COUNTED = ("without_photo", "without_description", "without_text", "predicted_mix", "language", "new_categories",
           "accuracy", "most_repeated", "repeated_content")  # fmt: skip


def odd(rows: int, seed: int = 1) -> pa.Table:
    """Predictions with whatever columns may hold: repeated and missing ids, blank photos, labels of all kinds."""
    rng = np.random.default_rng(seed)
    changes = {
        "given_category": rng.choice(["", "", "jeux", "x"], rows).tolist(),
        HUMAN: rng.choice(["", "", "", "lampes", "y"], rows).tolist(),
    }
    table = predictions(seed, rows, repeats=rows // 10, **changes)
    sharp = np.where(rng.random(rows) < 0.1, BLANK / 2, 0.03)
    ids = [f"p{n % (rows - 7)}" if n % 50 else "" for n in range(rows)]
    for name, column in (("sharpness", pa.array(sharp)), ("product_id", pa.array(ids))):
        table = table.set_column(table.column_names.index(name), name, column)
    return table


def test_lots_add_up_to_the_whole():
    table = odd(900)
    once, lots = Tally().add(open_frame(table)), Tally()
    for start in range(0, 900, 130):
        lots.add(open_frame(table.slice(start, 130)))
    names = pd.Index(CATEGORIES, dtype="str")
    for tally in (once, lots):
        frame = open_window(table, CATEGORIES).frame
        blank = frame["sharpness"] < BLANK
        assert tally.rows == 900 and sum(tally.mix.values()) == 900
        assert tally.lacking["without_photo"] == (int((~frame["has_image"] | blank).sum()), 900)
        assert tally.lacking["without_description"] == (int((frame["description_length"] == 0).sum()), 900)
        assert tally.broken == blank.sum() and tally.repeated_ids() == frame["product_id"].duplicated().mean()
        told = frame[frame[HUMAN] != ""]
        assert tally.labelled(names)[:, 1].tolist() == names.get_indexer(pd.Index(told[HUMAN])).tolist()
    assert once.repeats() == lots.repeats() and once.repeats().most > 80
    assert list(once.labels.items()) == list(lots.labels.items()) and once.languages == lots.languages
    assert once.repeats() == by_hand(table)


def by_hand(table: pa.Table) -> tuple[int, int, int, str]:
    """How contents repeat, by dictionaries."""
    ids: dict[tuple[bytes, bytes], dict[str, None]] = {}
    for row in table.select(["product_id", "text_key", "image_key"]).to_pylist():
        if row["product_id"]:
            ids.setdefault((row["text_key"], row["image_key"]), {})[row["product_id"]] = None
    products = sum(map(len, ids.values()))
    most = max(ids.values(), key=len)
    return products, products - len(ids), len(most), next(iter(most))


def test_a_small_window_is_its_own_sample_in_its_order():
    sample, table = Sample(1000), pa.table({"n": range(700)})
    for start in (0, 300):
        sample.add(table.slice(start, 300 if start == 0 else 400), np.zeros(300 if start == 0 else 400, np.uint64))
    assert sample.table()["n"].to_pylist() == list(range(700))
    assert Sample(5).table().num_rows == 0


def test_a_sample_does_not_depend_on_order_or_lots_and_repeated_rows_have_their_share():
    rng = np.random.default_rng(0)
    # three of four rows are the same one
    keys = np.where(rng.random(8000) < 0.75, 7, rng.integers(0, 2**63, 8000)).astype(np.uint64)
    table = pa.table({"key": keys})
    drawn = []
    for order, lot in ((np.arange(8000), 900), (rng.permutation(8000), 8000), (rng.permutation(8000), 77)):
        sample, mixed = Sample(1000), table.take(pa.array(order))
        for start in range(0, 8000, lot):
            sample.add(mixed.slice(start, lot), keys[order][start : start + lot])
        drawn.append(sorted(sample.table()["key"].to_pylist()))
    assert drawn[0] == drawn[1] == drawn[2] and len(drawn[0]) == 1000
    assert drawn[0].count(7) == pytest.approx(750, abs=45)


@pytest.fixture
def large(tmp_path):
    """A drifted window of 6,000 products as two files, judged as a whole and by a sample of 2,000."""
    words = [["trottinette"]] * 6000
    table = predictions(5, 6000, new_words=words, unknown=0.3, without_photo=0.3, labels=0.1, repeats=40)
    for name, part in (("a", table.slice(0, 2500)), ("b", table.slice(2500))):
        pq.write_table(part, tmp_path / f"{name}.parquet")
    return [read_window([str(tmp_path)], "TrainFlow/7", sample_rows=rows) for rows in (20_000, 2000)]


def test_counts_are_of_all_products_and_tests_of_a_sample(large):
    whole, sampled = large
    assert sampled.table.num_rows == 2000 and sampled.key == whole.key
    judged = [judge_window(REFERENCE, production, SETTINGS, []).judged for production in (whole, sampled)]
    assert [each.facts["rows"] for each in judged] == [6000, 6000]
    assert [each.facts["sample"] for each in judged] == [6000, 2000]
    for name in ("labels", "repeated", "repeated_content", "psi"):
        assert judged[0].facts[name] == judged[1].facts[name]
    assert judged[0].measured == judged[1].measured
    found = [{record.name: record for record in each.records} for each in judged]
    assert found[0].keys() == found[1].keys()
    for name in COUNTED:
        assert found[0][name][1:3] == found[1][name][1:3] and found[0][name].sentence == found[1][name].sentence
    for name, record in found[0].items():
        assert found[1][name].actual == pytest.approx(record.actual, abs=0.05)
    assert graves(judged[0]) == graves(judged[1]) and judged[0].verdict == judged[1].verdict == "watch"


def test_the_card_says_what_was_sampled(large):
    told = []
    for production in large:
        compared = judge_window(REFERENCE, production, SETTINGS, [])
        point = make_point("MonitorFlow/3", REFERENCE, production, compared.judged)
        drawn = shown(compared, production, CATEGORIES)
        card = monitor_card(compared.judged.as_dict(), [point], drawn, Report("/a.html", "view"), {})
        told.append(" ".join(str(part.render()) for part in card))
    words = "Tests on a sample of 2,000 of 6,000 products"
    assert words not in told[0] and words in told[1] and "in the sample" in told[1] and "6,000" in told[1]


def test_a_hundred_thousand_predictions_more_are_read_in_the_memory_of_their_hashes(tmp_path):
    file = tmp_path / "many.parquet"
    peaks = []
    for rows in (20_000, 120_000):
        pq.write_table(wide(rows), file)  # one row group
        tracemalloc.start()
        read = read_window([str(file)], "TrainFlow/7", sample_rows=2000)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert read.table.num_rows == 2000 and read.whole.rows == rows
        assert read.whole.repeats()[:3] == (rows, rows // 2, 2)
    assert peaks[1] - peaks[0] < 100_000 * 100


def test_more_labels_than_fit_at_once_are_measured_alike():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 4, 30_000)
    predicted = np.where(rng.random(30_000) < 0.8, labels, (labels + 1) % 4)
    found = measure(predicted, labels, np.zeros(30_000, np.int64), np.array([30_000]), 4, (800, 1000))
    assert found.macro_f1.value == pytest.approx(macro_f1(labels, predicted, 4))
    assert found.macro_f1.low < found.macro_f1.value < found.macro_f1.high < found.macro_f1.low + 0.02
