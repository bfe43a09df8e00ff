"""Verdicts: nothing said of too little, no alarm without drift, drift found and named, windows that have to agree."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from rayon.config import ConfigError
from rayon.measures import compare
from rayon.monitoring import judge, settle
from rayon.monitoring_config import Limits, Monitoring, Settling, parse_monitoring, read_monitoring
from rayon.window import HUMAN, WindowError, open_window

CATEGORIES = ("jeux", "lampes", "livres", "vases", "vélos", "radios")
SETTINGS = Monitoring(permutations=999)


def predictions(seed: int, rows: int, **changes) -> pa.Table:
    """Predictions by a calibrated model, as ScoreFlow writes them; `changes` replace columns or shift what is seen.

    Keywords: shift (of the text view), unknown (share of unknown words), mix (weights of the categories), wrong (share
    of further mistakes), labels (share of products that people label), without_photo, novelty, repeats (how many
    products repeat the first one's text and photo).
    """
    rng = np.random.default_rng(seed)
    mix = np.asarray(changes.pop("mix", np.ones(len(CATEGORIES))), dtype=float)
    truth = rng.choice(len(CATEGORIES), rows, p=mix / mix.sum())
    confidence = np.clip(rng.beta(9, 1, rows), 0.3, 0.99)
    right = rng.random(rows) < confidence
    right &= rng.random(rows) >= changes.pop("wrong", 0.0)
    predicted = np.where(right, truth, (truth + 1) % len(CATEGORIES))
    decision = np.where(confidence > 0.8, "accept", "review")
    looked = rng.random(rows) < changes.pop("labels", 0.0)
    view = rng.normal(changes.pop("shift", 0.0), 1.0, (rows, 4))
    photo = rng.random(rows) >= changes.pop("without_photo", 0.05)
    looks = rng.normal(0.7, 0.1, rows)
    rest = (1 - confidence) / 2
    repeats = changes.pop("repeats", 0)
    columns = {
        "product_id": [f"p{seed}-{row}" for row in range(rows)],
        "category": [CATEGORIES[label] for label in predicted],
        "confidence": confidence,
        "top_k": [
            [{"category": CATEGORIES[(label + step) % 6], "probability": float(p)} for step, p in enumerate((c, r, r))]
            for label, c, r in zip(predicted, confidence, rest, strict=True)
        ],
        "decision": decision,
        "model_version": ["TrainFlow/7"] * rows,
        "photo_problem": [""] * rows,
        "entropy": -confidence * np.log(confidence) - (1 - confidence) * np.log(rest),
        "given_category": [CATEGORIES[label] for label in truth],
        "title_length": rng.poisson(40, rows),
        "description_length": rng.poisson(80, rows) * (rng.random(rows) > 0.3),
        "has_image": photo,
        "words": rng.poisson(15, rows),
        "unknown_words": rng.beta(1, 20, rows) + changes.pop("unknown", 0.0),
        "new_words": [["neuf"] if row % 3 == 0 else [] for row in range(rows)],
        "language": rng.choice(["fr", "", "en"], rows, p=[0.5, 0.4, 0.1]),
        "text_view": [list(vector) for vector in view],
        "text_novelty": rng.normal(1.0, 0.1, rows) + changes.pop("novelty", 0.0),
        "photo_view": [list(vector) if there else None for vector, there in zip(view, photo, strict=True)],
        "photo_novelty": np.where(photo, rng.normal(1.0, 0.1, rows), np.nan),
        "brightness": np.where(photo, looks, np.nan),
        "sharpness": np.where(photo, rng.normal(0.03, 0.005, rows), np.nan),
        "text_key": [f"{seed} {max(row - repeats, 0)}".encode() for row in range(rows)],
        "image_key": [b"photo"] * rows,
        HUMAN: np.where(looked, [CATEGORIES[label] for label in truth], ""),
        **changes,
    }
    table = pa.table({name: column for name, column in columns.items() if not name.endswith("_view")})
    for name in ("text_view", "photo_view"):
        table = table.append_column(name, pa.array(columns[name], pa.list_(pa.float32(), 4)))
    return table


def window(seed: int, rows: int = 400, **changes):
    return open_window(predictions(seed, rows, **changes), CATEGORIES)


def verdict(current, past=(), settings=SETTINGS):
    return judge(window(0, 500), current, CATEGORIES, settings, past)


def graves(judged) -> dict[str, str]:
    return {record.name: record.severity for record in judged.records if record.severity != "ok"}


def test_nothing_and_too_little_are_verdicts():
    nothing = verdict(window(1, 1).take(np.arange(0)))
    assert nothing.verdict == "no data" and nothing.records == () and nothing.reasons
    few = verdict(window(1, 30))
    assert few.verdict == "too few rows" and "30 products" in few.reasons[0] and "50 are needed" in few.reasons[0]
    assert few.as_dict()["facts"]["rows"] == 30


def test_products_like_the_references_are_ok():
    verdicts = [judge(window(2 * n, 300), window(2 * n + 1, 300), CATEGORIES, SETTINGS).verdict for n in range(25)]
    assert verdicts.count("ok") >= 24


@pytest.mark.parametrize(
    ("changes", "name", "expected"),
    [
        ({"unknown": 0.3}, "unknown_words", "retrain"),
        ({"shift": 1.5}, "text_view", "retrain"),
        ({"novelty": 0.4}, "text_novelty", "retrain"),
        ({"mix": [9, 1, 1, 1, 1, 1]}, "predicted_mix", "retrain"),
        ({"without_photo": 0.4}, "without_photo", "watch"),
        ({"language": ["de"] * 400}, "language", "watch"),
        ({"title_length": [3] * 400}, "text_length", "watch"),
        ({"brightness": [0.2] * 400}, "brightness", "watch"),
        ({"wrong": 0.4, "labels": 0.5}, "accuracy", "retrain"),
        ({"confidence": [0.4] * 400}, "confidence", "watch"),
    ],
)
def test_each_kind_of_change_is_found_named_and_told(changes, name, expected):
    judged = verdict(window(1, **changes))
    assert judged.alone == expected, graves(judged)
    record = next(record for record in judged.records if record.name == name)
    assert record.severity != "ok" and record.actual >= record.threshold and record.p < SETTINGS.alpha
    assert record.sentence in judged.reasons


def test_broken_photos_are_not_mended_by_retraining():
    blank = {"sharpness": [0.0] * 400, "photo_view": [[9.0] * 4] * 400, "photo_novelty": [5.0] * 400}
    judged = verdict(window(1, **blank))
    assert judged.alone == "watch" and graves(judged) == {"without_photo": "watch"}
    assert "unreadable or blank" in judged.reasons[0]


def test_a_trifle_is_no_alarm_however_many_products_there_are():
    many, others = window(1, 20_000, unknown=0.003), window(2, 20_000)
    compared = {each.name: each.difference for each in compare(others, many, CATEGORIES, 500, 199)}
    assert compared["unknown_words"].p < 1e-6
    assert judge(others, many, CATEGORIES, SETTINGS).verdict == "ok"


def test_categories_the_model_does_not_know_are_counted_for_what_they_stand_for():
    names = ["trottinettes" if row % 5 == 0 else "jeux" for row in range(400)]
    judged = verdict(window(1, given_category=names))
    record = next(record for record in judged.records if record.name == "new_categories")
    assert record.actual == pytest.approx(0.2) and "'trottinettes'" in record.sentence
    assert judged.alone == "retrain"


@pytest.mark.parametrize(("few", "asked"), [(3, "ok"), (SETTINGS.labels, "strong")])
def test_a_few_labels_do_not_stand_for_all_that_was_filed(few, asked):
    table = window(1, 1000).frame
    filed, reviewed = (np.flatnonzero(table["decision"] == decision) for decision in ("accept", "review"))
    said = np.full(1000, "", dtype=object)
    said[reviewed] = table["category"].to_numpy()[reviewed]
    said[filed[:few]] = "trottinettes"
    judged = verdict(window(1, 1000, given_category=[""] * 1000, **{HUMAN: said}))
    record = next(record for record in judged.records if record.name == "new_categories")
    assert record.severity == asked and len(filed) > 700
    assert record.actual == pytest.approx((few if few == 3 else len(filed)) / 1000)


def test_labels_of_what_is_reviewed_do_not_stand_for_what_was_filed():
    """Of the filed products one label less than counts: they are the many all the same."""
    table = window(1, 1000).frame
    filed, reviewed = (np.flatnonzero(table["decision"] == decision) for decision in ("accept", "review"))
    said = np.full(1000, "", dtype=object)
    said[filed[: SETTINGS.labels - 1]] = table["category"].to_numpy()[filed[: SETTINGS.labels - 1]]
    said[reviewed[:12]] = ["trottinettes"] * 3 + table["category"].to_numpy()[reviewed[3:12]].tolist()
    judged = verdict(window(1, 1000, given_category=[""] * 1000, **{HUMAN: said}))
    record = next(record for record in judged.records if record.name == "new_categories")
    assert record.actual == pytest.approx(3 / 12 * len(reviewed) / 1000) and record.severity != "strong"


def test_accuracy_is_measured_where_people_looked_and_estimated_everywhere():
    judged = verdict(window(1, 2000, labels=0.3))
    table = window(1, 2000).frame
    real = (table["category"] == table["given_category"]).mean()
    assert judged.measured["accuracy"].low <= real <= judged.measured["accuracy"].high
    assert judged.estimated["accuracy"].value == pytest.approx(real, abs=0.03)
    assert abs(judged.facts["estimation_error"]) < 0.05 and judged.facts["labels"] > 400
    assert verdict(window(1)).measured is None


def test_a_fall_is_told_however_rare_a_false_alarm_is_to_be():
    strict = Monitoring(alpha=0.002, permutations=9999)
    fallen = verdict(window(1, 1000, labels=0.9, wrong=0.5), settings=strict)
    assert graves(fallen)["accuracy"] == "strong"


def test_an_overconfident_models_estimate_is_corrected_by_its_reference():
    reference, current = window(0, 3000, wrong=0.2), window(1, 3000, wrong=0.2)
    judged = judge(reference, current, CATEGORIES, SETTINGS)
    real = (current.frame["category"] == current.frame["given_category"]).mean()
    assert current.frame["confidence"].mean() - real > 0.1
    assert judged.estimated["accuracy"].value == pytest.approx(real, abs=0.03)


def test_a_difference_that_costs_no_accuracy_asks_for_a_look_alone():
    shifted = {"shift": 1.0, "unknown": 0.5}
    without = verdict(window(5, **shifted))
    assert without.alone == "retrain"
    labelled = verdict(window(5, labels=0.9, **shifted))
    assert labelled.alone == "watch" and any("accuracy holds" in reason for reason in labelled.reasons)
    wrong = verdict(window(5, labels=0.9, wrong=0.2, **shifted))
    assert wrong.alone == "retrain" and not any("accuracy holds" in reason for reason in wrong.reasons)


def test_confidences_alone_never_ask_for_more_than_a_look():
    limits = dataclasses.replace(Limits(), confidence={"watch": 9.0}, entropy={"watch": 9.0})
    unsure = {"confidence": [0.5] * 400, "top_k": [[{"category": "jeux", "probability": 0.3}] * 3] * 400}
    settings = dataclasses.replace(SETTINGS, limits=dataclasses.replace(limits, predicted_mix={"watch": 9.0}))
    judged = verdict(window(1, **unsure), settings=settings)
    assert graves(judged) == {"estimated_macro_f1": "watch"}


def test_retraining_waits_until_windows_agree():
    settling = Settling(windows=3, alarms=2)
    assert settle("retrain", False, [], settling) == "watch"
    assert settle("retrain", True, [], settling) == "retrain"
    assert settle("retrain", False, ["ok", "retrain"], settling) == "retrain"
    assert settle("retrain", False, ["ok", "ok", "retrain"], settling) == "watch"
    assert settle("ok", False, ["retrain", "retrain"], settling) == "retrain"
    assert settle("ok", False, ["ok", "retrain", "retrain"], settling) == "ok"
    assert settle("watch", False, ["retrain"], settling) == "watch"


def test_a_flapping_signal_gives_a_steady_verdict():
    told, past = [], []
    for alone in ("ok", "retrain", "ok", "retrain", "retrain", "ok", "retrain", "ok", "ok", "ok"):
        told.append(settle(alone, False, past, Settling(3, 2)))
        past.insert(0, alone)
    assert told == ["ok", "watch", "ok", "retrain", "retrain", "retrain", "retrain", "ok", "ok", "ok"]


def test_a_settled_verdict_says_why_it_differs_from_the_windows_own():
    odd = verdict(window(1, mix=[4, 1, 1, 1, 1, 1]))
    assert (odd.alone, odd.verdict) == ("retrain", "watch") and "one odd window" in odd.reasons[0]
    again = verdict(window(1, mix=[4, 1, 1, 1, 1, 1]), past=["retrain"])
    assert again.verdict == "retrain"
    after = verdict(window(1), past=["retrain", "retrain"])
    assert (after.alone, after.verdict) == ("ok", "retrain") and "the last 3 windows" in after.reasons[0]


def test_predictions_without_observations_are_compared_by_what_they_have():
    table = predictions(1, 300).select(
        ["product_id", "category", "confidence", "decision", "model_version", "top_k", "entropy", "has_image"]
    )
    judged = verdict(open_window(table, CATEGORIES))
    assert {record.name for record in judged.records} == {
        "confidence", "entropy", "predicted_mix", "without_photo", "estimated_macro_f1",
    }  # fmt: skip
    assert judged.verdict == "ok"


def test_a_file_of_something_else_is_a_sentence():
    with pytest.raises(WindowError, match="no column 'confidence', 'decision'"):
        open_window(pa.table({"product_id": ["1"], "category": ["jeux"]}), CATEGORIES)
    mixed = predictions(1, 2).set_column(3, "top_k", pa.array([[{"category": "jeux", "probability": 1.0}], []]))
    with pytest.raises(WindowError, match="different models"):
        open_window(mixed, CATEGORIES)


def test_a_window_keeps_rows_together():
    whole = window(1, 50)
    some = whole.take(np.array([7, 3]))
    assert some.frame["product_id"].tolist() == ["p1-7", "p1-3"]
    np.testing.assert_array_equal(some.text_view, whole.text_view[[7, 3]])
    assert whole.new_words == {"neuf": 17}
    assert [CATEGORIES[label] for label in whole.top_labels[:, 0]] == whole.frame["category"].tolist()
    assert np.isnan(whole.photo_view[~whole.frame["has_image"].to_numpy(dtype=bool)]).all()


def test_the_file_of_limits_holds_the_defaults():
    text = (Path(__file__).resolve().parents[2] / "configs" / "monitoring.yaml").read_text()
    assert parse_monitoring(read_monitoring(text)) == Monitoring()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("alpa: 0.1", "unknown key 'alpa': did you mean 'alpha'?"),
        ("limits: {text_vew: {watch: 0.1}}", "unknown key 'limits.text_vew': did you mean 'text_view'?"),
        ("limits: {text_view: {watch: 0.3, retrain: 0.1}}", "have to rise"),
        ("limits: {text_view: {watch: 0.3, strong: 0.4}}", "strong needs retrain"),
        ("settling: {windows: 2, alarms: 3}", "3 alarms cannot come in 2 windows"),
        ("alpha: 2.0", "less than or equal to 0.2"),
        ("permutations: 499", "499 permutations can never reach an alpha of 0.02: 900 are needed"),
        ("- 1", "not a mapping"),
        ("a: [", "not valid YAML"),
    ],
)
def test_mistakes_in_the_limits_are_told_like_those_of_an_experiment(text, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        read_monitoring(text)


def test_plain_data_of_a_judgement_is_json():
    judged = verdict(window(1, 300, labels=0.5))
    again = json.loads(json.dumps(judged.as_dict()))
    assert again["verdict"] == "ok" and len(again["records"]) == len(judged.records)
    assert pd.DataFrame(again["records"])["sentence"].str.len().min() > 10
