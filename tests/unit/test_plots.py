"""Pictures are judged by what is drawn in them: bars as long as their values, names as they are, nothing empty."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rayon.calibration import log_softmax
from rayon.error_analysis import agreement, alone, slices
from rayon.evaluation import Interval
from rayon.plots import MOST_ROWS, bars, curves, differences, dots, histograms, intervals
from rayon.plots_drift import MOST_WINDOWS, drift_map, timeline, views
from rayon.plots_photos import Tile, photo_sheet
from rayon.plots_quality import agreement as draw_agreement
from rayon.plots_quality import confusions, coverage, reliability, scores, shares_of_evidence
from rayon.plots_quality import slices as draw_slices
from rayon.report import Report, make_report

COSTLY = "Jeux $5 & $10_a"


def drawn(figure: Figure) -> Image.Image:
    """The figure as a notebook shows it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    return Image.open(buffer)


def texts(figure: Figure) -> list[str]:
    found: list[Any] = [*figure.texts]
    for axes in figure.axes:
        found += [*axes.texts, axes.xaxis.label, axes.yaxis.label, axes.title, *axes.get_yticklabels()]
        found += axes.get_xticklabels()
    return [text.get_text().replace("\\$", "$") for text in found if text.get_text()]


@pytest.fixture
def make_report_of() -> Callable[..., Report]:
    def make(skill: float, products: int = 300) -> Report:
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 3, products)
        log = log_softmax(rng.normal(size=(products, 3)) + skill * np.eye(3)[labels])
        return make_report(labels, log, (COSTLY, "Lampes", "Vases"), (0.9, 0.95), np.full(products, 0.7), 100)

    return make


def test_bars_are_as_long_as_their_values_and_the_first_is_on_top():
    table = pd.DataFrame({"train": [30, 5], "test": [10, 1]}, index=[COSTLY, "b"])
    figure = bars(table, "products")
    (axes,) = figure.axes
    widths = [patch.get_width() for patch in axes.patches]
    assert widths == [30, 5, 10, 1] and [patch.get_x() for patch in axes.patches] == [0, 0, 30, 5]
    assert {"40", "6", COSTLY, "products"} <= set(texts(figure))
    assert axes.get_ylim()[0] > axes.get_ylim()[1]
    drawn(figure)


def test_more_rows_than_there_is_room_for_are_not_drawn():
    figure = bars(pd.DataFrame({"products": range(100)}), "products")
    assert len(figure.axes[0].patches) == MOST_ROWS


def test_dots_stand_at_their_values():
    table = pd.DataFrame({"then": [0.1, 0.2], "now": [0.3, 0.2]}, index=["a", "b"])
    figure = dots(table, "share")
    then, now = figure.axes[0].collections[1:]
    np.testing.assert_allclose(then.get_offsets()[:, 0], [0.1, 0.2])
    np.testing.assert_allclose(now.get_offsets()[:, 0], [0.3, 0.2])
    assert any(text.endswith("%") for text in texts(figure))


def test_gains_go_right_and_losses_left():
    figure = differences(pd.Series({"a": -0.2, "b": 0.0, "c": 0.1}), "gain")
    left, nothing, right = figure.axes[0].patches
    assert left.get_width() < 0 == nothing.get_width() < right.get_width()
    assert left.get_facecolor() != right.get_facecolor()
    assert {"-0.20", "+0.10"} <= set(texts(figure)) and "+0.00" not in texts(figure)


def test_a_distribution_holds_every_finite_value():
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(size=500), [1e9, np.nan])
    (axes,) = histograms({"how much": {"then": values, "now": values[:100]}}).axes
    for stairs in axes.patches:
        assert stairs.get_data().values.sum() == pytest.approx(1.0)
    assert axes.get_xlim()[1] < 10  # one outlier does not squeeze the others


def test_whole_numbers_have_whole_bins():
    (axes,) = histograms({"characters": {"title": np.arange(10, 30).repeat(5)}}).axes
    assert set(np.diff(axes.patches[0].get_data().edges)) == {1.0}
    assert set(axes.patches[0].get_data().values) == {0.05}


