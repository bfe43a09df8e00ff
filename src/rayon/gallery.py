"""The gallery: training products with small photos and their features, to show what a product resembles.

One block of plain Parquet bytes that travels beside a bundle. Knows arrays and photos; neither who asks nor how
features are made.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayon.config import Config
from rayon.data.dataset import Dataset
from rayon.data.images import normalise_photo
from rayon.models.encoders import encoder_key
from rayon.models.shared import feature_store
from rayon.vectors import read_vectors, vector_column

_SIDE, _QUALITY = 128, 80
_TITLE_CHARS = 200


class Neighbour(NamedTuple):
    """A training product: its likeness is the mean cosine of centred features over the modalities that both have, in
    [-1, 1]; `photo` is a small JPEG or None.
    """

    product_id: str
    title: str
    category: str
    photo: bytes | None
    likeness: float


class Gallery:
    """Up to some thousand training products. `sources` names the encoder of each modality that is compared."""

    def __init__(self, table: pa.Table) -> None:
        self._table = table
        metadata = table.schema.metadata or {}
        self.sources = {
            modality: metadata[modality.encode()].decode()
            for modality in ("text", "image")
            if metadata.get(modality.encode())
        }
        self._vectors = {modality: read_vectors(table[modality]) for modality in self.sources}
        self._means = {modality: _mean(vectors) for modality, vectors in self._vectors.items()}
        self._units = {modality: _units(vectors - self._means[modality]) for modality, vectors in self._vectors.items()}

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def nearest(self, features: Mapping[str, NDArray[np.float32]], count: int) -> list[Neighbour]:
        """Return the `count` products most like one whose features, (D,) by encoder source, are given."""
        likeness, compared = np.zeros(len(self)), np.zeros(len(self))
        for modality, source in self.sources.items():
            if source in features:
                query = _units((features[source] - self._means[modality])[None])[0]
                cosine = self._units[modality] @ query
                there = np.isfinite(cosine)
                likeness[there] += cosine[there]
                compared += there
        chosen = np.flatnonzero(compared)
        likeness = likeness[chosen] / compared[chosen]
        best = np.argsort(-likeness, kind="stable")[:count]
        rows = self._table.select(["product_id", "title", "category", "photo"]).take(pa.array(chosen[best]))
        return [
            Neighbour(row["product_id"], row["title"], row["category"], row["photo"], float(value))
            for row, value in zip(rows.to_pylist(), likeness[best], strict=True)
        ]


def make_gallery(dataset: Dataset, config: Config, seed: int = 0) -> bytes:
    """Return a gallery of up to `app.gallery` training products, drawn evenly from the categories.

    Features come from the store; a modality whose encoder is trained end to end is not compared.
    """
    frame = dataset.frame[(dataset.frame["split"] == "train") & (dataset.frame["label"] >= 0)]
    shuffled = frame.sample(frac=1.0, random_state=np.random.default_rng(seed))
    turn = shuffled.groupby("category").cumcount()
    rows = np.sort(turn.sort_values(kind="stable").index[: config.app.gallery].to_numpy())
    chosen = dataset.frame.loc[rows]
    store = feature_store(config)
    sources: dict[str, str] = {}
    columns: dict[str, pa.Array] = {
        "product_id": pa.array(chosen["product_id"].tolist(), pa.string()),
        "title": pa.array([title[:_TITLE_CHARS] for title in chosen["designation"]], pa.string()),
        "category": pa.array(chosen["category"].tolist(), pa.string()),
        "photo": pa.array([_small(dataset.photo(int(row))) for row in rows], pa.binary()),
    }
    text, image = config.branches.text, config.branches.image
    for modality, settings, size in (("text", text, text.max_tokens), ("image", image, image.side)):
        if settings.encoders and not settings.trainable:
            source = settings.encoders[0]
            features, found = store.find(encoder_key(source, size), chosen[f"{modality}_key"].tolist())
            if found.any():
                columns[modality] = vector_column(features.astype(np.float16), ~found)
                sources[modality] = source
    table = pa.table(columns).replace_schema_metadata(sources)
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def read_gallery(data: bytes) -> Gallery:
    """Restore a gallery from the bytes that `make_gallery` returned.

    Raises:
        ValueError: the bytes are no gallery.
    """
    try:
        return Gallery(pq.read_table(pa.BufferReader(data)))
    except (pa.ArrowException, KeyError, OSError) as error:
        raise ValueError(f"these bytes are no gallery: {error}") from error


def _small(photo: bytes | None) -> bytes | None:
    return None if photo is None else normalise_photo(photo, _SIDE, _QUALITY, 100.0, 100.0)


def _mean(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    there = np.isfinite(vectors).all(axis=1)
    mean: NDArray[np.float32] = vectors[there].mean(axis=0) if there.any() else np.zeros(vectors.shape[1], np.float32)
    return mean


def _units(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    units: NDArray[np.float32] = vectors / np.maximum(length, 1e-9)
    return units
