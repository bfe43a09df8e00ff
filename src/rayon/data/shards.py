"""What a dataset version is made of: append-only shards, the keys of each beside it, and the manifest that lists them.

Knows the columns and the bytes. It does not know where they are stored (a shard's `locator` means something only to
whoever stored it), nor how a catalogue becomes shards.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from hashlib import blake2b, sha256
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

FORMAT = 1
"""Raised whenever a shard's columns, or what they mean, change: every dataset is then built anew, from
its catalogue: shards of feedback would have to be read as they are."""

_KEY = pa.binary(16)

PART_SCHEMA = pa.schema(
    {
        "product_id": pa.string(),
        "designation": pa.string(),
        "description": pa.string(),
        "category": pa.string(),
        "image": pa.string(),
        "row_key": _KEY,
        "source": pa.string(),
        "row": pa.int64(),
        "record": pa.string(),
    }
)
"""A part: validated, cleaned rows that wait to become a shard, in batches of `PART_ROWS`; `image` says where the photo
is, '' for none."""

PART_ROWS = 1000
"""Rows of a part that are read at a time."""

SHARD_SCHEMA = pa.schema(
    {
        "product_id": pa.string(),
        "designation": pa.string(),
        "description": pa.string(),
        "category": pa.string(),
        "group": pa.uint64(),
        "image": pa.large_binary(),
        "text_key": pa.binary(),
        "image_key": pa.binary(),
        "row_key": _KEY,
        "source": pa.string(),
        "row": pa.int64(),
    }
)
"""A shard. `image` is the normalised JPEG or null; `text_key` and `image_key` are 16 bytes of BLAKE2b of what an
encoder reads, b'' where there is nothing to read; `row_key` says that a catalogue row is unchanged."""

FEEDBACK = "feedback"

KEYS_SCHEMA = pa.schema(
    {
        "row_key": _KEY,
        "content_key": _KEY,
        "category": pa.string(),
        "group": pa.uint64(),
        "has_photo": pa.bool_(),
        "has_description": pa.bool_(),
        "photo_reject": pa.string(),
    }
)
"""The keys: what planning and combining need of a shard, without its texts and photos. `content_key` stands for id,
text, photo and category; `photo_reject` is the reject of the product's photo as JSON, '' for none."""


class ShardRef(NamedTuple):
    """A shard as a manifest lists it: SHA-256 of its bytes (hex), rows, size in bytes, where it is, what is gone.

    `locator` is filled in by whoever stores the bytes. `removed` holds the positions of rows that the catalogue has
    changed or dropped since. `origin` is '' for the catalogue's products, 'feedback' for those that people labelled.
    """

    fingerprint: str
    rows: int
    size: int
    locator: str = ""
    removed: tuple[int, ...] = ()
    origin: str = ""


class Manifest(NamedTuple):
    """A dataset version.

    `fingerprint` (hex) stands for the content of all products, in whatever shards and order; `settings_key` for the
    settings that shaped the shards; `categories` is sorted, a label is a position in it; `created` is UTC, ISO 8601;
    `columns` are those of the catalogue's file, used or not, none for a version made before they were kept.
    """

    name: str
    fingerprint: str
    settings_key: str
    categories: tuple[str, ...]
    shards: tuple[ShardRef, ...]
    counts: dict[str, int]
    created: str
    columns: tuple[str, ...] = ()

    def to_json(self) -> str:
        """Return the manifest as JSON text; `from_json` reads it back."""
        return json.dumps({**self._asdict(), "shards": [ref._asdict() for ref in self.shards]}, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what `to_json` wrote."""
        content = json.loads(text)
        shards = tuple(ShardRef(**{**ref, "removed": tuple(ref["removed"])}) for ref in content.pop("shards"))
        names = {key: tuple(content.get(key, ())) for key in ("categories", "columns")}
        return cls(**{**content, **names, "shards": shards})


def make_ref(data: bytes, rows: int) -> ShardRef:
    """Return the reference of a shard's bytes, without locator."""
    return ShardRef(sha256(data).hexdigest(), rows, len(data))


def input_key(content: bytes) -> bytes:
    """Return the key that features of a text (UTF-8) or a normalised photo are found by, b'' where there is none.

    Example:
        >>> input_key(b"Lampe LED").hex(), input_key(b"")
        ('5937006934988ed68f6daaafa30c5fe7', b'')
    """
    return blake2b(content, digest_size=16).digest() if content else b""


def content_hash(*parts: bytes) -> bytes:
    """Return 16 bytes of BLAKE2b over `parts`, each with its length, so that no two sequences read alike.

    Example:
        >>> content_hash(b"ab", b"c") == content_hash(b"a", b"bc")
        False
    """
    digest = blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.digest()


def write_table(table: pa.Table, compression: str | None = None, rows: int | None = None) -> bytes:
    """Return `table` as the bytes of an Arrow IPC file (Feather 2) of one record batch, or of batches of `rows` rows.

    Uncompressed, the file can be memory-mapped and read without a copy. The same table gives the same bytes.
    """
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table.combine_chunks(), max_chunksize=rows)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def read_table(data: bytes) -> pa.Table:
    """Read what `write_table` wrote."""
    return pa.ipc.open_file(pa.BufferReader(data)).read_all()


def read_batches(data: bytes) -> Iterator[pa.RecordBatch]:
    """Read what `write_table` wrote, a batch at a time."""
    reader = pa.ipc.open_file(pa.BufferReader(data))
    return (reader.get_batch(number) for number in range(reader.num_record_batches))


def fixed_bytes(column: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """Return a column of keys, none of them null, as an array of 16 bytes each, (N,).

    It compares and sorts as the keys do; an item taken from it lacks the zeros at its end, as is NumPy's way.

    Example:
        >>> keys = pa.chunked_array([[bytes(15) + b"b", b"a" * 16]], pa.binary(16))
        >>> np.sort(fixed_bytes(keys)).tobytes() == bytes(15) + b"b" + b"a" * 16
        True
    """
    arrays = [
        np.frombuffer(chunk.buffers()[1], "S16", len(chunk), 16 * chunk.offset) for chunk in column.chunks if len(chunk)
    ]
    return np.concatenate(arrays) if arrays else np.empty(0, dtype="S16")
