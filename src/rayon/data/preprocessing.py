"""From a catalogue to a dataset version: plan what is new, build its shards, combine them with what is kept.

Knows dataset versions as plain values. It does not know where shards are stored or what runs it: `plan_dataset`
(`rayon.data.planning`), `build_shard` (`rayon.data.building`, a part at a time, wherever that may be) and `combine`
share nothing but their arguments.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from hashlib import sha256

import numpy as np
import pandas as pd
import pyarrow as pa
from numpy.typing import NDArray

from rayon.config import Config
from rayon.data.building import BuiltShard, build_shard
from rayon.data.planning import Plan, ReadKeys, plan_dataset, settings_key
from rayon.data.shards import Manifest, ShardRef, read_table
from rayon.data.tables import CatalogError
from rayon.data.validation import join_rejects
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
) -> tuple[Manifest, pd.DataFrame]:
    """Plan, build and combine in one go, in this process; `progress` is told how many of the new shards are done.

    Raises:
        CatalogError: the catalogue cannot be read, or no product is left.
    """
    plan = plan_dataset(config, previous, read_keys)
    built = []
    for number, part in enumerate(plan.parts):
        shard = build_shard(part, config)
        ref = shard.ref._replace(locator=store(number, shard))
        built.append(shard._replace(ref=ref, data=b""))
        progress(number + 1, len(plan.parts))
    return combine(config, plan, built, read_keys, feedback)


def combine(
    config: Config,
    plan: Plan,
    built: Iterable[BuiltShard],
    read_keys: ReadKeys,
    feedback: Sequence[ShardRef] = (),
) -> tuple[Manifest, pd.DataFrame]:
    """Return the dataset version made of a plan's kept shards and of those built from its parts, and all its rejects.

    `built` comes in the order of the parts, with `ref.locator` filled in; `data` is not looked at and may be b''. The
    rejects name every row of the catalogue that is no product of this version (scope 'product') and every product
    whose photo was refused, whenever that was (scope 'photo'). Rows read = products kept, those of `feedback` left
    out, + rejects of scope 'product'.

    `feedback` are the shards of what people labelled, oldest first; of a product that was labelled again the last label
    counts.

    Raises:
        CatalogError: no product is left.
    """
    living = [(ref, _living(ref, read_keys(ref))) for ref in plan.kept]
    rejects = [plan.rejects]
    for shard in built:
        rejects.append(shard.rejects[shard.rejects["scope"] == "product"])
        if shard.ref.rows:
            living.append((shard.ref, _living(shard.ref, shard.keys)))
    if not living:
        raise CatalogError(f"{config.catalog.products}: no product is left once its photos were read.")
    labelled = [(ref, _living(ref, read_keys(ref))) for ref in _last_word(feedback, read_keys)]
    living += [(ref, keys) for ref, keys in labelled if keys.num_rows]
    products = pa.concat_tables([keys for _, keys in living])
    photo_rejects = [json.loads(text) for text in products["photo_reject"].to_pylist() if text]
    rejects.append(pd.DataFrame(photo_rejects, columns=list(REJECT_COLUMNS)))
    refused = join_rejects(rejects)
    groups = products["group"].to_numpy()
    counts = {
        **plan.counts,
        "kept": products.num_rows,
        "feedback": sum(keys.num_rows for _, keys in labelled),
        "rejected": int((refused["scope"] == "product").sum()),
        "photos_refused": len(photo_rejects),
        "without_photo": _missing(products["has_photo"]),
        "without_description": _missing(products["has_description"]),
        "title_duplicates": products.num_rows - len(np.unique(groups)),
    }
    manifest = Manifest(
        name=config.name,
        fingerprint=sha256(b"".join(sorted(products["content_key"].to_pylist()))).hexdigest(),
        settings_key=settings_key(config),
        categories=tuple(sorted(set(products["category"].unique().to_pylist()) - {""})),
        shards=tuple(ref for ref, _ in living),
        counts=counts,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        columns=plan.columns,
    )
    return manifest, refused


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
