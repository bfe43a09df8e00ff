"""A dataset version, opened: its texts and labels as a frame, its photos read from memory-mapped shards when asked for.

Knows shards as files in a folder. It does not know where they came from, what an encoder does with a photo, or how
products are batched.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rayon.config import Split
from rayon.data.shards import FEEDBACK, Manifest, ShardRef, input_key
from rayon.data.splits import assign_folds, assign_splits
from rayon.schema import CATEGORY, DESCRIPTION, DESIGNATION, PRODUCT_ID

_TEXTS = (PRODUCT_ID, DESIGNATION, DESCRIPTION, CATEGORY)


class DatasetError(ValueError):
    """A shard is not what the manifest says. The message names it and says what to do."""


class Dataset:
    """The products of a dataset version, in catalogue order; row i of `frame` has the photo `photo(i)`.

    `frame` has the texts product_id, designation, description and category, the group (uint64), the label (int16
    position in `categories`, -1 where the category is not known, or `overruled`), the split and the fold, has_text and
    has_image, text_key and image_key (bytes: names of what an encoder reads, b'' where there is nothing), and source
    and row. `columns` are those that the catalogue's file had, none where the version does not tell.

    Photos stay in the files until they are asked for. A dataset may be pickled or inherited by worker processes of the
    same machine: each maps the files for itself.
    """

    def __init__(
        self,
        frame: pd.DataFrame,
        categories: tuple[str, ...],
        fingerprint: str,
        files: tuple[Path, ...],
        shard: NDArray[np.int32],
        position: NDArray[np.int32],
        columns: tuple[str, ...] = (),
    ) -> None:
        self.frame = frame
        self.categories = categories
        self.fingerprint = fingerprint
        self.columns = columns
        self._files = files
        self._shard = shard
        self._position = position
        self._images: dict[int, pa.Array] = {}

    def __len__(self) -> int:
        return len(self.frame)

    def photo(self, index: int) -> bytes | None:
        """Return the JPEG of product `index`, the one copy made of it, or None where it has none.

        Raises:
            DatasetError: the file has other bytes than were written there.
        """
        shard = int(self._shard[index])
        if shard not in self._images:
            self._images[shard] = _map(self._files[shard])["image"].chunk(0)
        photo = self._images[shard][int(self._position[index])]
        content: bytes | None = photo.as_py()
        if input_key(content or b"") != self.frame["image_key"].array[index]:
            damaged = [file for file in self._files if not _is_whole(file)]
            for file in damaged:
                file.unlink(missing_ok=True)
            raise DatasetError(
                f"the photo of '{self.frame[PRODUCT_ID].iloc[index]}' is not what was written to {self._files[shard]}: "
                f"{len(damaged)} damaged file(s) are removed from that folder. Run this again: their shards are opened "
                "anew."
            )
        return content

    def photos(self, indices: Iterable[int]) -> list[bytes | None]:
        """Return the JPEG, or None, of each of the products `indices`."""
        return [self.photo(index) for index in indices]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_images": {}}


def open_dataset(
    manifest: Manifest, read_shard: Callable[[ShardRef], bytes], folder: Path, split: Split, folds: int
) -> Dataset:
    """Open a dataset version, with its shards as files in `folder`; those that are there already are not read again.

    Splits and folds are computed here, from each product's group: they are no part of what is stored.

    Raises:
        DatasetError: `read_shard` gives other bytes than the manifest lists.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = tuple(_spool(ref, read_shard, folder) for ref in manifest.shards)
    frames: list[pd.DataFrame] = []
    positions: list[NDArray[np.int32]] = []
    for ref, file in zip(manifest.shards, files, strict=True):
        living = np.setdiff1d(np.arange(ref.rows, dtype=np.int32), np.array(ref.removed, dtype=np.int32))
        try:
            texts = _texts(file, living)
        except (pa.ArrowException, ValueError, KeyError, OSError):  # changed since it was opened
            file.unlink(missing_ok=True)
            texts = _texts(_spool(ref, read_shard, folder), living)
        frames.append(texts)
        positions.append(living)
    frame = pd.concat(frames, ignore_index=True)
    groups = frame["group"].to_numpy()
    frame["label"] = pd.Index(manifest.categories, dtype="str").get_indexer(pd.Index(frame[CATEGORY])).astype(np.int16)
    frame.loc[overruled(frame), "label"] = -1
    frame["split"] = assign_splits(groups, split)
    frame["fold"] = assign_folds(groups, folds, split.seed)
    frame["has_text"] = frame["text_key"].str.len() > 0
    frame["has_image"] = frame["image_key"].str.len() > 0
    shard = np.repeat(np.arange(len(files), dtype=np.int32), [len(living) for living in positions])
    where = np.concatenate(positions)
    return Dataset(frame, manifest.categories, manifest.fingerprint, files, shard, where, manifest.columns)


