"""Outputs: whole or not there, in a folder; addresses that cannot be written to are refused."""

from __future__ import annotations

import pytest

from rayon.data.outputs import OutputError, Outputs


def test_what_is_read_is_what_was_written(tmp_path):
    outputs = Outputs(str(tmp_path / "new" / "folder"))
    assert outputs.read("a/b.bin") is None
    assert outputs.write("a/b.bin", b"one") == str(tmp_path / "new" / "folder" / "a" / "b.bin")
    outputs.write("a/b.bin", b"two")
    assert outputs.read("a/b.bin") == b"two"
    assert [file.name for file in (tmp_path / "new" / "folder" / "a").iterdir()] == ["b.bin"]


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="choose another --output"):
        Outputs(str(tmp_path / "file")).write("a.bin", b"")


@pytest.mark.parametrize("address", ["ftp://host/x", "s3://", "http://host"])
def test_other_addresses_are_refused(address):
    with pytest.raises(OutputError, match="s3://bucket/prefix"):
        Outputs(address)
