"""A folder and a bucket do the same, and hold one gc at a time."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from rayon.keeping.places import WORK, Bucket, Folder, KeepError, Place, open_place


def put(place: Place, name: str, content: bytes, **noted: str) -> None:
    if isinstance(place, Bucket):
        place._client.put_object(**place._at(name), Body=content, Metadata=noted)
        return
    path = place._root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def do_it_all(place: Place) -> None:
    for name in ("TrainFlow/12/start/1/0.data.json", "TrainFlow/123/start/1/0.data.json", "TrainFlow/data/ab/abc"):
        put(place, name, name.encode())
    assert place.folders("TrainFlow") == ["12", "123", "data"]
    assert place.folders("ScoreFlow") == []
    (entry,) = place.entries("TrainFlow/12")
    assert entry[:2] == ("TrainFlow/12/start/1/0.data.json", 32)
    assert abs(datetime.now(UTC) - entry.written) < timedelta(minutes=5)
    names = ["TrainFlow/data/ab/abc", "TrainFlow/data/ab/none"]
    assert place.read_all(names) == [b"TrainFlow/data/ab/abc", None]
    place.move([("TrainFlow/data/ab/abc", f"{WORK}/abc"), ("TrainFlow/data/ab/none", f"{WORK}/none")])
    assert place.read("TrainFlow/data/ab/abc") is None
    assert place.read(f"{WORK}/abc") == b"TrainFlow/data/ab/abc" and place.read(f"{WORK}/none") is None
    place.delete_tree("TrainFlow/12")
    place.delete_tree("TrainFlow/none")
    assert sorted(e.name for e in place.entries("TrainFlow")) == ["TrainFlow/123/start/1/0.data.json"]
    other = open_place(place.location)
    with place.lock(), pytest.raises(KeepError, match="another gc works on"), other.lock():
        pass
    with other.lock():
        pass


def test_a_folder(tmp_path):
    do_it_all(Folder(str(tmp_path / "root")))


def test_a_bucket(bucket):
    place = open_place(f"{bucket}/some/prefix")
    assert isinstance(place, Bucket)
    do_it_all(place)
    put(place, "blob", b"packed", cas_raw="true")
    place.move([("blob", "there")])
    noted = place._client.head_object(**place._at("there"))["Metadata"]
    assert noted == {"cas_raw": "true"}, "Metaflow reads from it how a blob is packed"
    objects = place._client.list_objects_v2(Bucket="rayon-tests", Prefix="some/")["Contents"]
    assert all(not one["Key"].endswith("/") for one in objects), "no empty objects are left for folders"
    old = {"host": "elsewhere", "process": 1, "time": (datetime.now(UTC) - timedelta(days=2)).isoformat()}
    put(place, f"{WORK}/lock", json.dumps(old).encode())
    with place.lock():  # its holder was killed two days ago
        assert json.loads(place.read(f"{WORK}/lock") or b"")["host"] != "elsewhere"


def test_other_kinds_of_datastores_are_refused():
    with pytest.raises(KeepError, match="neither a folder nor S3"):
        open_place("gs://bucket/prefix")
