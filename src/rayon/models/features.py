"""The feature store: what an encoder made of a product, found again by content.

Knows keys, arrays and files. Refuses to know what the features mean, which encoder made them and how: an encoder is a
key, a product is a key, and what is missing is asked for through a callable.

On disk, below the store's root: one folder an encoder, in it one folder a block, never changed once it is there:

    <encoder key>/<block>/keys.npy        uint8 (N, 16)
                         /features.npy    float16 (N, D)
                         /checks.npy      uint32 (N,), the CRC-32 of each row of features

A block is written under a temporary name and renamed, so a process that is killed, or another one that writes at the
same time, never leaves half a block. Rows are checked as they are read; a block that fails is moved to `.damaged`, with
a warning, and its products count as not found.
"""

from __future__ import annotations

import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from rayon.models.feature_blocks import (
    KEY_BYTES,
    TEMPORARY,
    Block,
    DamagedBlockError,
    Keys,
    open_block,
    read_rows,
    write_block,
)

Features = NDArray[np.float32]
Encode = Callable[[NDArray[np.intp]], Features]

_DAMAGED = ".damaged"
_ABANDONED_SECONDS = 24 * 3600.0


class _Index(NamedTuple):
    """Every stored key, sorted, and where it is: the block's number and the row in it."""

    blocks: tuple[Block, ...]
    keys: Keys
    block: NDArray[np.integer]
    row: NDArray[np.integer]


class Store(Protocol):
    """Where features are found and kept: `FeatureStore`, `rayon.models.shared.SharedFeatures` beside other machines, or
    `rayon.models.recent.RecentFeatures` in memory.
    """

    def find(self, encoder_key: str, keys: Sequence[bytes]) -> tuple[Features, NDArray[np.bool_]]:
        """See `FeatureStore.find`."""

    def add(self, encoder_key: str, keys: Sequence[bytes], features: NDArray[np.floating]) -> object:
        """See `FeatureStore.add`."""


