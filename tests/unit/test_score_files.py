"""Which files a scoring takes, and what it notes for the next one."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from rayon import score_files
from rayon.data.outputs import Outputs
from rayon.data.tables import CatalogError
from rayon.preparing import RayonError
from rayon.score_files import choose_files, scored_files

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path):
    incoming = tmp_path / "incoming"
    incoming.mkdir()
    for name in ("a.parquet", "b.parquet"):
        (incoming / name).write_bytes(b"rows")
    return incoming


def test_what_was_scored_is_not_new_until_it_is_written_again(folder):
    place = str(folder)
    first = choose_files(place, "new", {})
    assert (first.names, first.found) == ({"incoming/a.parquet", "incoming/b.parquet"}, 2)
    assert choose_files(place, "new", first.record).names == set()
    (folder / "c.parquet").write_bytes(b"more")
    os.utime(folder / "b.parquet", ns=(1, 1))  # as large as before
    second = choose_files(place, "new", first.record)
    assert second.names == {"incoming/b.parquet", "incoming/c.parquet"}
    assert choose_files(place, "new", second.record).names == set()


def test_all_files_are_all_files_and_noted_as_scored(folder):
    everything = choose_files(str(folder), "all", {})
    assert everything.names is None
    assert choose_files(str(folder), "new", everything.record).names == set()


def test_other_inputs_stay_noted_and_files_that_are_gone_do_not(folder, tmp_path):
    alone = tmp_path / "today.csv"
    alone.write_text("product_id")
    record = choose_files(str(folder), "new", choose_files(str(alone), "new", {}).record).record
    (folder / "a.parquet").unlink()
    later = choose_files(str(folder), "new", record).record
    assert [mark[0] for mark in later[str(folder)]] == ["incoming/b.parquet"]
    assert choose_files(str(alone), "new", later).names == set()


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_a_folder_may_wait_for_its_first_file(kind, request, tmp_path):
    place = f"{request.getfixturevalue('bucket')}/incoming" if kind == "s3" else str(tmp_path)
    nothing = choose_files(place, "new", {})
    assert (nothing.names, nothing.found) == (set(), 0)
    Outputs(place).write("a.parquet", b"rows")
    assert len(choose_files(place, "new", nothing.record).names or ()) == 1
    with pytest.raises(CatalogError, match="no such file, or folder of Parquet files"):
        choose_files(f"{place}/other", "all", {})


class Scoring:
    """A run of ScoreFlow that finished: when it looked and ended, in hours, and what it noted."""

    def __init__(self, looked: float, ended: float, record, began: float | None = None) -> None:
        when = {name: NOW + timedelta(hours=hours) for name, hours in (("looked", looked), ("ended", ended))}
        self.created_at = NOW + timedelta(hours=looked if began is None else began)
        self.id, self.finished_at, self.reads = "1", when["ended"], 0
        self._left = {"looked": when["looked"].isoformat(), "scored_files": record}

    def __getitem__(self, step: str):
        self.reads += 1
        return SimpleNamespace(task={name: SimpleNamespace(data=data) for name, data in self._left.items()})


@pytest.fixture
def finish(monkeypatch):
    """A factory that makes scorings the ones that finished, the last begun first."""
    return lambda *runs: monkeypatch.setattr(score_files, "finished_runs", lambda flow, tag: iter(runs))


@pytest.mark.parametrize("resumed", [False, True])
def test_files_of_a_long_scoring_are_not_new_after_a_short_one_beside_it(folder, tmp_path, finish, resumed):
    alone = tmp_path / "today.csv"
    alone.write_text("product_id")
    finish()
    long = choose_files(str(folder), "new", scored_files("shop")).record
    short = choose_files(str(alone), "new", scored_files("shop")).record  # it began while the long one worked
    finish(Scoring(10, 51 if resumed else 11, short, began=50 if resumed else None), Scoring(0, 20, long))
    for source in (folder, alone):
        assert choose_files(str(source), "new", scored_files("shop")).names == set()
    (folder / "c.parquet").write_bytes(b"more")
    (folder / "a.parquet").unlink()
    later = choose_files(str(folder), "new", scored_files("shop"))
    assert later.names == {"incoming/c.parquet"}
    assert {mark[0] for mark in later.record[str(folder)]} == {"incoming/b.parquet", "incoming/c.parquet"}


def test_records_are_read_of_the_scorings_that_the_latest_cannot_know_alone(folder, finish):
    known = choose_files(str(folder), "new", {}).record
    earlier, oldest = (Scoring(start, start + 5, {"/other": [("x", 1, "t")]}) for start in (-30, -1000))
    finish(Scoring(0, 1, known), earlier, oldest)
    assert scored_files("shop") == {source: sorted(marks) for source, marks in known.items()}
    assert not earlier.reads and not oldest.reads


def test_what_cannot_be_chosen_from_is_a_sentence(folder, tmp_path):
    with pytest.raises(RayonError, match="'all' or 'new', and not 'newer'"):
        choose_files(str(folder), "newer", {})
    with pytest.raises(CatalogError, match="no such file, or folder of Parquet files"):
        choose_files(str(tmp_path / "nothing"), "new", {})
