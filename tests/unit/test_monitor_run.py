"""A monitoring run beside its flow: what is read, what is kept, what is shown; the report and the card."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_monitoring import CATEGORIES, SETTINGS, predictions

from rayon.cards_monitor import Report, monitor_card
from rayon.drift_report import make_report
from rayon.monitor_run import (
    closing_lines,
    judge_window,
    last_look,
    make_point,
    shown,
    tracked_values,
    windows_before,
)
from rayon.production import choose_sources, parse_window, read_labels, read_window, span_of
from rayon.reference import Reference
from rayon.window import HUMAN, WindowError, open_window

REPORT = Report("/somewhere/a b.html", "flow card view 3/end --id report")
NOW = datetime(2026, 3, 2, 6, tzinfo=UTC)
REFERENCE = Reference(predictions(0, 500), "TrainFlow/7", CATEGORIES)


@pytest.fixture
def file(tmp_path):
    """A factory of Parquet files of predictions."""

    def write(name: str = "a", seed: int = 1, rows: int = 300, **changes) -> str:
        path = tmp_path / f"{name}.parquet"
        pq.write_table(predictions(seed, rows, **changes), path)
        return str(path)

    return write


def test_lengths_of_time_are_read():
    assert parse_window("7d") == timedelta(days=7) and parse_window("12h") == timedelta(hours=12)
    assert parse_window("30m") == timedelta(minutes=30) and parse_window("2w") == timedelta(weeks=2)
    for wrong in ("", "7", "d", "-1d", "0d", "7 days"):
        with pytest.raises(WindowError, match="no length of time"):
            parse_window(wrong)
    for endless in ("999999d", "99999999999999w"):
        with pytest.raises(WindowError, match="more than a hundred years"):
            span_of(endless, NOW)


def test_files_and_folders_are_read_by_model(file, tmp_path):
    file("a", 1, 300)
    file("b", 2, 100, model_version=["TrainFlow/6"] * 100)
    (folder,) = choose_sources("shop", "7d", "", str(tmp_path))
    read = read_window([folder], "TrainFlow/7")
    assert read.table.num_rows == 300 and read.others == {"TrainFlow/6": 100}
    assert "row" not in read.table.column_names
    assert read.key == read_window([folder], "TrainFlow/7").key != read_window([folder], "TrainFlow/6").key


def test_of_what_a_scoring_wrote_the_predictions_are_read(file, tmp_path):
    scored = tmp_path / "scored"
    (scored / "rejects").mkdir(parents=True)
    (scored / "summary.json").write_text("{}")
    pq.write_table(pa.table({"reason": ["missing_id"]}), scored / "rejects" / "part-00000.parquet")
    (scored / "predictions").mkdir()
    shutil.copy(file("a", 1, 300), scored / "predictions" / "part-00000.parquet")
    production = read_window([str(scored)], "TrainFlow/7")
    assert production.table.num_rows == 300 and not production.others


def test_sources_of_different_ages_are_put_together(file, tmp_path):
    new = file("new")
    old = str(tmp_path / "old.parquet")
    kept = ["product_id", "category", "confidence", "decision", "model_version", "top_k"]
    pq.write_table(predictions(2, 50).select(kept), old)
    window = open_window(read_window([new, old], "TrainFlow/7").table, CATEGORIES)
    assert len(window.frame) == 350 and window.frame["unknown_words"].notna().sum() == 300
    assert np.isnan(window.text_view[300:]).all() and not np.isnan(window.text_view[:300]).any()


def test_what_people_say_later_is_joined_by_product(file, tmp_path):
    labels = tmp_path / "labels.csv"
    labels.write_text("product_id,label\np1-3,vases\np1-5,\nnobody,jeux\n")
    table = read_window([file()], "TrainFlow/7", read_labels(str(labels))).table
    said = dict(zip(table["product_id"].to_pylist(), table[HUMAN].to_pylist(), strict=True))
    assert said["p1-3"] == "vases" and said["p1-5"] == ""
    labels.write_text("product_id,label\nNA,None\nnull,N/A\n1\n2,\n,jeux\n")
    assert read_labels(str(labels)) == {"NA": "None", "null": "N/A"}
    labels.write_text("product_id,label\n p1-3 ,vases \np1-5,  \n")
    assert read_labels(str(labels)) == {"p1-3": "vases"}
    labels.write_text("id,label\n1,vases\n")
    with pytest.raises(WindowError, match="no column product_id"):
        read_labels(str(labels))


def test_predictions_by_nobody_are_counted_among_the_others(file):
    versions = ["TrainFlow/6", None, "TrainFlow/5"] * 100
    judged = judge_window(REFERENCE, read_window([file(model_version=versions)], "TrainFlow/7"), SETTINGS, []).judged
    assert judged.verdict == "no data"
    assert "100 by TrainFlow/5, 100 by TrainFlow/6, 100 by unknown" in judged.reasons[0]


def test_a_row_without_likeliest_categories_costs_itself_and_is_counted(file):
    top = predictions(1, 300)["top_k"].to_pylist()
    production = read_window([file(top_k=[None, [], *top[2:]])], "TrainFlow/7")
    assert (production.rejected, production.table.num_rows, production.whole.rows) == (2, 298, 298)
    assert judge_window(REFERENCE, production, SETTINGS, []).judged.facts["rows"] == 298
    nothing = read_window([file(top_k=[None] * 300)], "TrainFlow/7")
    assert nothing.rejected == 300 and judge_window(REFERENCE, nothing, SETTINGS, []).judged.verdict == "no data"


def test_a_window_without_photos_that_pandas_wrote_is_read(tmp_path):
    bare = {"photo_novelty": [np.nan] * 300, "brightness": [np.nan] * 300, "sharpness": [np.nan] * 300}
    frame = predictions(1, 300, without_photo=1, new_words=[None] * 300, **bare).to_pandas()
    frame.to_parquet(tmp_path / "a.parquet")
    production = read_window([str(tmp_path / "a.parquet")], "TrainFlow/7")
    assert production.table.schema.field("photo_view").type == pa.null()
    assert judge_window(REFERENCE, production, SETTINGS, []).judged.facts["rows"] == 300


def test_a_space_makes_no_category_of_what_people_say(file):
    production = read_window([file(**{HUMAN: ["vases ", "\tvases", None] * 100})], "TrainFlow/7")
    assert open_window(production.table, CATEGORIES).frame[HUMAN].value_counts().to_dict() == {"vases": 200, "": 100}


def test_files_of_something_else_are_sentences(tmp_path):
    (tmp_path / "a.parquet").write_text("no parquet")
    with pytest.raises(WindowError, match=r"is no Parquet file"):
        read_window([str(tmp_path / "a.parquet")], "TrainFlow/7")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "a.parquet")
    with pytest.raises(WindowError, match="holds no predictions"):
        read_window([str(tmp_path / "a.parquet")], "TrainFlow/7")
    pq.write_table(predictions(1, 50).drop_columns(["product_id"]), tmp_path / "a.parquet")
    with pytest.raises(WindowError, match="no column 'product_id'"):
        read_window([str(tmp_path / "a.parquet")], "TrainFlow/7", {"a": "vases"})
    with pytest.raises(WindowError, match="there is no file"):
        choose_sources("shop", "7d", "", str(tmp_path / "nothing"))


def test_nothing_at_all_and_another_models_predictions_are_told_apart(file):
    nothing = judge_window(REFERENCE, read_window([], "TrainFlow/7"), SETTINGS, [])
    assert nothing.judged.verdict == "no data"
    others = read_window([file(model_version=["TrainFlow/6"] * 300)], "TrainFlow/7")
    judged = judge_window(REFERENCE, others, SETTINGS, []).judged
    assert judged.verdict == "no data" and "300 by TrainFlow/6" in judged.reasons[0]


def test_only_windows_of_the_same_model_add_up(file):
    production = read_window([file(mix=[4, 1, 1, 1, 1, 1])], "TrainFlow/7")
    point = {"alone": "retrain", "model": "TrainFlow/6"}
    assert judge_window(REFERENCE, production, SETTINGS, [point]).judged.verdict == "watch"
    ours = {**point, "model": "TrainFlow/7"}
    assert judge_window(REFERENCE, production, SETTINGS, [ours]).judged.verdict == "retrain"
    silent = [{**ours, "alone": said} for said in ("retrain", "no data", "too few rows", "no data")]
    assert judge_window(REFERENCE, production, SETTINGS, silent).judged.verdict == "retrain"


class Look(NamedTuple):
    """A finished look at a window of time, so many days after the first, as it is read back."""

    at: float
    length: float
    alone: str
    model: str = "TrainFlow/7"
    named: bool = False
    successful: bool = True

    @property
    def span(self) -> list[str]:
        return span_of(f"{self.length * 24:.0f}h", NOW + timedelta(days=self.at))

    def __getitem__(self, step: str) -> SimpleNamespace:
        point = {"run": self.at, "model": self.model, "alone": self.alone, "span": [] if self.named else self.span}
        return SimpleNamespace(task={"point": SimpleNamespace(data=point)})


@pytest.fixture
def before(monkeypatch):
    """A function that tells which of some looks count for a window of time that ends a day after the last."""

    def find(looks: list[Look], length: float, most: int = 2) -> list[float]:
        monkeypatch.setattr("rayon.monitor_run.runs_tagged", lambda *tags: iter(looks[::-1]))
        monkeypatch.setattr("rayon.monitor_run.started", lambda run: NOW + timedelta(days=run.at))
        now = Look(looks[-1].at + 1, length, "retrain")
        return [point["run"] for point in windows_before("shop", now.model, now.span, most)]

    return find


def test_windows_that_share_products_do_not_add_up(before):
    daily = [Look(day, 7, "retrain") for day in range(20)]
    assert before(daily, 7) == [6, 13]  # the look is on day 20
    assert before(daily, 1) == [12, 19]
    assert before(daily[:6], 7) == []
    often = [Look(minutes / 1440, 7, "retrain") for minutes in range(0, 1440 * 15, 10)]
    assert before(often, 7) == pytest.approx([2.7, 9.3], abs=0.1)


def test_a_schedule_need_not_be_to_the_second(before):
    assert before([Look(0, 1, "retrain"), Look(0.96, 1, "retrain")], 1) == [0, 0.96]
    assert before([Look(0, 1, "retrain"), Look(0.9, 1, "retrain")], 1) == [0.9]


def test_the_last_look_at_production_is_one_at_a_window(monkeypatch):
    looks = [Look(0, 1, "ok"), Look(1, 1, "no data"), Look(2, 1, "ok", named=True), Look(3, 1, "ok", successful=False)]
    monkeypatch.setattr("rayon.champions.runs_tagged", lambda *tags: iter(looks[::-1]))
    monkeypatch.setattr("rayon.monitor_run.started", lambda run: NOW + timedelta(days=run.at))
    assert last_look("shop") == NOW + timedelta(days=1)
    looks[:2] = []
    assert last_look("shop") is None


def test_windows_that_tell_nothing_of_this_model_hide_none_that_does(before):
    looks = [Look(0, 1, "retrain"), Look(1, 1, "ok")]
    others = [
        Look(2, 1, "no data"),
        Look(2, 1, "retrain", "TrainFlow/6"),
        Look(2, 1, "retrain", named=True),
        Look(2, 1, "retrain", successful=False),
    ]
    assert before(looks + others, 1) == [0, 1]


def story(file, **changes):
    production = read_window([file(**changes)], "TrainFlow/7")
    compared = judge_window(REFERENCE, production, SETTINGS, [])
    return compared, production, make_point("MonitorFlow/3", REFERENCE, production, compared.judged)


def test_a_point_of_the_history_is_plain_and_tracked(file):
    compared, _, point = story(file, unknown=0.4, labels=0.6)
    assert json.loads(json.dumps(point)) == point
    values = tracked_values(point)
    assert values["monitor/drift/unknown_words"] > 2 and values["monitor/verdict"] == 2.0
    assert values["monitor/measured_accuracy"] == pytest.approx(compared.judged.measured["accuracy"].value)
    # two things of one name: how far the estimate fell, over its limit, and the estimate
    assert values["monitor/drift/estimated_macro_f1"] == pytest.approx(point["ratios"]["estimated_macro_f1"])
    assert values["monitor/estimated_macro_f1"] == pytest.approx(compared.judged.estimated["macro_f1"].value)
    assert all(math.isfinite(value) for value in values.values())


def texts(components) -> str:
    parts = [component.render() for component in components]
    assert not [part for part in parts if part["type"] == "log"]
    return re.sub(r"<[^>]*>", " ", json.dumps(parts))


def test_the_card_says_the_verdict_first_and_shows_the_five_pictures(file):
    compared, production, point = story(file, unknown=0.4, labels=0.6)
    sample = {"product_id": "1", "title": "<b>Kart", "category": "jeux", "confidence": 0.4, "photo": None}
    production = production._replace(strangest=[{**sample, "photo_novelty": 3.2}])
    drawn = shown(compared, production, CATEGORIES)
    card = monitor_card(compared.judged.as_dict(), [point, point], drawn, REPORT, {"looked at": "a file"})
    told = texts(card)
    titles = ["Retrain: production", "Drift over time", "Mix then and now", "Accuracy over time", "Photos least like",
              "New words", "Comparisons", "Data quality", "Column by column", "Details"]  # fmt: skip
    places = [told.index(title) for title in titles]
    assert places == sorted(places)
    assert "3.2 times as unlike" in told and "&lt;b&gt;Kart" in told
    assert "NaN" not in told


@pytest.mark.parametrize("rows", [0, 10])
def test_the_card_of_too_little_is_no_crash(file, rows):
    compared, production, point = story(file, rows=rows)
    drawn = shown(compared, production, CATEGORIES)
    told = texts(monitor_card(compared.judged.as_dict(), [point], drawn, REPORT, {}))
    assert ("nothing to judge" if rows == 0 else "too few products") in told and "Drift over time" not in told


def test_the_card_tells_of_the_feed_and_opens_the_report(file):
    production = read_window([file(repeats=49)], "TrainFlow/7")
    production = production._replace(columns={"new": ["supplier"], "gone": []})
    compared = judge_window(REFERENCE, production, SETTINGS, [])
    point = make_point("MonitorFlow/3", REFERENCE, production, compared.judged)
    drawn = shown(compared, production, CATEGORIES)
    card = monitor_card(compared.judged.as_dict(), [point], drawn, REPORT, {})
    told = json.dumps([part.render() for part in card])
    quality = told[told.index("Data quality") : told.index("Column by column")]
    assert "50 products share one text and photo" in quality and "'supplier', unknown to the model" in quality
    assert "products without a description" in quality and "macro-F1 is estimated" not in quality
    assert "repeated contents" in told[: told.index("Drift over time")] and REPORT.command in told
    assert 'href=\\"file:///somewhere/a%20b.html\\"' in told
    broken = monitor_card(compared.judged.as_dict(), [point], drawn, REPORT._replace(problem="it rained"), {})
    assert "There is no report: it rained." in texts(broken)
    assert "a%20b.html" not in json.dumps([part.render() for part in broken])
    bucket = monitor_card(compared.judged.as_dict(), [point], drawn, REPORT._replace(file="s3://b/a.html"), {})
    assert "s3://b/a.html" in texts(bucket) and "href" not in json.dumps([part.render() for part in bucket])


def test_new_words_are_those_that_the_gold_set_did_not_have(file):
    compared, production, _ = story(file, new_words=[["trottinette"]] * 200 + [["neuf"]] * 100)
    assert shown(compared, production, CATEGORIES)["new_words"] == {"trottinette": 200}


def test_the_last_lines_say_what_why_where_and_what_next(file):
    compared, _, _ = story(file, unknown=0.4)
    lines = closing_lines(compared.judged.as_dict(), ["a"], "3", "report.html")
    assert lines[0] == "verdict   retrain: 300 products from 1 source"
    assert lines[1].startswith("because   ") and "words that the model does not know" in " ".join(lines)
    assert lines[-1].startswith("next      python flows/preprocess_flow.py")


def test_the_report_is_bounded_and_its_failure_is_told():
    frame = open_window(predictions(1, 3000), CATEGORIES).frame
    made = make_report(frame, frame, 200, 5.0, "a title")
    assert made.problem == "" and len(made.page) < 5_000_000 and "unknown_words" in made.page
    large = make_report(frame, frame, 200, 0.001, "a title")
    assert "more than the 0.001" in large.problem and len(large.page) < 1000
    broken = make_report(frame.iloc[:0], frame, 200, 5.0, "a title")
    assert "could not be made" in broken.problem and broken.problem.split(":")[0] in broken.page
    assert make_report(frame, frame, 0, 5.0, "").problem
    assert isinstance(frame, pd.DataFrame) and os.environ["DO_NOT_TRACK"] == "1"
