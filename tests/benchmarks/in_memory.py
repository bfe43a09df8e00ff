"""What the benchmarks train on and with: a dataset version whose shards are kept in memory, a fusion trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import rayon  # noqa: F401 - sets the threads' environment before torch is imported

from rayon.config import Config
from rayon.data.dataset import Dataset, open_dataset
from rayon.data.preprocessing import BuiltShard, prepare
from rayon.data.shards import Manifest, ShardRef
from rayon.inputs import encode_dataset


def prepare_in_memory(config: Config) -> tuple[Manifest, Callable[[ShardRef], bytes]]:
    """Return a dataset version of the settings' catalogue, and what reads its shards."""
    shards: dict[str, BuiltShard] = {}

    def keep(number: int, shard: BuiltShard) -> str:
        shards[str(number)] = shard
        return str(number)

    manifest, _ = prepare(config, None, lambda ref: shards[ref.locator].keys, keep)
    return manifest, lambda ref: shards[ref.locator].data


def train(config: Config, folder: Path) -> tuple[bytes, Dataset]:
    """Train a fusion; return its bundle and the dataset."""
    from rayon.training import train_candidate

    manifest, read_shard = prepare_in_memory(config)
    dataset = open_dataset(manifest, read_shard, folder / "shards", config.split, config.fusion.folds)
    trained = train_candidate("fusion", dataset, encode_dataset(dataset, config), config, folder / "checkpoints")
    return trained.bundle, dataset
