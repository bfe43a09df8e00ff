"""`python -m rayon simulate`, as a person would run it: lots with times, drift, people who label; plain mistakes."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest
from support_flows import Finished
from support_trained import MakeTrained, Trained

START = ("--start", "2026-01-01T08:00:00")


@pytest.fixture(scope="module")
def trained(make_trained: MakeTrained) -> Trained:
    return make_trained("simulated", 2)


@pytest.fixture(scope="module")
def replay(trained: Trained, tmp_path_factory):
    """A factory: simulate under the shop's settings, or some of them changed, into a folder of its own."""
    shop = trained.shop

    def run(*arguments: str, **sections) -> tuple[Finished, pd.DataFrame]:
        folder = tmp_path_factory.mktemp("traffic")
        before = {**shop.settings}
        shop.change(**sections)
        file = folder / "experiment.yaml"
        file.write_text(shop.as_yaml())
        shop.settings = before
        command = [sys.executable, "-m", "rayon", "simulate", "-e", str(file), "--output", str(folder / "lots")]
        done = shop.execute([*command, *START, *arguments])
        return done, lots(folder / "lots")

    return run


def lots(folder: Path) -> pd.DataFrame:
    files = sorted(folder.glob("*.parquet"))
    return pd.concat([pq.read_table(file).to_pandas() for file in files]) if files else pd.DataFrame()


def test_lots_arrive_on_time_and_people_look_where_they_are_asked_to(replay, trained):
    done, frame = replay("--lots", "4", "--size", "30", "--minutes", "90", "--feedback", "0.8")
    assert done.code == 0, done.output
    times = frame.groupby("time").size()
    assert [str(time) for time in times.index] == [f"2026-01-01 {clock}:00+00:00" for clock in
                                                   ("08:00", "09:30", "11:00", "12:30")]  # fmt: skip
    assert 100 <= len(frame) <= 120 and times.max() == 30
    assert set(frame["model_version"]) == {f"TrainFlow/{trained.runs[-1].run_id}"}
    looked = frame["human_category"] != ""
    assert looked[frame["decision"] == "review"].mean() == pytest.approx(0.8, abs=0.15)
    assert done.output.count("right") == 4


def test_the_same_seed_tells_the_same_story(replay):
    first, second = (replay("--lots", "1", "--size", "20", "--feedback", "0.5", "--seed", "3")[1] for _ in range(2))
    pd.testing.assert_frame_equal(first, second)


def test_drift_is_made_to_order(replay):
    plain = replay("--lots", "1", "--size", "60")[1]
    broken = replay("--lots", "1", "--size", "60", "--drift", "broken_photos")[1]
    assert plain["has_image"].mean() > 0.8
    assert broken["has_image"].mean() < 0.7 or (broken["photo_problem"] != "").mean() > 0.2


def test_the_unseen_products_are_replayed_where_there_are_any(replay):
    done, frame = replay("--lots", "2", "--size", "20", "--feedback", "1", "--mistakes", "0", split={"unseen": 0.3})
    assert done.code == 0, done.output
    assert len(frame) == 40 and set(frame["source"]) == {"products.csv"}
    labelled = frame[frame["human_category"] != ""]
    assert len(labelled) and (labelled["human_category"] == labelled["given_category"]).all()


def test_mistakes_are_sentences(replay):
    for arguments, sections, sentence in (
        (("--model", "99"), {}, "there is no run TrainFlow/99 here"),
        ((), {"catalog": {"synthetic": None}}, "there are no products to replay"),
        (("--drift", "weather"), {}, "weather"),
        ((), {"score": {"precision": 0.5}}, "no threshold for a precision of 0.5"),
    ):
        done, _ = replay(*arguments, **sections)
        assert done.code != 0 and sentence in done.output and "Traceback" not in done.output, done.output
