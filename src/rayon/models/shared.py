"""Features that several machines share: a store on this one, and a copy of its blocks where the others look.

Knows blocks as files. What the shared place is, a folder or an S3 bucket, is known to `rayon.data.outputs`. A shared
place that does not answer costs time and nothing else: what cannot be fetched is encoded again, what cannot be sent
stays here; a warning says so.
"""

from __future__ import annotations

import shutil
import uuid
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rayon.config import Config
from rayon.data.outputs import OutputError, Outputs
from rayon.models.feature_blocks import FILES, KEY_BYTES, TEMPORARY
from rayon.models.features import Features, FeatureStore, Store

_KEYS = FILES[-1]


def feature_store(config: Config) -> Store:
    """Return where an experiment's features are: in its cache, and in its shared place where it has one."""
    local = FeatureStore(Path(config.cache) / "features")
    return SharedFeatures(local, Outputs(config.shared)) if config.shared else local


class SharedFeatures:
    """A `FeatureStore` that fetches the blocks it needs from a shared place, and sends there what it adds.

    A block lies below 'features' of the shared place as it does in a local store, and is whole once its keys are there.
    To know which blocks hold a product, keys alone are fetched, 16 bytes a product; they stay in memory.
    """

    def __init__(self, local: FeatureStore, shared: Outputs) -> None:
        self.local = local
        self.shared = shared
        self._keys: dict[str, frozenset[bytes]] = {}

    def find(self, encoder_key: str, keys: Sequence[bytes]) -> tuple[Features, NDArray[np.bool_]]:
        """As `FeatureStore.find`; blocks that are missing here and there in the shared place are fetched first."""
        features, found = self.local.find(encoder_key, keys)
        missing = {key for key, there in zip(keys, found.tolist(), strict=True) if key and not there}
        if not missing:
            return features, found
        try:
            fetched = self._fetch(encoder_key, missing)
        except OutputError as error:
            warnings.warn(f"{error}; what is not here is encoded again", stacklevel=3)
            fetched = True  # some may have come
        return self.local.find(encoder_key, keys) if fetched else (features, found)

    def add(self, encoder_key: str, keys: Sequence[bytes], features: NDArray[np.floating]) -> None:
        """As `FeatureStore.add`; the block is sent to the shared place too."""
        folder = self.local.add(encoder_key, keys, features)
        if folder is None:
            return
        try:
            for name in FILES:
                self.shared.write(_place(encoder_key, folder.name, name), (folder / name).read_bytes())
        except (OutputError, OSError) as error:
            warnings.warn(f"{error}; other machines will encode these products again", stacklevel=3)

    def _fetch(self, encoder_key: str, missing: set[bytes]) -> bool:
        home = self.local.root / encoder_key
        listed = {tuple(file.name.split("/")[-2:]) for file in self.shared.listing(f"features/{encoder_key}")}
        some = False
        for block in sorted(block for block, name in listed if name == _KEYS):
            if not (home / block).exists() and not missing.isdisjoint(self._keys_of(encoder_key, block)):
                self._bring(encoder_key, block, home)
                some = True
        return some

    def _keys_of(self, encoder_key: str, block: str) -> frozenset[bytes]:
        if block not in self._keys:
            raw = self.shared.read(_place(encoder_key, block, _KEYS)) or b""
            try:
                rows = np.load(BytesIO(raw), allow_pickle=False).reshape(-1, KEY_BYTES)
            except (ValueError, EOFError):  # damaged: as if it were not there
                rows = np.empty((0, KEY_BYTES), np.uint8)
            self._keys[block] = frozenset(row.tobytes() for row in rows)
        return self._keys[block]

    def _bring(self, encoder_key: str, block: str, home: Path) -> None:
        temporary = home / f"{TEMPORARY}{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        try:
            for name in FILES:
                self.shared.download(_place(encoder_key, block, name), temporary / name)
            temporary.rename(home / block)
        except OSError:  # another process was faster
            shutil.rmtree(temporary, ignore_errors=True)
        except OutputError:
            shutil.rmtree(temporary, ignore_errors=True)
            raise


def _place(encoder_key: str, block: str, name: str) -> str:
    return f"features/{encoder_key}/{block}/{name}"
