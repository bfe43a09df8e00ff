"""The demonstration's bookkeeping: what came back of the lost accuracy, the table, the picture."""

from __future__ import annotations

import csv

import pytest
from PIL import Image

from rayon.demo_loop import Day, draw, recovered, write_table


@pytest.fixture
def days() -> list[Day]:
    accuracies = (0.9, 0.94, 0.42, 0.5, 0.84)
    return [
        Day(
            n,
            "TrainFlow/1",
            n > 2,
            100,
            accuracy,
            0.8,
            30,
            "ok" if n < 3 else "retrain",
            n / 2,
            "",
            "T/2" if n == 4 else "",
        )
        for n, accuracy in enumerate(accuracies, start=1)
    ]


def test_what_came_back_is_measured_against_what_was_lost(days):
    assert recovered(days) == pytest.approx((0.84 - 0.42) / (0.92 - 0.42))
    assert recovered(days[:3]) == 0.0
    assert recovered(days[:2]) != recovered(days[:2])  # nothing was lost yet: no number


def test_the_table_holds_every_day(days, tmp_path):
    write_table(days, tmp_path / "days.csv")
    with open(tmp_path / "days.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["accuracy"] for row in rows] == ["0.9", "0.94", "0.42", "0.5", "0.84"] and rows[3]["promoted"] == "T/2"


def test_the_picture_is_drawn(days, tmp_path):
    draw(days, tmp_path / "days.png")
    with Image.open(tmp_path / "days.png") as picture:
        assert picture.width > 800 and len(picture.convert("RGB").getcolors(10**6)) > 20
