"""Which files a scoring takes, and what it notes for the next one."""

from __future__ import annotations

import os

import pytest

from rayon.data.outputs import Outputs
from rayon.data.tables import CatalogError
from rayon.preparing import RayonError
from rayon.score_files import choose_files


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


def test_what_cannot_be_chosen_from_is_a_sentence(folder, tmp_path):
    with pytest.raises(RayonError, match="'all' or 'new', and not 'newer'"):
        choose_files(str(folder), "newer", {})
    with pytest.raises(CatalogError, match="no such file, or folder of Parquet files"):
        choose_files(str(tmp_path / "nothing"), "new", {})
