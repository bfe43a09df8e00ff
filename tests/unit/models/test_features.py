"""The feature store: what is found, what is encoded again, and what survives crashes, damage and other writers."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import processes
import pytest

from rayon.models.features import FeatureStore, features_for

DIM = 6


def keys_of(*names: object) -> list[bytes]:
    return [hashlib.sha256(str(name).encode()).digest()[:16] for name in names]


def vector(key: bytes) -> np.ndarray:
    return np.frombuffer(key[:DIM], np.uint8).astype(np.float32) / 8.0


class CountingEncoder:
    """Encodes a key into numbers made of its bytes, and remembers which rows it was asked for."""

    def __init__(self, keys: list[bytes], stop_after: int | None = None) -> None:
        self.keys, self.calls, self.stop_after = keys, [], stop_after

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        if self.stop_after is not None and len(self.calls) >= self.stop_after:
            raise KeyboardInterrupt
        self.calls.append(rows.tolist())
        return np.array([vector(self.keys[row]) for row in rows], np.float32).reshape(-1, DIM)


@pytest.fixture
def fill(tmp_path: Path) -> Callable[..., tuple[np.ndarray, int, CountingEncoder]]:
    def run(keys: list[bytes], block_rows: int = 2048) -> tuple[np.ndarray, int, CountingEncoder]:
        encoder = CountingEncoder(keys)
        features, count = features_for(FeatureStore(tmp_path), "e5", keys, encoder, block_rows)
        return features, count, encoder

    return run


def blocks_in(root: Path) -> list[Path]:
    return sorted(folder for folder in (root / "e5").iterdir() if not folder.name.startswith("."))


def test_features_come_back_in_the_order_of_the_keys(fill):
    keys = keys_of(*range(50))
    fill(keys, block_rows=7)
    features, count, _ = fill(keys[::-1])
    assert count == 0
    np.testing.assert_array_equal(features, np.array([vector(key) for key in keys[::-1]]))


def test_a_second_call_encodes_nothing(fill):
    keys = keys_of(*range(30))
    first, count, _ = fill(keys)
    second, again, encoder = fill(keys)
    assert (count, again, encoder.calls) == (30, 0, [])
    np.testing.assert_array_equal(first, second)


def test_a_growing_catalogue_encodes_only_what_is_new(fill):
    fill(keys_of(*range(100)))
    keys = keys_of(*range(103), "x", "y")
    _, count, encoder = fill(keys)
    assert count == 5
    assert encoder.calls == [[100, 101, 102, 103, 104]]


def test_a_key_that_comes_twice_is_encoded_once(fill):
    keys = keys_of("a", "b", "a", "c", "b")
    features, count, encoder = fill(keys)
    assert (count, encoder.calls) == (3, [[0, 1, 3]])
    np.testing.assert_array_equal(features, np.array([vector(key) for key in keys]))


def test_products_without_photo_get_zeros_and_are_not_encoded(fill):
    keys = [b"", *keys_of("a"), b""]
    features, count, encoder = fill(keys)
    assert (count, encoder.calls) == (1, [[1]])
    assert not features[[0, 2]].any() and features[1].any()


def test_when_every_product_is_empty_the_width_is_still_right(fill):
    features, count, _ = fill([b"", b""])
    assert (features.shape, count) == ((2, DIM), 0)
    assert not features.any()


def test_what_is_encoded_now_equals_what_is_found_later(tmp_path):
    keys = keys_of("a", "b")
    third = np.full((2, 3), 1 / 3, np.float32)
    now, _ = features_for(FeatureStore(tmp_path), "k", keys, lambda rows: third)
    later, count = features_for(FeatureStore(tmp_path), "k", keys, lambda rows: third)
    assert count == 0
    np.testing.assert_array_equal(now, later)


def test_an_interrupted_encoding_goes_on_where_it_stopped(tmp_path):
    keys = keys_of(*range(50))
    with pytest.raises(KeyboardInterrupt):
        features_for(FeatureStore(tmp_path), "e5", keys, CountingEncoder(keys, stop_after=3), block_rows=10)
    _, count = features_for(FeatureStore(tmp_path), "e5", keys, CountingEncoder(keys), block_rows=10)
    assert count == 20


def test_encoders_do_not_share_features(tmp_path):
    store, keys = FeatureStore(tmp_path), keys_of("a")
    store.add("one", keys, np.ones((1, 2), np.float32))
    _, found = store.find("other", keys)
    assert not found.any()


def test_find_gives_nan_for_what_is_not_there(tmp_path):
    store, keys = FeatureStore(tmp_path), keys_of("a", "b", "c")
    store.add("e5", keys[1:2], np.ones((1, 2), np.float32))
    features, found = store.find("e5", keys)
    assert found.tolist() == [False, True, False]
    assert np.isnan(features[[0, 2]]).all() and (features[1] == 1).all()


def test_an_open_store_sees_what_another_one_adds(tmp_path):
    reader, keys = FeatureStore(tmp_path), keys_of("a", "b")
    FeatureStore(tmp_path).add("e5", keys[:1], np.ones((1, 2), np.float32))
    assert reader.find("e5", keys)[1].tolist() == [True, False]
    FeatureStore(tmp_path).add("e5", keys[1:], np.ones((1, 2), np.float32))
    assert reader.find("e5", keys)[1].tolist() == [True, True]


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 0x10
    file.write_bytes(bytes(content))


def empty(file: Path) -> None:
    file.write_bytes(b"")


@pytest.mark.parametrize("damage", [truncate, flip_a_byte, empty, Path.unlink])
@pytest.mark.parametrize("name", ["features.npy", "checks.npy"])
def test_a_damaged_block_is_reported_moved_aside_and_encoded_again(fill, tmp_path, damage, name):
    keys = keys_of(*range(40))
    fill(keys, block_rows=10)
    damage(blocks_in(tmp_path)[1] / name)
    with pytest.warns(UserWarning, match="damaged"):
        features, count, _ = fill(keys)
    assert count == 10
    np.testing.assert_array_equal(features, np.array([vector(key) for key in keys]))
    assert len(list((tmp_path / "e5" / ".damaged").iterdir())) == 1


def test_a_block_damaged_while_the_store_is_open_is_survived(tmp_path):
    store, keys = FeatureStore(tmp_path), keys_of(*range(4))
    store.add("e5", keys, np.ones((4, 2), np.float32))
    assert store.find("e5", keys)[1].all()
    truncate(blocks_in(tmp_path)[0] / "features.npy")
    with pytest.warns(UserWarning, match="damaged"):
        assert not store.find("e5", keys)[1].any()


def test_what_a_killed_writer_left_is_not_read(fill, tmp_path):
    keys = keys_of(*range(10))
    fill(keys)
    blocks_in(tmp_path)[0].rename(tmp_path / "e5" / ".writing-0123")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, count, _ = fill(keys)
    assert count == 10


def write_share(root: Path, writer: int) -> None:
    keys = keys_of(*range(writer * 20, writer * 20 + 60))
    features_for(FeatureStore(root), "e5", keys, CountingEncoder(keys), block_rows=5)


def test_processes_may_write_the_same_products_at_once(tmp_path):
    writers = [partial(write_share, tmp_path, writer % 2) for writer in range(4)]
    assert processes.run(writers) == [0, 0, 0, 0]
    keys = keys_of(*range(80))
    features, found = FeatureStore(tmp_path).find("e5", keys)
    assert found.all()
    np.testing.assert_array_equal(features, np.array([vector(key) for key in keys]))
    assert not list((tmp_path / "e5").glob(".writing-*"))


def test_features_beyond_float16_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"row 1 .* not finite"):
        FeatureStore(tmp_path).add("e5", keys_of("a", "b"), np.array([[1.0], [1e6]], np.float32))


def test_a_key_of_the_wrong_length_is_refused(tmp_path):
    with pytest.raises(ValueError, match="key 1 has 3 bytes"):
        FeatureStore(tmp_path).find("e5", [b"", b"abc"])


def test_an_encoder_that_changes_its_width_is_refused(tmp_path):
    store, keys = FeatureStore(tmp_path), keys_of("a", "b")
    store.add("e5", keys[:1], np.ones((1, 2), np.float32))
    with pytest.raises(ValueError, match="made 2 features before and now makes 3"):
        features_for(store, "e5", keys, lambda rows: np.ones((len(rows), 3), np.float32))


def test_keys_that_end_in_zeros_are_told_apart(tmp_path):
    keys = [b"a" + bytes(15), b"a" + bytes(14) + b"b", b"a\0b" + bytes(13)]
    store = FeatureStore(tmp_path)
    store.add("e5", keys, np.arange(3, dtype=np.float32)[:, None])
    features, found = store.find("e5", keys[::-1])
    assert found.all()
    assert features[:, 0].tolist() == [2, 1, 0]