def test_intervals_reach_from_low_to_high():
    figure = intervals({"macro-F1": {"a": Interval(0.8, 0.7, 0.85), "b": Interval(0.9, 0.88, 0.95)}}, highlight="b")
    lines = figure.axes[0].lines
    assert [list(line.get_xdata()) for line in lines] == [[0.7, 0.85], [0.8], [0.88, 0.95], [0.9]]
    assert lines[0].get_color() != lines[2].get_color()
    assert {"0.800", "0.900", "a", "b"} <= set(texts(figure))


def test_curves_draw_the_columns_that_are_there():
    table = pd.DataFrame({"loss": [1.0, 0.5]}, index=[1, 2])
    figure = curves(table, {"nats": ["loss", "other"]}, "epoch")
    (line,) = figure.axes[0].lines
    assert list(line.get_xdata()) == [1, 2] and list(line.get_ydata()) == [1.0, 0.5]


@pytest.mark.parametrize(
    "figure",
    [
        photo_sheet([]),
        bars(pd.DataFrame(columns=["products"]), "words"),
        dots(pd.DataFrame(columns=["now"]), "share"),
        histograms({}),
        timeline([]),
        drift_map([]),
    ],
    ids=["photos", "bars", "dots", "histograms", "timeline", "map"],
)
def test_a_picture_of_nothing_can_be_drawn(figure):
    assert figure.axes, "a notebook shows no figure without axes"
    drawn(figure)


def test_a_sheet_shows_each_photo_and_its_lines():
    buffer = io.BytesIO()
    Image.new("RGB", (40, 20), (200, 30, 30)).save(buffer, "PNG")
    tiles = [Tile(buffer.getvalue(), [("plain", COSTLY), ("wrong", "label: Lampes")]), Tile(None, [("right", "b")])]
    figure = photo_sheet([*tiles, tiles[0]], columns=2)
    assert sum(bool(axes.images) for axes in figure.axes) == 2
    assert {COSTLY, "label: Lampes", "no photo", "b"} <= set(texts(figure))
    wrong = next(text for text in figure.texts if text.get_text() == "label: Lampes")
    assert wrong.get_color() == "#dc2626"
    colours = drawn(figure).convert("RGB").getcolors(100_000)
    assert any(colour == (200, 30, 30) for _, colour in colours)


@pytest.mark.parametrize("title", ["w" * 300, "MAJUSCULES " * 20, "mot " * 90], ids=["one word", "capitals", "words"])
def test_lines_stay_below_their_photo(title):
    figure = photo_sheet([Tile(None, [("plain", title)])] * 2, columns=2)
    figure.canvas.draw()
    second = figure.axes[1].get_position().x0 * figure.bbox.width
    first = [text for text in figure.texts if text.get_position()[0] < 0.4]
    assert max(text.get_tightbbox().x1 for text in first) < second
    assert len(figure.texts) <= 4


def test_reports_are_drawn_side_by_side(make_report_of):
    reports = {"good": make_report_of(4.0), COSTLY: make_report_of(1.0)}
    figure = reliability(reports)
    assert [axes.get_title(loc="left").replace("\\$", "$") for axes in figure.axes] == ["good", COSTLY]
    assert any(text == f"ECE {reports['good'].ece:.3f}" for text in texts(figure))
    points = [len(axes.collections[0].get_offsets()) for axes in figure.axes]
    assert points == [len(report.reliability) for report in reports.values()]
    (axes,) = coverage(reports).axes
    assert axes.get_ylim()[1] > 1 and axes.get_ylim()[0] < 0.9
    panels = scores(reports).axes
    assert [panel.get_xlabel() for panel in panels] == ["macro-F1", "weighted-F1", "accuracy"]
    for figure in (reliability(reports), coverage(reports), scores(reports, "good")):
        drawn(figure)


