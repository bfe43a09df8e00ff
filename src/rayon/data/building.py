"""Building one shard: photos fetched, shrunk and packed with the texts.

Knows one part at a time and nothing of the catalogue around it, so that parts can be built anywhere and in any order.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa

from rayon.config import Config
from rayon.data.images import PhotoError, read_photo, shrink_photo
from rayon.data.shards import (
    KEYS_SCHEMA,
    SHARD_SCHEMA,
    ShardRef,
    content_hash,
    input_key,
    make_ref,
    read_batches,
    write_table,
)
from rayon.data.splits import group_hash
from rayon.data.text import product_text
from rayon.schema import REJECT_COLUMNS

_TRY_AGAIN = bytes(16)
"""A row key that no row has: the next plan takes the product for changed and builds it again."""


class BuiltShard(NamedTuple):
    """A shard and what is to be kept with it: its bytes, its reference, its keys, its rejects and some counts.

    Store `data` and `keys`, and put into `ref.locator` what finds them again.
    """

    data: bytes
    ref: ShardRef
    keys: bytes
    rejects: pd.DataFrame
    stats: dict[str, int]


def build_shard(part: bytes, config: Config) -> BuiltShard:
    """Build the shard of one of a plan's parts; photos are read and shrunk by `preprocess.workers` threads.

    A product whose photo cannot be used is kept on its text, with a reject of scope 'photo'; one without any text is
    rejected. The same part, photos and settings give the same bytes. A photo that could not be reached or read just
    now is tried again by the next version, which builds its product anew; the version's fingerprint stays the same
    unless the photo is there then.
    """
    pieces = []
    for batch in read_batches(part):
        rows: list[dict[str, Any]] = batch.to_pylist()
        pieces.append(_pack(rows, _photos([row["image"] for row in rows], config)))
    return _join(pieces)


def pack_shard(rows: Sequence[dict[str, Any]], photos: Sequence[bytes | PhotoError | None]) -> BuiltShard:
    """Pack products, dicts with the columns of a part, with their normalised photos; see `build_shard`."""
    return _join([_pack(rows, photos)])


class _Piece(NamedTuple):
    """Some rows of a shard, packed: as the shard's columns, as its keys, and what was refused of `rows` rows."""

    shard: pa.Table
    keys: pa.Table
    rejects: list[dict[str, Any]]
    rows: int


def _pack(rows: Sequence[dict[str, Any]], photos: Sequence[bytes | PhotoError | None]) -> _Piece:
    shard: list[dict[str, Any]] = []
    keys: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    groups = group_hash(
        [row["designation"] for row in rows],
        [row["description"] for row in rows],
        [row["product_id"] for row in rows],
    )
    for row, photo, group in zip(rows, photos, groups.tolist(), strict=True):
        text = product_text(row["designation"], row["description"])
        reject = None
        if isinstance(photo, PhotoError):
            reject = _reject(row, photo, has_text=bool(text))
            rejects.append(reject)
            if not text:
                continue
            if photo.again:
                row["row_key"] = _TRY_AGAIN
            photo = None
        text_key = input_key(text.encode())
        image_key = input_key(photo or b"")
        shard.append({**row, "image": photo, "group": group, "text_key": text_key, "image_key": image_key})
        keys.append(
            {
                "row_key": row["row_key"],
                "content_key": content_hash(row["product_id"].encode(), text_key, image_key, row["category"].encode()),
                "category": row["category"],
                "group": group,
                "has_photo": photo is not None,
                "has_description": bool(row["description"]),
                "photo_reject": json.dumps(reject, ensure_ascii=False) if reject else "",
            }
        )
    shard_table, keys_table = pa.Table.from_pylist(shard, SHARD_SCHEMA), pa.Table.from_pylist(keys, KEYS_SCHEMA)
    return _Piece(shard_table, keys_table, rejects, len(rows))


def _join(pieces: list[_Piece]) -> BuiltShard:
    """Return the shard of some pieces, which are taken out of their list: a shard with its photos is large."""
    every = pa.concat_tables([piece.keys for piece in pieces])
    rejects = [reject for piece in pieces for reject in piece.rejects]
    read = sum(piece.rows for piece in pieces)
    table = pa.concat_tables([piece.shard for piece in pieces]).combine_chunks()
    pieces.clear()
    rows = table.num_rows
    data = write_table(table)
    stats = {
        "rows": rows,
        "photos": int(np.count_nonzero(every["has_photo"])),
        "photos_refused": len(rejects) - (read - rows),
        "rejected": read - rows,
        "bytes": len(data),
    }
    return BuiltShard(
        data,
        make_ref(data, rows),
        write_table(every, "zstd"),
        pd.DataFrame(rejects, columns=list(REJECT_COLUMNS)),
        stats,
    )


def _photos(locations: Sequence[str], config: Config) -> list[bytes | PhotoError | None]:
    read = partial(_photo, config=config)
    if config.preprocess.workers == 0:
        return [read(location) for location in locations]
    with ThreadPoolExecutor(config.preprocess.workers) as pool:
        return list(pool.map(read, locations))


def _photo(location: str, config: Config) -> bytes | PhotoError | None:
    settings = config.preprocess
    if not location:
        return None
    try:
        return shrink_photo(
            read_photo(location, config.catalog.allow_urls, settings.max_image_megabytes, config.catalog.images),
            settings,
        )
    except PhotoError as error:
        # Made anew: the one that was raised holds on to the photo's bytes through its traceback.
        return PhotoError(error.reason, error.sentence, error.again)


def _reject(row: dict[str, Any], error: PhotoError, has_text: bool) -> dict[str, Any]:
    fate = "the product is kept on its text" if has_text else "the product has no text either"
    return {
        "source": row["source"],
        "row": row["row"],
        "product_id": row["product_id"],
        "scope": "photo" if has_text else "product",
        "reason": error.reason,
        "detail": f"{row['image']}: {error.sentence}; {fate}",
        "record": row["record"],
    }
