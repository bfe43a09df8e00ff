"""One block of the feature store: three files in a folder, written once and checked row by row as they are read.

Knows files and arrays. Refuses to know encoders, products, and what to do about a block that is damaged.
"""

from __future__ import annotations

import hashlib
import io
import shutil
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

KEY_BYTES = 16
TEMPORARY = ".writing-"
"""How the name of a folder starts that is being written; one that is not renamed belongs to a killed writer."""

Keys = NDArray[np.bytes_]
"""Dtype S16. numpy pads with zero bytes, so that keys ending in zeros compare as they should."""

_KEYS, _FEATURES, _CHECKS = "keys.npy", "features.npy", "checks.npy"
FILES = (_FEATURES, _CHECKS, _KEYS)
"""The files of a block. Where they are copied one by one, the last says that the block is whole."""

_ROWS_AT_ONCE = 4096


class DamagedBlockError(Exception):
    """A block cannot be read, or not all of it is what was written."""

    def __init__(self, folder: Path, why: str) -> None:
        super().__init__(f"the feature block {folder} is damaged ({why})")
        self.folder = folder


class Block(NamedTuple):
    """What is held in memory of a block: its place, its keys (N,), the rows' checks (N,) and the features' width."""

    folder: Path
    keys: Keys
    checks: NDArray[np.uint32]
    dim: int


def write_block(home: Path, keys: Keys, features: NDArray[np.float16]) -> Path:
    """Write a block, named by its content, into the folder `home`: whole or not at all. Return its folder."""
    name = hashlib.sha256(keys.tobytes() + features.tobytes()).hexdigest()[:32]
    temporary = home / f"{TEMPORARY}{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        _save(temporary / _KEYS, keys.view(np.uint8).reshape(-1, KEY_BYTES))
        _save(temporary / _FEATURES, features)
        _save(temporary / _CHECKS, _row_checks(features))
    except OSError:  # the disk is full: what was begun only makes it fuller
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    try:
        temporary.rename(home / name)
    except OSError:  # the same block is there already
        shutil.rmtree(temporary)
        if not (home / name).is_dir():
            raise
    return home / name


def open_block(folder: Path) -> Block:
    """Read a block's keys and checks; of its features only the shape, and whether the file is long enough.

    Raises:
        DamagedBlockError: a file is missing or cut short, or the three do not belong together.
    """
    try:
        keys = np.load(folder / _KEYS, allow_pickle=False)
        checks = np.load(folder / _CHECKS, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DamagedBlockError(folder, str(error)) from error
    features = _map_features(folder)
    if keys.shape != (len(keys), KEY_BYTES) or checks.shape != (len(keys),) or features.shape[:-1] != (len(keys),):
        raise DamagedBlockError(folder, f"{keys.shape} keys, {checks.shape} checks and {features.shape} features")
    return Block(folder, np.ascontiguousarray(keys).view(f"S{KEY_BYTES}").reshape(-1), checks, features.shape[1])


def read_rows(block: Block, rows: NDArray[np.integer]) -> Iterator[tuple[slice, NDArray[np.float16]]]:
    """Yield the features of `rows`, a few thousand at a time, each with the slice of `rows` it belongs to.

    Raises:
        DamagedBlockError: the file is gone or cut short, or one of these rows is not what was written.
    """
    stored = _map_features(block.folder)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = slice(start, min(start + _ROWS_AT_ONCE, len(rows)))
        features = stored[rows[part]]
        if not np.array_equal(_row_checks(features), block.checks[rows[part]]):
            raise DamagedBlockError(block.folder, "some rows are not what was written")
        yield part, features


def _save(file: Path, array: NDArray[Any]) -> None:
    """Write an array as numpy does, but so that a full disk says that it is one."""
    content = io.BytesIO()
    np.save(content, array)
    file.write_bytes(content.getbuffer())


def _map_features(folder: Path) -> NDArray[np.float16]:
    try:
        # a plain array over the mapped file: numpy's memmap class makes every row slow to touch
        return np.asarray(np.load(folder / _FEATURES, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        raise DamagedBlockError(folder, str(error)) from error


def _row_checks(features: NDArray[np.float16]) -> NDArray[np.uint32]:
    return np.fromiter((zlib.crc32(row) for row in features), np.uint32, len(features))