def test_confusions_leave_out_what_is_right_and_count_what_is_not(make_report_of):
    report = make_report_of(1.0)
    figure = confusions(report.confusion, report.categories)
    counts = np.asarray(report.confusion)
    numbers = [int(text) for text in texts(figure) if text.isdigit()]
    assert sorted(numbers) == sorted(counts[counts > 0].tolist())
    shares = figure.axes[0].images[0].get_array()
    assert np.isnan(np.ma.filled(np.diagonal(shares), np.nan)).all()
    assert figure.axes[0].get_xlabel() == "predicted" and COSTLY in texts(figure)
    assert len(confusions(np.eye(60, dtype=int), [f"c{n}" for n in range(60)], 40).axes[0].get_yticks()) == 40


def test_evidence_and_slices_can_be_seen():
    rng = np.random.default_rng(0)
    judged = pd.DataFrame(
        {
            "row": range(60), "product_id": "p", "title": "t", "category": "a", "predicted": "a", "confidence": 0.9,
            "right": rng.random(60) < 0.8, "filed": True, "text_share": rng.random(60), "has_text": True,
            "has_description": rng.random(60) < 0.5, "has_photo": True, "language": "fr",
        }
    )  # fmt: skip
    figure = shares_of_evidence(judged["text_share"].to_numpy(), judged["right"].to_numpy())
    assert sum(patch.get_height() for patch in figure.axes[0].patches) == 60
    drawn(figure)
    table = slices(judged)
    figure = draw_slices(table)
    assert f"no description ({(~judged['has_description']).sum()})" in texts(figure)
    drawn(figure)
    log = np.log(np.full((60, 1), 1.0))
    figure = draw_agreement(agreement(alone(judged, log, log, ["a"])))
    assert sum(patch.get_width() for patch in figure.axes[0].patches) == 60
    drawn(figure)


def point(hour: int, verdict: str, measured: bool = True, **ratios: float) -> dict[str, Any]:
    interval = {"value": 0.9, "low": 0.8, "high": 0.95}
    both = {"accuracy": interval, "macro_f1": interval}
    return {
        "run": f"MonitorFlow/{hour}", "time": f"2026-01-01T{hour:02d}:00:00+00:00", "verdict": verdict, "rows": 100,
        "ratios": ratios, "measured": both if measured else None, "estimated": both,
    }  # fmt: skip


def test_windows_stand_in_their_order_with_their_verdict():
    points = [point(1, "ok", text_view=0.2), point(2, "retrain", False, text_view=3.0, accuracy=1.2)]
    figure = drift_map(points, {"text_view": "texts"})
    (axes,) = figure.axes
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names == ["texts", "accuracy"]
    ticks = axes.get_xticklabels()
    assert ["ok" in ticks[0].get_text(), "retrain" in ticks[1].get_text()] == [True, True]
    assert ticks[0].get_color() != ticks[1].get_color()
    assert {"0.2", "3.0", "1.2"} <= set(texts(figure))
    drawn(figure)
    measured, estimated = timeline(points).axes[0].containers
    assert len(measured[0].get_xdata()) == 1 and len(estimated[0].get_xdata()) == 2


def test_of_many_windows_the_newest_are_drawn():
    points = [point(hour, "ok", accuracy=0.1) for hour in range(MOST_WINDOWS + 4)]
    labels = [label.get_text() for label in drift_map(points).axes[0].get_xticklabels()]
    assert len(labels) == MOST_WINDOWS and f"{MOST_WINDOWS + 3:02d}:00" in labels[-1]


def test_a_window_that_was_too_small_has_its_verdict_and_no_values():
    few = {**point(1, "too few rows"), "measured": None, "estimated": None}
    drawn(timeline([few, point(2, "ok")]))
    assert any("too\nfew" in text for text in texts(drift_map([few, point(2, "ok", accuracy=1.0)])))


def test_positions_without_a_photo_are_left_out():
    rng = np.random.default_rng(0)
    then, now = rng.normal(size=(50, 16)), rng.normal(size=(20, 16))
    now[:5] = np.nan
    (axes,) = views({"photos": (then, now)}).axes
    assert [len(dots.get_offsets()) for dots in axes.collections] == [50, 15]
    drawn(views({"texts": (np.full((3, 0), np.nan), np.full((3, 0), np.nan))}))
