from __future__ import annotations

import multiprocessing
import os
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from rayon.config import Split
from rayon.data.building import pack_shard
from rayon.data.dataset import Dataset, DatasetError, open_dataset, overruled
from rayon.data.images import decode_square
from rayon.data.preprocessing import Manifest, build_shard, combine, plan_dataset
from rayon.data.shards import FEEDBACK

SPLIT = Split(validation=0.2, test=0.3)


@pytest.fixture
def version(make_catalog, make_photo) -> tuple[Manifest, dict[str, bytes]]:
    """A dataset version of 120 products, every other one with a photo, whose first and last rows have been dropped."""
    rows = [
        (f"{n:04d}", f"titre {n}", "" if n % 3 else "texte", "ab"[n % 2], f"{n}.png" if n % 2 else "")
        for n in range(120)
    ]
    photos = {f"{n}.png": make_photo((16, 16), (2 * n, 0, 0), kind="PNG") for n in range(1, 120, 2)}
    config = make_catalog(rows, photos)
    built = [build_shard(part, config) for part in plan_dataset(config, None, None).parts]
    keys = {shard.ref.fingerprint: shard.keys for shard in built}
    first, _ = combine(config, plan_dataset(config, None, None), built, None)
    plan = plan_dataset(make_catalog(rows[1:-1], photos), first, lambda ref: keys[ref.fingerprint])
    second, _ = combine(config, plan, [], lambda ref: keys[ref.fingerprint])
    return second, {shard.ref.fingerprint: shard.data for shard in built}


@pytest.fixture
def dataset(version, tmp_path) -> Dataset:
    manifest, shards = version
    return open_dataset(manifest, lambda ref: shards[ref.fingerprint], tmp_path / "spool", SPLIT, 5)


def photo_of(dataset: Dataset, index: int) -> bytes | None:
    return dataset.photo(index)


def test_the_frame_holds_the_living_products_in_order(dataset):
    frame = dataset.frame
    assert frame["product_id"].tolist() == [f"{n:04d}" for n in range(1, 119)]
    assert frame.index.tolist() == list(range(118)) and len(dataset) == 118
    assert dataset.categories == ("a", "b")
    assert frame["label"].dtype == np.int16 and frame["label"].tolist() == [n % 2 for n in range(1, 119)]
    assert frame["has_image"].tolist() == [bool(n % 2) for n in range(1, 119)]
    assert frame["has_text"].all()
    assert set(frame["split"]) == {"train", "validation", "test"} and set(frame["fold"]) == {0, 1, 2, 3, 4}


def test_what_people_said_of_a_product_replaces_its_category(version, tmp_path):
    manifest, shards = version
    said = [("0003", "titre 3", "b"), ("0003", "titre 3", "a"), ("0004", "titre 4", "a"), ("0005", "other", "a"),
            ("0007", "Titre 7!", "c"), ("new", "titre 9", "a")]  # fmt: skip
    rows = [
        {
            **dict(product_id=product, designation=title, description="", category=category, image=""),
            **dict(row_key=bytes([number] * 16), source=FEEDBACK, row=number, record=""),
        }
        for number, (product, title, category) in enumerate(said)
    ]
    people = pack_shard(rows, [None] * len(rows))
    manifest = manifest._replace(
        shards=(*manifest.shards, people.ref._replace(origin=FEEDBACK)), categories=("a", "b", "c")
    )
    shards = {**shards, people.ref.fingerprint: people.data}
    frame = open_dataset(manifest, lambda ref: shards[ref.fingerprint], tmp_path / "spool", SPLIT, 0).frame
    assert frame.loc[overruled(frame), "product_id"].tolist() == ["0003", "0007"]  # 4 agrees, 5 has another title
    assert frame.loc[frame["label"] < 0, "product_id"].tolist() == ["0003", "0007"]
    assert frame.loc[frame["source"] == FEEDBACK, "label"].tolist() == [1, 0, 0, 0, 2, 0]
    assert not overruled(frame[frame["source"] != FEEDBACK]).any()


def test_each_row_has_its_own_photo(dataset):
    for index, (product_id, jpeg) in enumerate(
        zip(dataset.frame["product_id"], dataset.photos(range(118)), strict=True)
    ):
        number = int(product_id)
        assert (jpeg is not None) == dataset.frame["has_image"][index] == bool(number % 2)
        if jpeg is not None:
            assert abs(int(decode_square(jpeg, 16)[8, 8, 0]) - 2 * number) < 6


def test_keys_name_what_an_encoder_reads(dataset):
    frame = dataset.frame
    assert {len(key) for key in frame["text_key"]} == {16}
    assert {len(key) for key in frame["image_key"]} == {0, 16}
    assert frame["image_key"].nunique() == 60


