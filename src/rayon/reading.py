"""Predictions a lot at a time: files read piece by piece, small tables put together, what they are known again by.

Knows tables of predictions. It does not know where they come from, nor what is made of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayon.window import WindowError

LOT = 16_384
"""Rows that are in memory at a time."""

_BUFFER = 1 << 18  # bytes of a column of a file


def read_file(path: str) -> Iterator[pa.Table]:
    """Yield the rows of a Parquet file, or of a folder of them with the columns of the first, some at a time.

    Of the folder that a scoring wrote those are in `predictions`, beside its rejects and its summary.

    Raises:
        WindowError: it is nothing of the kind.
    """
    inside = Path(path) / "predictions"
    try:
        found = ds.dataset(str(inside if inside.is_dir() else path), format="parquet")
        if "model_version" not in found.schema.names:
            raise WindowError(
                f"{path} holds no predictions: there is no column 'model_version'. Give what ScoreFlow wrote."
            )
        yield found.schema.empty_table()
        for file in found.files:
            # not by the dataset's scanner, which has a whole row group in memory, and that may be the whole file
            with pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as opened:
                names = [name for name in found.schema.names if name in opened.schema_arrow.names]
                for batch in opened.iter_batches(LOT, columns=names, use_threads=False):
                    yield _with_schema(batch, found.schema)
    except (pa.ArrowException, OSError) as error:
        raise WindowError(f"{path} is no Parquet file of predictions: {error}") from None


def _with_schema(batch: pa.RecordBatch, schema: pa.Schema) -> pa.Table:
    """Return rows with the columns of a schema, null where there is none."""
    there = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type) if field.name in there else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.Table.from_arrays(columns, schema=schema)


def in_lots(parts: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Yield the rows of many tables as tables of some thousand rows; of parts without rows, one without any."""
    waiting: list[pa.Table] = []
    yielded = False
    for part in parts:
        for start in range(0, max(part.num_rows, 1), LOT):
            waiting.append(part.slice(start, LOT))
            if sum(table.num_rows for table in waiting) >= LOT:
                yield pa.concat_tables(waiting, promote_options="permissive")
                waiting, yielded = [], True
    if waiting and (not yielded or any(table.num_rows for table in waiting)):
        yield pa.concat_tables(waiting, promote_options="permissive")


def row_keys(frame: pd.DataFrame) -> NDArray[np.uint64]:
    """Return a hash of what tells a prediction from others, (N,), of a window's frame."""
    ids = pd.util.hash_array(frame["product_id"].astype("str").fillna("").to_numpy(dtype=object), categorize=False)
    content = pd.util.hash_array(frame["content"].to_numpy())
    confidence = frame["confidence"].to_numpy(np.float64).view(np.uint64)
    return pd.util.hash_array(pd.util.hash_array(ids + content) + confidence)


class Key:
    """A hash of all ids and then all confidences, by which the same predictions are known again."""

    def __init__(self) -> None:
        self._digest = sha256()
        self._written: Counter[str] = Counter()
        self._confidences: list[pa.Array] = []  # they come after the last id

    def add(self, table: pa.Table) -> None:
        """Go on with some rows."""
        if "product_id" in table.column_names:
            self._write("product_id", table["product_id"])
        if "confidence" in table.column_names:
            self._confidences.append(table["confidence"])

    def digest(self) -> str:
        """Return the hash (hex) of what was added; nothing can be added after that."""
        for column in self._confidences:
            self._end("product_id")
            self._write("confidence", column)
        self._end("product_id")
        self._end("confidence")
        return self._digest.hexdigest()

    def _write(self, name: str, column: pa.ChunkedArray) -> None:
        """Write a list as Python does, in pieces."""
        if name not in self._written:
            self._digest.update(b"[")
        if len(column):
            self._digest.update(b", " * (self._written[name] > 0) + repr(column.to_pylist())[1:-1].encode())
        self._written[name] += len(column)

    def _end(self, name: str) -> None:
        if name in self._written and self._written[name] >= 0:
            self._digest.update(b"]")
            self._written[name] = -1
