"""Catalogues and photos on S3, read as those of this machine are."""

from __future__ import annotations

import dataclasses
import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory

import pandas as pd
import pytest

from rayon.config import parse_config, resolve_paths
from rayon.data.building import build_shard
from rayon.data.fetching import fetch, fetch_catalog, list_files
from rayon.data.images import PhotoError, read_photo
from rayon.data.outputs import NoAnswerError, OutputError, Outputs
from rayon.data.planning import plan_dataset
from rayon.data.shards import read_table
from rayon.data.tables import CatalogError


def upload(folder, address: str) -> None:
    outputs = Outputs(address)
    for file in sorted(folder.rglob("*")):
        if file.is_file() and "cache" not in file.parts and "shards" not in file.parts:
            outputs.write(file.relative_to(folder).as_posix(), file.read_bytes())


@pytest.fixture
def remote(make_config, catalogue, bucket, tmp_path):
    """The catalogue's settings with everything on S3."""
    upload(catalogue, f"{bucket}/shop")
    config = make_config()
    addresses = {"products": f"{bucket}/shop/products.csv", "images": f"{bucket}/shop/images"}
    return dataclasses.replace(config, catalog=dataclasses.replace(config.catalog, **addresses), cache=str(tmp_path))


def prepared(config, folder, previous=None, keys=None):
    config = dataclasses.replace(config, catalog=fetch_catalog(config.catalog, folder))
    return plan_dataset(config, previous, keys), config


def test_a_catalogue_on_s3_gives_the_same_shards(remote, make_config, tmp_path):
    plan, config = prepared(remote, tmp_path / "fetched")
    here = make_config()
    there = [build_shard(part, config).ref.fingerprint for part in plan.parts]
    beside = [build_shard(part, here).ref.fingerprint for part in plan_dataset(here, None, None).parts]
    # the keys of rows differ with their photos' times, what an encoder reads does not
    assert len(there) == len(beside)
    for part, other in zip(plan.parts, plan_dataset(here, None, None).parts, strict=True):
        one, two = build_shard(part, config), build_shard(other, here)
        assert (one.stats, len(one.rejects)) == (two.stats, len(two.rejects))


def test_a_photo_that_changes_on_s3_makes_its_product_new(remote, bucket, catalogue, tmp_path):
    from rayon.data.preprocessing import combine

    plan, config = prepared(remote, tmp_path / "fetched")
    built = [build_shard(part, config) for part in plan.parts]
    keys = {shard.ref.fingerprint: shard.keys for shard in built}
    manifest, _ = combine(config, plan, built, None)
    again, _ = prepared(remote, tmp_path / "fetched", manifest, lambda ref: keys[ref.fingerprint])
    assert again.counts["new"] == 0
    changed = sorted((catalogue / "images").iterdir())
    Outputs(f"{bucket}/shop").write(f"images/{changed[0].name}", changed[1].read_bytes() + b" ")
    again, _ = prepared(remote, tmp_path / "fetched", manifest, lambda ref: keys[ref.fingerprint])
    assert again.counts["new"] == 1


def test_a_file_is_copied_again_only_once_it_has_changed(bucket, tmp_path):
    outputs = Outputs(bucket)
    outputs.write("a/products.csv", b"one")
    first = fetch(f"{bucket}/a/products.csv", tmp_path)
    stamp = first.stat().st_mtime_ns
    assert fetch(f"{bucket}/a/products.csv", tmp_path) == first and first.stat().st_mtime_ns == stamp
    outputs.write("a/products.csv", b"another")
    assert fetch(f"{bucket}/a/products.csv", tmp_path).read_bytes() == b"another"
    assert first.read_bytes() == b"one"


def test_a_folder_of_parquet_files_is_copied_whole(bucket, tmp_path):
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "one.parquet")
    for name in ("in/one.parquet", "in/two.parquet", "in/notes.txt"):
        Outputs(bucket).write(name, (tmp_path / "one.parquet").read_bytes())
    copied = fetch(f"{bucket}/in/", tmp_path / "copies")
    assert sorted(file.name for file in copied.iterdir()) == ["one.parquet", "two.parquet"]


@pytest.mark.parametrize("name", ["nothing.csv", "none/", "a"])
def test_what_is_not_there_is_said_with_its_address(bucket, tmp_path, name):
    Outputs(bucket).write("a/notes.txt", b"no table")
    with pytest.raises(CatalogError, match=f"{bucket}/{name}.*Check the address"):
        fetch(f"{bucket}/{name}", tmp_path)


def test_what_lies_directly_below_the_root_is_there():
    if not os.access("/", os.W_OK):
        pytest.skip("nothing can be written directly below /")
    with NamedTemporaryFile(dir="/", prefix="rayon-", suffix=".csv") as file:
        assert [listed.name for listed in list_files(file.name)] == [file.name[1:]]
    with TemporaryDirectory(dir="/", prefix="rayon-") as folder:
        (Path(folder) / "one.parquet").touch()
        assert [listed.name for listed in list_files(folder)] == [f"{folder[1:]}/one.parquet"]


