"""Planning a dataset version: what the catalogue holds that the previous version does not, and the other way round.

Knows the catalogue and the keys of earlier shards. It opens no photo: size and time of change say whether one is new.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, NamedTuple

import pandas as pd
import pyarrow as pa

from rayon.config import Config
from rayon.data.catalog import read_catalog, source_columns
from rayon.data.earlier import Earlier, ReadKeys
from rayon.data.images import PhotoError, is_url, photo_path, remote_place
from rayon.data.outputs import NoAnswerError, OutputError, Outputs, is_remote
from rayon.data.rejects import Rejects
from rayon.data.shards import FORMAT, PART_ROWS, PART_SCHEMA, Manifest, ShardRef, content_hash, write_table
from rayon.data.tables import CatalogError
from rayon.data.validation import SeenIds, clean_products, join_rejects, validate_products
from rayon.schema import CATEGORY, IMAGE, PRODUCT_COLUMNS

_ENOUGH_PHOTOS = 20


class Plan(NamedTuple):
    """What is to be done for a dataset version.

    `parts` are compressed rows without photos, one for each shard to build, and may be none, each as it was kept;
    `kept` are the earlier shards, with what is gone from them; `rejects` are the rows refused so far; `counts` has
    read, unchanged, new and removed (since the previous version); `columns` are the catalogue's, used or not.
    """

    parts: tuple[Any, ...]
    kept: tuple[ShardRef, ...]
    rejects: Rejects
    counts: dict[str, int]
    columns: tuple[str, ...] = ()


def plan_dataset(
    config: Config,
    previous: Manifest | None,
    read_keys: ReadKeys,
    require_category: bool = True,
    keep: Callable[[bytes], Any] = bytes,
) -> Plan:
    """Read the catalogue, refuse what is no good product and pack what `previous` does not hold already.

    The file is streamed twice: to count categories, then to pack. A chunk of it and a part are in memory at a time,
    beside 8 bytes a row for its id, 24 a row of `previous` and 50 a reject; each part goes through `keep`, which may
    put it elsewhere (`rayon.data.spooling`). New rows come in file order, so that rows added at the end of a catalogue
    append shards and leave the earlier ones as they are. With other shard-shaping settings than `previous` had,
    everything is new.

    Raises:
        CatalogError: the catalogue cannot be read, no valid product is in it, or none of its photos can be found.
    """
    counts, read = _count_categories(config, require_category)
    earlier = Earlier(previous if previous and previous.settings_key == settings_key(config) else None, read_keys)
    refused = Rejects()
    photos = _PhotoStatus(config)

    def new_rows() -> Iterator[pd.DataFrame]:
        for valid, rejects in _validated(config, require_category, counts):
            refused.add(rejects)
            keys = _row_keys(valid, photos)
            yield valid.assign(row_key=pd.Series(keys, valid.index, dtype=object))[~earlier.find(keys)]

    parts = tuple(keep(part) for part in _pack(new_rows(), config.preprocess.shard_rows))
    unchanged = int(earlier.found.sum())
    if len(refused) == read:
        reasons = ", ".join(f"{reason} {count}" for reason, _, count in refused.counts())
        raise CatalogError(f"{config.catalog.products}: none of its {read} rows is a valid product ({reasons}).")
    photos.check()
    tally = {
        "read": read,
        "unchanged": unchanged,
        "new": read - len(refused) - unchanged,
        "removed": earlier.lost(),
    }
    return Plan(parts, earlier.refs(), refused, tally, source_columns(config.catalog))


class Piece(NamedTuple):
    """A part of a catalogue to be scored (None for the rejects after the last one) and the rejects met on its way."""

    part: bytes | None
    rejects: pd.DataFrame


def plan_scoring(config: Config, count: Callable[[int], None] = lambda _: None) -> Iterator[Piece]:
    """Stream a catalogue that is to be scored, as parts of `score.shard_rows` valid rows, in file order.

    The file is read once; a chunk of it and a part are in memory at a time. Categories, where there are any, are kept.
    Texts are cleaned as `preprocess` says, which is to be the model's (`rayon.scoring.as_trained`). A row's key
    tells what its photo was, so that a part with other photos is another part. `count` is told of each chunk how many
    rows it had, valid or not: what it raises ends the reading.

    Raises:
        CatalogError: while pieces are drawn: the catalogue cannot be read, or none of its photos can be found.
    """
    rejects: list[pd.DataFrame] = []
    photos = _PhotoStatus(config)

    def rows() -> Iterator[pd.DataFrame]:
        for valid, refused in _validated(config, require_category=False, category_counts=None):
            count(len(valid) + len(refused))
            rejects.append(refused)
            keys = [content_hash(photos.of(location)) for location in valid[IMAGE].to_list()]
            yield valid.assign(row_key=pd.Series(keys, valid.index, dtype=object))

    for part in _pack(rows(), config.score.shard_rows):
        yield Piece(part, join_rejects(rejects))
        rejects.clear()
    photos.check()
    yield Piece(None, join_rejects(rejects))


def settings_key(config: Config) -> str:
    """Return a hash (hex) of the settings that shape a product within a shard: cleaning and photos.

    Columns, files and folders are left out, since what they change shows in each row's key; so are those that only
    decide how many rows a shard has or which categories are refused.
    """
    settings = config.preprocess
    shaping = (
        FORMAT,
        settings.image_side,
        settings.image_quality,
        settings.max_image_megapixels,
        settings.max_image_megabytes,
        settings.max_text_chars,
    )
    return sha256(json.dumps(shaping).encode()).hexdigest()


class _PhotoStatus:
    """Size and time of change of the photos that rows name, looked up without opening them."""

    def __init__(self, config: Config) -> None:
        self._catalog = config.catalog
        self._named = 0
        self._found = 0
        self._first = ""
        self._listed: dict[str, dict[str, bytes]] = {}

    def of(self, location: str) -> bytes:
        """Return what would differ had the photo changed; an address is taken at its word."""
        if not location:
            return b""
        self._named += 1
        if is_url(location):
            self._found += self._catalog.allow_urls
            return b"url" if self._catalog.allow_urls else b"url refused"
        if is_remote(location) or is_remote(self._catalog.images or ""):
            return self._remote(location)
        try:
            path = photo_path(location, self._catalog.images)
            self._first = self._first or str(path)
            status = os.stat(path)
        except (PhotoError, OSError, ValueError):
            return b"missing"
        self._found += 1
        return f"{status.st_size} {status.st_mtime_ns}".encode()

    def _remote(self, location: str) -> bytes:
        """As `of`, for a photo on S3: a folder is listed once, which costs a request a thousand photos."""
        try:
            folder, name = remote_place(location, self._catalog.images)
            self._first = self._first or f"{folder}/{name}"
            if folder not in self._listed:
                self._listed[folder] = self._list(folder)
        except PhotoError:
            return b"missing"
        status = self._listed[folder].get(name, b"missing")
        self._found += status != b"missing"
        return status

    def _list(self, folder: str) -> dict[str, bytes]:
        """Return the status of all photos in a folder on S3. One that rows name and that cannot be listed costs their
        photos alone; without the one that the settings name, or without the store, there are none at all.
        """
        try:
            return {file.name: f"{file.size} {file.written}".encode() for file in Outputs(folder).listing()}
        except OutputError as error:
            if self._catalog.images is not None or isinstance(error, NoAnswerError):
                raise
            return {}

    def check(self) -> None:
        """Stop where the catalogue names photos and not one can be found: a setting is wrong, not the photos."""
        if self._named >= _ENOUGH_PHOTOS and not self._found:
            raise CatalogError(
                f"{self._catalog.products}: none of its {self._named} photos can be found; the first looked for was "
                f"'{self._first}'. Check catalog.images (the folder), catalog.image_name and catalog.allow_urls."
            )


_RAW = tuple(f"raw_{column}" for column in PRODUCT_COLUMNS)


def _row_keys(valid: pd.DataFrame, photos: _PhotoStatus) -> list[bytes]:
    """Return what would differ had anything of a row changed, its photo included, for each row."""
    raw = zip(*(valid[column].to_list() for column in _RAW), strict=True)
    statuses = (photos.of(location) for location in valid[IMAGE].to_list())
    return [_row_key(values, status) for values, status in zip(raw, statuses, strict=True)]


def _row_key(raw: tuple[str, ...], photo_status: bytes) -> bytes:
    return content_hash(*(value.encode("utf-8", "surrogatepass") for value in raw), photo_status)


def _validated(
    config: Config, require_category: bool, category_counts: pd.Series | None
) -> Iterator[tuple[pd.DataFrame, pd.DataFrame]]:
    seen = SeenIds()
    for chunk in read_catalog(config.catalog, require_category=require_category):
        raw = {name: chunk[column] for name, column in zip(_RAW, PRODUCT_COLUMNS, strict=True)}
        cleaned = clean_products(chunk, config.preprocess.max_text_chars).assign(**raw)
        yield validate_products(
            cleaned, seen, require_category, category_counts, config.preprocess.min_products_per_category
        )


def _count_categories(config: Config, require_category: bool) -> tuple[pd.Series | None, int]:
    counter: Counter[str] = Counter()
    read = 0
    for valid, refused in _validated(config, require_category, None):
        counter.update(valid[CATEGORY])
        read += len(valid) + len(refused)
    return (pd.Series(counter, dtype=int) if require_category else None), read


def _pack(frames: Iterable[pd.DataFrame], shard_rows: int) -> Iterator[bytes]:
    rest = pd.DataFrame()
    for frame in frames:
        joined = pd.concat([rest, frame]) if len(rest) else frame
        full = len(joined) - len(joined) % shard_rows
        for start in range(0, full, shard_rows):
            yield _part(joined.iloc[start : start + shard_rows])
        rest = joined.iloc[full:]
    if len(rest):
        yield _part(rest)


def _part(rows: pd.DataFrame) -> bytes:
    table = pa.Table.from_pandas(rows[PART_SCHEMA.names], PART_SCHEMA, preserve_index=False)
    return write_table(table, "zstd", PART_ROWS)
