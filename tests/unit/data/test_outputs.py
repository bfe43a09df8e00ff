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


def test_a_bucket_holds_what_a_folder_holds(bucket):
    outputs = Outputs(f"{bucket}/scores/today")
    assert outputs.read("predictions/part-00000.parquet") is None
    assert (
        outputs.write("predictions/part-00000.parquet", b"one")
        == f"{bucket}/scores/today/predictions/part-00000.parquet"
    )
    outputs.write("predictions/part-00000.parquet", b"two")
    assert Outputs(f"{bucket}/scores/today/").read("predictions/part-00000.parquet") == b"two"
    with pytest.raises(OutputError, match="cannot be written"):
        Outputs("s3://no-such-bucket/x").write("a.bin", b"")