def test_photos_on_s3_are_bounded_and_stay_in_their_folder(bucket):
    Outputs(bucket).write("photos/a.jpg", b"x" * 2000)
    folder = f"{bucket}/photos"
    assert read_photo("a.jpg", False, 1.0, folder) == b"x" * 2000
    assert read_photo(f"{folder}/a.jpg", False, 1.0) == b"x" * 2000
    for location, megabytes, reason in (
        ("a.jpg", 0.001, "photo_too_many_bytes"),
        ("b.jpg", 1.0, "photo_missing"),
        ("../secret.jpg", 1.0, "photo_outside_folder"),
        (f"{bucket}/other/secret.jpg", 1.0, "photo_outside_folder"),
    ):
        with pytest.raises(PhotoError) as raised:
            read_photo(location, False, megabytes, folder)
        assert raised.value.reason == reason


@pytest.fixture
def refusing(bucket, monkeypatch) -> Iterator[str]:
    """A folder of a store that answers, and refuses whatever it is asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<Error><Code>AccessDenied</Code></Error>" if self.command == "GET" else b""
            self.send_response(403)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_HEAD(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}).start()
    monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    yield "s3://foreign/photos"
    server.shutdown()
    server.server_close()


def photos_named(make_config, catalogue, folder, *addresses: str, images: str | None = None):
    """Settings of a catalogue whose first photo is there and whose others have these addresses."""
    there = sorted((catalogue / "images").iterdir())[0] if images is None else "a.png"
    rows = [f"{n},lampe {n},,c,{image}" for n, image in enumerate([there, *addresses])]
    (folder / "products.csv").write_text("\n".join(["product_id,designation,description,category,image", *rows]))
    return make_config(catalog={"products": str(folder / "products.csv"), "images": images})


def test_an_address_that_is_none_costs_its_own_photo(make_config, catalogue, bucket, tmp_path):
    addresses = ["htps://shop/a.jpg", "ftp://shop/a.jpg", "s3:///a.jpg", "s3://[b/a.jpg", "s3://no-such-bucket/a.jpg"]
    config = photos_named(make_config, catalogue, tmp_path, *addresses)
    (part,) = plan_dataset(config, None, None).parts
    built = build_shard(part, config)
    assert built.stats["rows"] == 6 and built.stats["photos"] == 1
    assert built.rejects["reason"].tolist() == [*["photo_unreadable"] * 4, "photo_missing"]
    assert "'htps://shop/a.jpg' is no address of a photo" in built.rejects["detail"][0]
    assert bytes(16) not in read_table(built.keys)["row_key"].to_pylist()  # nor is it tried again


def test_a_bucket_that_refuses_us_costs_its_own_photos(make_config, catalogue, refusing, tmp_path):
    config = photos_named(make_config, catalogue, tmp_path, f"{refusing}/a.jpg", f"{refusing}/b.jpg")
    (part,) = plan_dataset(config, None, None).parts
    built = build_shard(part, config)
    assert built.stats["photos"] == 1 and built.rejects["reason"].tolist() == ["photo_unreadable"] * 2


def test_a_folder_of_the_settings_that_refuses_us_stops_the_run(make_config, catalogue, refusing, tmp_path):
    config = photos_named(make_config, catalogue, tmp_path, images=refusing)
    with pytest.raises(OutputError, match="cannot be listed"):
        plan_dataset(config, None, None)
    with pytest.raises(OutputError, match="does not answer"):
        read_photo("a.png", False, 1.0, refusing)


def test_a_store_that_is_away_stops_the_run(make_config, catalogue, bucket, tmp_path, monkeypatch):
    monkeypatch.setenv("METAFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("rayon.data.outputs._TRIES", 1)
    config = photos_named(make_config, catalogue, tmp_path, f"{bucket}/a.jpg")
    with pytest.raises(NoAnswerError):
        plan_dataset(config, None, None)
    with pytest.raises(NoAnswerError):
        read_photo(f"{bucket}/a.jpg", False, 1.0)


def test_addresses_are_no_paths_of_the_project(tmp_path):
    catalog = {"products": "s3://shop/products.csv", "images": "s3://shop/images", "labels": "labels.csv"}
    config = resolve_paths(parse_config({"name": "shop", "catalog": catalog, "shared": "s3://shop/shared"}), tmp_path)
    assert config.catalog.products == "s3://shop/products.csv" and config.shared == "s3://shop/shared"
    assert config.catalog.images == "s3://shop/images" and config.catalog.labels == str(tmp_path / "labels.csv")


@pytest.mark.parametrize("where", ["folder", "bucket"])
def test_of_a_folder_the_named_files_alone_are_there(where, tmp_path, request):
    place = str(tmp_path / "shop") if where == "folder" else request.getfixturevalue("bucket")
    outputs = Outputs(place)
    for name in ("in/one.parquet", "in/two.parquet", "in/deeper/three.parquet", "in/notes.txt"):
        outputs.write(name, name.encode())
    assert sorted(file.name for file in list_files(f"{place}/in")) == ["in/one.parquet", "in/two.parquet"]
    for _ in range(2):
        found = fetch(f"{place}/in", tmp_path / "fetched", ["in/two.parquet"])
        assert {file.name: file.read_bytes() for file in found.iterdir()} == {"two.parquet": b"in/two.parquet"}
    outputs.write("in/two.parquet", b"newer")
    assert (fetch(f"{place}/in", tmp_path / "fetched", ["in/two.parquet"]) / "two.parquet").read_bytes() == b"newer"