def test_shards_that_are_there_are_not_read_again(version, tmp_path):
    manifest, shards = version
    read: list[str] = []

    def read_shard(ref):
        read.append(ref.fingerprint)
        return shards[ref.fingerprint]

    for _ in range(2):
        open_dataset(manifest, read_shard, tmp_path / "spool", SPLIT, 5)
    assert len(read) == 3
    cut = tmp_path / "spool" / f"{manifest.shards[0].fingerprint}.arrow"
    cut.write_bytes(cut.read_bytes()[:100])
    open_dataset(manifest, read_shard, tmp_path / "spool", SPLIT, 5)
    assert len(read) == 4
    assert sorted(os.listdir(tmp_path / "spool")) == sorted(f"{ref.fingerprint}.arrow" for ref in manifest.shards)


def test_a_shard_that_was_damaged_since_it_was_opened_is_opened_anew(version, tmp_path):
    manifest, shards = version
    spool = tmp_path / "spool"
    whole = open_dataset(manifest, lambda ref: shards[ref.fingerprint], spool, SPLIT, 5)
    photos = whole.photos(range(len(whole)))
    row = next(index for index, photo in enumerate(photos) if photo is not None)
    files = {file: file.read_bytes() for file in spool.iterdir()}
    (file,) = (file for file, content in files.items() if photos[row] in content)
    at = files[file].index(photos[row]) + len(photos[row]) // 2
    file.write_bytes(files[file][:at] + bytes([files[file][at] ^ 1]) + files[file][at + 1 :])

    damaged = open_dataset(manifest, lambda ref: shards[ref.fingerprint], spool, SPLIT, 5)
    with pytest.raises(
        DatasetError, match=rf"the photo of '{whole.frame['product_id'][row]}' is not what was written .* 1 damaged"
    ):
        damaged.photos(range(len(damaged)))
    assert not file.exists()
    again = open_dataset(manifest, lambda ref: shards[ref.fingerprint], spool, SPLIT, 5)
    assert again.photos(range(len(again))) == photos

    rng = np.random.default_rng(0)
    for _ in range(40):  # anywhere: what is not noticed is no photo
        content = bytearray(files[file])
        for place in rng.integers(0, len(content), 20):
            content[place] ^= 0xFF
        file.write_bytes(content)
        try:
            spoilt = open_dataset(manifest, lambda ref: shards[ref.fingerprint], spool, SPLIT, 5)
            spoilt.photos(range(len(spoilt)))
        except DatasetError:
            assert not file.exists()


def test_bytes_that_are_not_the_shard_are_refused(version, tmp_path):
    manifest, shards = version
    with pytest.raises(DatasetError, match="other bytes than the manifest lists"):
        open_dataset(manifest, lambda ref: shards[ref.fingerprint][:-1], tmp_path / "spool", SPLIT, 5)
    assert os.listdir(tmp_path / "spool") == []


def test_opening_reads_no_photo(make_catalog, tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (900, 900, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    rows = [(str(n), f"titre {n}", "", "a", "noise.png") for n in range(20)]
    config = make_catalog(
        rows,
        {"noise.png": (tmp_path / "noise.png").read_bytes()},
        preprocess={"image_side": 900, "min_products_per_category": 1},
    )
    plan = plan_dataset(config, None, None)
    built = [build_shard(part, config) for part in plan.parts]
    manifest, _ = combine(config, plan, built, None)
    assert manifest.shards[0].size > 5_000_000
    before = pa.total_allocated_bytes()
    dataset = open_dataset(manifest, lambda ref: built[0].data, tmp_path / "spool", SPLIT, 0)
    assert pa.total_allocated_bytes() - before < 100_000
    assert len(dataset.photo(19) or b"") > 250_000


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_worker_processes_read_the_same_photos(dataset, method):
    assert dataset.photo(0)
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.apply_async(photo_of, (dataset, 2)).get(60) == dataset.photo(2)


def test_a_pickled_dataset_carries_no_photo(dataset):
    dataset.photos(range(len(dataset)))
    copy = pickle.loads(pickle.dumps(dataset))
    assert copy._images == {}
    assert copy.photos(range(4)) == dataset.photos(range(4))


def test_another_split_is_another_view_of_the_same_shards(version, tmp_path):
    manifest, shards = version
    one, other = (
        open_dataset(manifest, lambda ref: shards[ref.fingerprint], Path(tmp_path / "spool"), Split(seed=seed), 0)
        for seed in (0, 1)
    )
    assert one.fingerprint == other.fingerprint
    assert (one.frame["split"] != other.frame["split"]).any()
    assert set(one.frame["fold"]) == {-1}
