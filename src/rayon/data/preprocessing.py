"""From a catalogue to a dataset version: plan what is new, build its shards, combine them with what is kept.

Knows dataset versions as plain values. It does not know where shards are stored or what runs it: `plan_dataset`
(`rayon.data.planning`), `build_shard` (`rayon.data.building`, a part at a time, wherever that may be) and `combine`
share nothing but their arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rayon.config import Config
from rayon.data.building import BuiltShard, build_shard
from rayon.data.earlier import ReadKeys
from rayon.data.planning import Plan, plan_dataset, settings_key
from rayon.data.rejects import Rejects
from rayon.data.shards import Manifest, ShardRef, fixed_bytes, read_table
from rayon.data.spooling import Spool
from rayon.data.tables import CatalogError
from rayon.schema import REJECT_COLUMNS

__all__ = [
    "BuiltShard",
    "Manifest",
    "Plan",
    "ReadKeys",
    "ShardRef",
    "build_shard",
    "combine",
    "plan_dataset",
    "prepare",
]

Store = Callable[[int, BuiltShard], str]
"""Keeps a built shard's `data` and `keys`, given its number, and returns the locator they are found by."""


def prepare(
    config: Config,
    previous: Manifest | None,
    read_keys: ReadKeys,
    store: Store,
    progress: Callable[[int, int], None] = lambda *_: None,
    feedback: Sequence[ShardRef] = (),
) -> tuple[Manifest, Rejects]:
    """Plan, build and combine in one go, in this process; `progress` is told how many of the new shards are done.

    Raises:
        CatalogError: the catalogue cannot be read, or no product is left.
    """
    plan = plan_dataset(config, previous, read_keys, keep=Spool(Path(config.cache)).keep)

    def built() -> Iterator[BuiltShard]:
        for number, part in enumerate(plan.parts):
            shard = build_shard(part.read(), config)
            ref = shard.ref._replace(locator=store(number, shard))
            progress(number + 1, len(plan.parts))
            yield shard._replace(ref=ref, data=b"")

    return combine(config, plan, built(), read_keys, feedback)


def combine(
    config: Config,
    plan: Plan,
    built: Iterable[BuiltShard],
    read_keys: ReadKeys,
    feedback: Sequence[ShardRef] = (),
) -> tuple[Manifest, Rejects]:
    """Return the dataset version made of a plan's kept shards and of those built from its parts, and all its rejects.

    `built` comes in the order of the parts, one in memory at a time where it is an iterator, with `ref.locator` filled
    in; `data` is not looked at and may be b''. The
    rejects name every row of the catalogue that is no product of this version (scope 'product') and every product
    whose photo was refused, whenever that was (scope 'photo'). Rows read = products kept, those of `feedback` left
    out, + rejects of scope 'product'.

    `feedback` are the shards of what people labelled, oldest first; of a product that was labelled again the last label
    counts.

    Raises:
        CatalogError: no product is left.
    """
    found, refused = _Found(), Rejects()
    for ref in plan.kept:
        found.add(ref, read_keys(ref))
    refused.extend(plan.rejects)
    for shard in built:
        refused.add(shard.rejects[shard.rejects["scope"] == "product"])
        if shard.ref.rows:
            found.add(shard.ref, shard.keys)
    if not found.refs:
        raise CatalogError(f"{config.catalog.products}: no product is left once its photos were read.")
    labelled = sum(found.add(ref, read_keys(ref)) for ref in _last_word(feedback, read_keys))
    refused.extend(found.photo_rejects)
    counts = {
        **plan.counts,
        "kept": found.rows,
        "feedback": labelled,
        "rejected": refused.of_scope("product"),
        "photos_refused": len(found.photo_rejects),
        "without_photo": found.without_photo,
        "without_description": found.without_description,
        "title_duplicates": found.rows - found.titles(),
    }
    manifest = Manifest(
        name=config.name,
        fingerprint=found.fingerprint(),
        settings_key=settings_key(config),
        categories=tuple(sorted(found.categories - {""})),
        shards=tuple(found.refs),
        counts=counts,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        columns=plan.columns,
    )
    return manifest, refused


class _Found:
    """What a version consists of, added up shard by shard: 24 bytes a product stay, and the rejects of photos."""

    def __init__(self) -> None:
        self.refs: list[ShardRef] = []
        self.rows = self.without_photo = self.without_description = 0
        self.categories: set[str] = set()
        self.photo_rejects = Rejects()
        self._contents: list[NDArray[np.bytes_]] = []
        self._groups: list[NDArray[np.uint64]] = []

    def add(self, ref: ShardRef, keys: bytes) -> int:
        """Add the products of a shard that are not removed from it, and return how many there are."""
        products = _living(ref, keys)
        if not products.num_rows:
            return 0
        self.refs.append(ref)
        self.rows += products.num_rows
        self.without_photo += _missing(products["has_photo"])
        self.without_description += _missing(products["has_description"])
        self.categories.update(products["category"].unique().to_pylist())
        rejects = [json.loads(text) for text in products["photo_reject"].to_pylist() if text]
        self.photo_rejects.add(pd.DataFrame(rejects, columns=list(REJECT_COLUMNS)))
        self._contents.append(fixed_bytes(products["content_key"]))
        self._groups.append(products["group"].to_numpy().copy())
        return len(self._groups[-1])

    def titles(self) -> int:
        """Return how many different titles there are."""
        groups = np.concatenate(self._groups)
        groups.sort()
        return int(np.count_nonzero(groups[1:] != groups[:-1])) + min(len(groups), 1)

    def fingerprint(self) -> str:
        """Return the hash (hex) of all contents, whatever their order."""
        contents = np.concatenate(self._contents)
        contents.sort()
        return sha256(contents.data.cast("B")).hexdigest()


def _last_word(feedback: Sequence[ShardRef], read_keys: ReadKeys) -> list[ShardRef]:
    """Return the shards with those rows removed that a later shard, or a later row, labels again."""
    seen: set[bytes] = set()
    refs = []
    for ref in reversed(feedback):
        keys = read_table(read_keys(ref))["row_key"].to_pylist()
        removed = []
        for position in reversed(range(len(keys))):
            if keys[position] in seen:
                removed.append(position)
            seen.add(keys[position])
        refs.append(ref._replace(removed=tuple(sorted(removed))))
    return refs[::-1]


def _living(ref: ShardRef, keys: bytes) -> pa.Table:
    alive: NDArray[np.bool_] = np.ones(ref.rows, dtype=np.bool_)
    alive[list(ref.removed)] = False
    return read_table(keys).filter(pa.array(alive))


def _missing(flags: pa.ChunkedArray) -> int:
    return int(np.count_nonzero(~flags.to_numpy()))
