"""What a dataset version holds, counted from the keys of its shards, one shard in memory at a time.

Knows keys. It opens no shard: neither texts nor photos are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import pandas as pd

from rayon.config import Split
from rayon.data.shards import Manifest, ShardRef, fixed_bytes, read_table
from rayon.data.splits import assign_splits
from rayon.schema import SPLITS


class Place(NamedTuple):
    """A product: the number of its shard in the manifest, its position in it, and its category."""

    shard: int
    position: int
    category: str


class Census(NamedTuple):
    """Products by category and by split, the largest first; and some products that have a photo."""

    mix: dict[str, int]
    splits: dict[str, int]
    photos: list[Place]


def take_census(manifest: Manifest, read_keys: Callable[[ShardRef], bytes], split: Split, photos: int = 24) -> Census:
    """Count the products of a dataset version and choose up to `photos` of those with a photo.

    They come from as many categories as there are; within one, the hashes of their contents choose, so that a version
    shows the same photos in whatever shards it lies.
    """
    mix: Counter[str] = Counter()
    splits = Counter(dict.fromkeys(SPLITS, 0))
    chosen = pd.DataFrame()
    for number, ref in enumerate(manifest.shards):
        keys = read_table(read_keys(ref))
        alive = np.ones(ref.rows, dtype=np.bool_)
        alive[list(ref.removed)] = False
        categories = keys["category"].to_pandas()
        mix.update(Counter(categories[alive].tolist()))
        found = assign_splits(keys["group"].to_numpy()[alive], split)
        splits.update(found.tolist())
        rows = np.flatnonzero(alive & keys["has_photo"].to_numpy())
        rank = np.frombuffer(fixed_bytes(keys["content_key"]), "<u8")[::2][rows]
        more = pd.DataFrame({"rank": rank, "shard": number, "position": rows, "category": categories.to_numpy()[rows]})
        ranked = pd.concat([chosen, more]).sort_values("rank", kind="stable")
        chosen = ranked.groupby("category", sort=False).head(photos)
    chosen = chosen.assign(turn=chosen.groupby("category").cumcount())
    first = chosen.sort_values("turn", kind="stable").head(photos)
    places = [Place(*place) for place in zip(*(first[name].tolist() for name in Place._fields), strict=True)]
    return Census(dict(mix.most_common()), dict(splits.most_common()), places)
