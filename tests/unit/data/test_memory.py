"""What grows with a catalogue and what does not: parts wait on disk, shards are counted one by one, results stay."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pandas as pd
import pyarrow as pa

from rayon.config import Split, parse_config
from rayon.data.building import BuiltShard, pack_shard
from rayon.data.census import take_census
from rayon.data.dataset import open_dataset, read_photos
from rayon.data.earlier import Earlier
from rayon.data.planning import Plan, plan_dataset
from rayon.data.preprocessing import build_shard, combine
from rayon.data.rejects import EXAMPLES, Rejects, summarise
from rayon.data.shards import KEYS_SCHEMA, Manifest, ShardRef, read_table, write_table
from rayon.data.spooling import Spool
from rayon.data.validation import join_rejects
from rayon.schema import REJECT_COLUMNS

SPLIT = Split(validation=0.2, test=0.3)


def test_a_version_is_what_it_was_before_catalogues_were_streamed(make_catalog):
    rows = [
        (f"{n:04d}", f"Théière n° {n % 2000}", f"<b>décor {n}</b>" if n % 3 else "", f"c{n % 7}", "")
        for n in range(2500)
    ]
    config = make_catalog(rows, preprocess={"shard_rows": 1500, "min_products_per_category": 1})
    plan = plan_dataset(config, None, None)
    manifest, _ = combine(config, plan, (build_shard(part, config) for part in plan.parts), None)
    # made by the code that had everything in memory
    assert manifest.fingerprint == "df1cd75c9158ea0b12696ea48be2e03851ef7a73acdb49b05e898035f4668459"
    assert [ref.fingerprint[:12] for ref in manifest.shards] == ["aa8edfbc70d4", "b06fd495e48f"]
    assert manifest.counts["title_duplicates"] == 500 and manifest.counts["without_description"] == 834


def test_a_shard_does_not_show_how_many_rows_were_packed_at_a_time(make_catalog, make_photo):
    # photos in the first thousand rows alone, refused ones in the second
    photos = {"a.jpg": make_photo(), "zero.jpg": b""}
    images = ["a.jpg" if n < 900 else "zero.jpg" if 1500 < n < 1510 else "" for n in range(2100)]
    rows = [(f"{n:04d}", f"produit {n}", "", "c", image) for n, image in enumerate(images)]
    config = make_catalog(rows, photos, preprocess={"shard_rows": 2100, "min_products_per_category": 1})
    (part,) = plan_dataset(config, None, None).parts
    built = build_shard(part, config)
    table = read_table(built.data)
    packed = pack_shard(read_table(part).to_pylist(), table["image"].to_pylist())
    assert packed.data == built.data
    assert (built.stats["photos"], built.stats["photos_refused"], len(built.rejects)) == (900, 9, 9)


def test_what_waits_in_a_file_is_the_bytes_once_it_is_pickled(tmp_path):
    spool = Spool(tmp_path / "new")
    contents = [b"", b"one", b"another" * 10_000]
    pieces = [spool.keep(content) for content in contents]
    assert [piece.read() for piece in pieces] == contents
    assert [pickle.loads(pickle.dumps(piece)) for piece in pieces] == contents
    assert list((tmp_path / "new").iterdir()) == []  # it has no name, and is gone with the process


def test_a_plan_holds_no_more_of_its_parts_than_it_is_told_to(make_catalog):
    rows = [(f"{n:04d}", f"produit {n}", "", "c", "") for n in range(120)]
    config = make_catalog(rows)
    kept: list[int] = []
    plan = plan_dataset(config, None, None, keep=lambda part: kept.append(len(part)) or len(kept))
    assert plan.parts == (1, 2, 3) and min(kept) > 0


def keys(rows: int, seed: int, photo: bool = False) -> pa.Table:
    """The keys of a shard, without products."""
    rng = np.random.default_rng(seed)
    random = {name: list(map(bytes, rng.integers(0, 256, (rows, 16), np.uint8))) for name in ("row_key", "content_key")}
    return pa.table(
        {
            **random,
            "category": [f"c{n % 9}" for n in range(rows)],
            "group": rng.integers(0, 2**63, rows, dtype=np.uint64),
            "has_photo": [photo] * rows,
            "has_description": [True] * rows,
            "photo_reject": [""] * rows,
        },
        schema=KEYS_SCHEMA,
    )


def test_two_hundred_thousand_products_are_combined_in_the_memory_of_their_hashes():
    stored = [write_table(keys(20_000, seed), "zstd") for seed in range(10)]
    config = parse_config({"name": "shop", "catalog": {"products": "p.csv"}})
    plan = Plan((), (), Rejects(), {"read": 200_000, "unchanged": 0, "new": 200_000, "removed": 0})
    built = (BuiltShard(b"", ShardRef("f", 20_000, 1), content, join_rejects([]), {}) for content in stored)
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    manifest, _ = combine(config, plan, built, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert manifest.counts["kept"] == 200_000 and manifest.counts["title_duplicates"] == 0
    assert peak < 200_000 * 60 and pa.total_allocated_bytes() - before < 5_000_000


def rejects(start: int, stop: int) -> pd.DataFrame:
    kinds = [("missing_id", "product"), ("photo_empty", "photo")]
    lines = [
        ("a.csv", n, f"é{n}", kinds[n % 7 == 0][1], kinds[n % 7 == 0][0], "why", '{"x": 1}') for n in range(start, stop)
    ]
    return pd.DataFrame(lines, columns=list(REJECT_COLUMNS))


def test_rejects_are_gathered_compressed_and_read_as_the_frame_they_are():
    gathered, more, expected = Rejects(), Rejects(), rejects(0, 9000)
    for start in range(0, 8000, 500):
        gathered.add(rejects(start, start + 500))
    more.add(rejects(8000, 8990))
    more.add(rejects(8990, 9000))
    gathered.extend(more)
    content = pickle.dumps(gathered.as_artifact())
    assert len(content) < 9000 * 30 and len(gathered) == 9000 and len(more) == 1000
    for found in (gathered.frame(), pickle.loads(content)):
        pd.testing.assert_frame_equal(found, expected)
    told, at_once = gathered.summary(), summarise(expected)
    assert told.counts == at_once.counts == [("missing_id", "product", 7714), ("photo_empty", "photo", 1286)]
    assert told.examples["row"].tolist() == at_once.examples["row"].tolist() == [0, 1, 2, 3, 7, 14]
    assert len(told.examples) == 2 * EXAMPLES and gathered.of_scope("photo") == 1286
    nothing = Rejects()
    assert tuple(nothing.frame().columns) == REJECT_COLUMNS and nothing.summary().counts == [] and not len(nothing)


def test_earlier_rows_are_found_by_their_keys_the_first_of_two_alike():
    one, two = keys(300, 1), keys(300, 2)
    twice = pa.concat_tables([two.slice(0, 10), one.slice(0, 290)])
    zeros = twice.set_column(0, "row_key", pa.array([bytes(16)] * 300, pa.binary(16)))  # as of rows to be tried again
    stored = {name: write_table(table) for name, table in (("a", one), ("b", twice), ("c", zeros))}
    refs = tuple(ShardRef(name, 300, 1, name) for name in stored)
    people = ShardRef("d", 300, 1, "d", origin="feedback")  # is not read
    earlier = Earlier(Manifest("shop", "", "", (), (*refs, people), {}, ""), lambda ref: stored[ref.locator])
    asked = [*one["row_key"].to_pylist()[:5], *keys(3, 9)["row_key"].to_pylist(), two["row_key"][0].as_py()]
    assert earlier.find(asked).tolist() == [True] * 5 + [False] * 3 + [True]
    assert np.flatnonzero(earlier.found).tolist() == [0, 1, 2, 3, 4, 300]
    assert earlier.lost() == 894 and [len(ref.removed) for ref in earlier.refs()] == [295, 299]
    assert Earlier(None, lambda ref: b"").find(asked).tolist() == [False] * 9


def test_a_census_counts_what_an_opened_version_holds(make_catalog, make_photo, tmp_path):
    rows = [(f"{n:04d}", f"titre {n}", "", "abc"[n % 3], "a.jpg" if n % 3 and n % 2 else "") for n in range(120)]
    config = make_catalog(rows, {"a.jpg": make_photo()})
    built = [build_shard(part, config) for part in plan_dataset(config, None, None).parts]
    stored = {shard.ref.fingerprint: shard for shard in built}
    manifest, _ = combine(config, plan_dataset(config, None, None), built, None)
    shards = (manifest.shards[0]._replace(removed=(1, 5)), *manifest.shards[1:])
    manifest = manifest._replace(shards=shards)
    frame = open_dataset(manifest, lambda ref: stored[ref.fingerprint].data, tmp_path / "spool", SPLIT, 5).frame
    census = take_census(manifest, lambda ref: stored[ref.fingerprint].keys, SPLIT, photos=6)
    assert list(census.mix.items()) == list(frame["category"].value_counts().items())
    assert census.splits == frame["split"].value_counts().to_dict()
    assert sorted(place.category for place in census.photos) == ["b"] * 3 + ["c"] * 3
    assert (0, 1) not in {place[:2] for place in census.photos} and len(set(census.photos)) == 6
    opened: list[str] = []

    def read_shard(ref: ShardRef) -> bytes:
        opened.append(ref.fingerprint)
        return stored[ref.fingerprint].data

    photos = read_photos(manifest, [place[:2] for place in census.photos[:1]] * 2, read_shard, tmp_path / "other")
    assert photos[0] and photos[0] == photos[1] and photos[0].startswith(b"\xff\xd8")
    assert len(opened) == 1