class FeatureStore:
    """Features by encoder and product. Any number of processes may read and write one store at once.

    `root` is made when something is first added.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._indices: dict[str, _Index] = {}

    def find(self, encoder_key: str, keys: Sequence[bytes]) -> tuple[Features, NDArray[np.bool_]]:
        """Return the features (N, D) float32 of `keys`, NaN where there are none, and which were found, (N,) bool.

        D is 0 where the store holds nothing of this encoder. The empty key is never found. Only rows that are asked for
        are read from disk.

        Raises:
            ValueError: a key that is neither empty nor 16 bytes long.
        """
        wanted = _as_array(keys)
        while True:
            index = self._index(encoder_key)
            place = np.minimum(np.searchsorted(index.keys, wanted), max(len(index.keys) - 1, 0))
            found = np.zeros(len(wanted), bool)
            if len(index.keys):
                found = (index.keys[place] == wanted) & np.array([bool(key) for key in keys], bool)
            try:
                return _gather(index, place, found), found
            except DamagedBlockError as error:
                self._set_aside(encoder_key, error)

    def add(self, encoder_key: str, keys: Sequence[bytes], features: NDArray[np.floating]) -> Path | None:
        """Keep the features (N, D) of `keys` as one block, rounded to float16; return its folder, None for no keys.

        Raises:
            ValueError: a key is not 16 bytes long, the numbers of keys and rows differ, or a feature is not finite in
                float16 (beyond 65,504).
        """
        wanted = _as_array(keys)
        if features.ndim != 2 or len(features) != len(wanted) or not all(keys):
            raise ValueError(f"{len(wanted)} keys and features of shape {features.shape} do not match")
        if not len(wanted):
            return None
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(features, np.float16)
        if not np.isfinite(rounded).all():
            row = int(np.argmin(np.isfinite(rounded).all(1)))
            raise ValueError(f"row {row} of the features of encoder {encoder_key[:12]} is not finite in float16")
        home = self.root / encoder_key
        home.mkdir(parents=True, exist_ok=True)
        self._sweep(home)
        return write_block(home, wanted, rounded)

    def _index(self, encoder_key: str) -> _Index:
        home = self.root / encoder_key
        folders = sorted(p for p in home.iterdir() if not p.name.startswith(".")) if home.is_dir() else []
        known = self._indices.get(encoder_key)
        if known is not None and [block.folder for block in known.blocks] == folders:
            return known
        read = {block.folder: block for block in known.blocks} if known is not None else {}
        blocks = []
        for folder in folders:
            try:
                blocks.append(read[folder] if folder in read else open_block(folder))
            except DamagedBlockError as error:
                self._set_aside(encoder_key, error)
        keys = np.concatenate([np.empty(0, f"S{KEY_BYTES}"), *(block.keys for block in blocks)])
        numbers = [np.full(len(block.keys), number, np.int32) for number, block in enumerate(blocks)]
        rows = [np.arange(len(block.keys), dtype=np.int32) for block in blocks]
        order = np.argsort(keys, kind="stable")
        nothing = np.empty(0, np.int32)
        index = _Index(
            tuple(blocks),
            keys[order],
            np.concatenate([nothing, *numbers])[order],
            np.concatenate([nothing, *rows])[order],
        )
        self._indices[encoder_key] = index
        return index

    def _set_aside(self, encoder_key: str, error: DamagedBlockError) -> None:
        aside = self.root / encoder_key / _DAMAGED / f"{error.folder.name}-{uuid.uuid4().hex[:8]}"
        aside.parent.mkdir(exist_ok=True)
        try:
            error.folder.rename(aside)
        except FileNotFoundError:  # another process was faster
            return
        warnings.warn(f"{error}; it was moved to {aside} and its products will be encoded again", stacklevel=4)

    @staticmethod
    def _sweep(home: Path) -> None:
        """Remove what killed writers left behind a day ago or earlier."""
        for folder in home.glob(f"{TEMPORARY}*"):
            try:
                old = time.time() - folder.stat().st_mtime > _ABANDONED_SECONDS
            except FileNotFoundError:  # its writer has just renamed it
                continue
            if old:
                shutil.rmtree(folder, ignore_errors=True)


def features_for(
    store: Store, encoder_key: str, keys: Sequence[bytes], encode: Encode, block_rows: int = 2048
) -> tuple[Features, int]:
    """Return the features (N, D) float32 of `keys` and how many products had to be encoded for it.

    What is missing is encoded `block_rows` at a time and kept at once, so a killed encoding goes on where it stopped. A
    key that comes twice is encoded once. The empty key, a product without text or photo, gets zeros. All features come
    back as they are kept, rounded to float16, whether they were encoded now or found.

    Args:
        store: where features are kept.
        encoder_key: whose features; see `rayon.models.encoders.encoder_key`.
        keys: 16 bytes a product, or b"".
        encode: given positions in `keys`, returns their features (n, D). Called with no positions, for the sake of D,
            where nothing is known of this encoder and every key is empty. It is not called when nothing is missing, so
            let it load the encoder itself.
        block_rows: products encoded and kept at a time.

    Raises:
        ValueError: a key that is neither empty nor 16 bytes long; features that are not finite in float16.
    """
    features, found = store.find(encoder_key, keys)
    filled = np.array([bool(key) for key in keys], bool)
    missing = np.flatnonzero(filled & ~found)
    array = _as_array(keys)
    _, first, copy_of = np.unique(array[missing], return_index=True, return_inverse=True)
    todo = np.sort(missing[first])
    for start in range(0, len(todo), block_rows):
        rows = todo[start : start + block_rows]
        block = np.asarray(encode(rows))
        if not features.shape[1]:
            features = np.full((len(keys), block.shape[1]), np.nan, np.float32)
        if features.shape[1] != block.shape[1]:
            known = features.shape[1]
            raise ValueError(f"encoder {encoder_key[:12]} made {known} features before and now makes {block.shape[1]}")
        store.add(encoder_key, [keys[row] for row in rows], block)
        features[rows] = block.astype(np.float16)
    if not features.shape[1]:
        features = np.zeros((len(keys), np.asarray(encode(np.empty(0, np.intp))).shape[1]), np.float32)
    features[missing] = features[missing[first]][copy_of]
    features[~filled] = 0.0
    return features, len(todo)


def _as_array(keys: Sequence[bytes]) -> Keys:
    for position, key in enumerate(keys):
        if len(key) not in (0, KEY_BYTES):
            raise ValueError(f"key {position} has {len(key)} bytes; a product's key has {KEY_BYTES}, or 0 for nothing")
    return np.array(keys, dtype=f"S{KEY_BYTES}")


def _gather(index: _Index, place: NDArray[np.intp], found: NDArray[np.bool_]) -> Features:
    """Read the found rows, block by block and in the order in which they lie on disk; the others are NaN."""
    targets = np.flatnonzero(found)
    number, row = index.block[place[targets]], index.row[place[targets]]
    order = np.lexsort((row, number))
    targets, number, row = targets[order], number[order], row[order]
    features = np.full((len(found), index.blocks[0].dim if index.blocks else 0), np.nan, np.float32)
    edges = np.flatnonzero(np.diff(number, prepend=-1, append=len(index.blocks)))
    for start, end in pairwise(edges):
        for part, stored in read_rows(index.blocks[number[start]], row[start:end]):
            features[targets[start:end][part]] = stored
    return features