def overruled(frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Say which products of the catalogue people gave another category: same id and same title, (N,).

    Such a row is neither learnt from nor judged on; the same product with what people said of it is another row.
    """
    said = (frame["source"] == FEEDBACK).to_numpy()
    found: NDArray[np.bool_] = ~said & frame[PRODUCT_ID].isin(frame.loc[said, PRODUCT_ID]).to_numpy()
    if found.any():
        identity = [PRODUCT_ID, "group"]
        spoken = frame.loc[said].drop_duplicates(identity, keep="last").set_index(identity)[CATEGORY]
        theirs = spoken.reindex(pd.MultiIndex.from_frame(frame.loc[found, identity])).to_numpy()
        found[found] = pd.notna(theirs) & (theirs != frame.loc[found, CATEGORY].to_numpy())
    return found


def read_photos(
    manifest: Manifest, places: Sequence[tuple[int, int]], read_shard: Callable[[ShardRef], bytes], folder: Path
) -> list[bytes | None]:
    """Return the JPEG, or None, of some products, given as (shard, position in it), and open no shard but theirs.

    Raises:
        DatasetError: as `open_dataset`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[int, int], bytes | None] = {}
    for shard in sorted({shard for shard, _ in places}):
        ref = manifest.shards[shard]
        file = _spool(ref, read_shard, folder)
        try:
            images = _map(file)["image"].chunk(0)
        except (pa.ArrowException, ValueError, KeyError, OSError):  # changed since it was opened
            file.unlink(missing_ok=True)
            images = _map(_spool(ref, read_shard, folder))["image"].chunk(0)
        found |= {place: images[place[1]].as_py() for place in places if place[0] == shard}
    return [found[place] for place in places]


def _is_whole(file: Path) -> bool:
    """Say whether an opened shard, called by the SHA-256 of its bytes, has these bytes, or is not there."""
    return not file.exists() or sha256(file.read_bytes()).hexdigest() == file.stem


def _texts(file: Path, rows: NDArray[np.int32]) -> pd.DataFrame:
    columns = [*_TEXTS, "group", "text_key", "image_key", "source", "row"]
    frame: pd.DataFrame = _map(file).select(columns).take(pa.array(rows)).to_pandas()
    return frame


def _map(file: Path) -> pa.Table:
    table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    table.validate(full=True)  # of places within the file, that a damaged one sends elsewhere; reads no photo
    return table


def _spool(ref: ShardRef, read_shard: Callable[[ShardRef], bytes], folder: Path) -> Path:
    file = folder / f"{ref.fingerprint}.arrow"
    if file.exists() and file.stat().st_size == ref.size:
        return file
    data = read_shard(ref)
    if sha256(data).hexdigest() != ref.fingerprint:
        raise DatasetError(
            f"the shard at '{ref.locator}' has other bytes than the manifest lists ({ref.fingerprint}): it was damaged "
            "or replaced. Build the dataset anew."
        )
    # Renamed into place, so that another process never finds half a shard.
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as temporary:
        try:
            temporary.write(data)
            temporary.close()
            os.replace(temporary.name, file)
        except OSError:
            os.unlink(temporary.name)
            raise
    return file
