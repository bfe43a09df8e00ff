"""A vector a product as a column of a table, and back.

Knows Arrow. Vectors are lists of any length there, though all have one length: before Arrow 26 readers of Parquet fail
on lists of a fixed size where some are null, and predictions are files that others read.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def vector_column(vectors: NDArray[np.floating], missing: NDArray[np.bool_]) -> pa.ListArray:
    """Return (N, D) vectors as a column of lists, null where `missing`, (N,)."""
    present = np.ascontiguousarray(vectors[~missing])
    offsets = np.concatenate([[0], np.cumsum(~missing) * vectors.shape[1]]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(present.reshape(-1)), mask=pa.array(missing))


def read_vectors(column: pa.ChunkedArray) -> NDArray[np.float32]:
    """Return a column's vectors, (N, D), NaN where there is none; D is 0 where there is none at all.

    Example:
        >>> read_vectors(pa.chunked_array([vector_column(np.eye(2), np.array([False, True]))]))
        array([[ 1.,  0.],
               [nan, nan]], dtype=float32)
    """
    if pa.types.is_null(column.type):  # as pandas writes a column of nothing
        return np.full((len(column), 0), np.nan, dtype=np.float32)
    whole = column.combine_chunks()
    present = whole.is_valid().to_numpy(zero_copy_only=False)
    flat = whole.flatten().to_numpy(zero_copy_only=False)
    width = len(flat) // max(int(present.sum()), 1)
    vectors = np.full((len(whole), width), np.nan, dtype=np.float32)
    if width:
        vectors[present] = flat.reshape(-1, width)
    return vectors
