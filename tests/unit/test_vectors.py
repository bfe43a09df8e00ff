import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from rayon.vectors import read_vectors, vector_column


@given(st.lists(st.booleans(), max_size=12), st.integers(1, 5))
def test_vectors_come_back_from_a_file_and_what_is_missing_is_null(missing, width):
    gaps = np.array(missing, dtype=bool)
    vectors = np.arange(len(gaps) * width, dtype=np.float32).reshape(-1, width)
    file = io.BytesIO()
    pq.write_table(pa.table({"view": vector_column(vectors, gaps)}), file)
    column = pq.read_table(pa.BufferReader(file.getvalue()))["view"]
    assert [value is None for value in column.to_pylist()] == missing
    found = read_vectors(column)
    assert found.dtype == np.float32 and len(found) == len(gaps) and np.isnan(found[gaps]).all()
    np.testing.assert_array_equal(found[~gaps].reshape(-1), vectors[~gaps].reshape(-1))


def test_vectors_of_a_fixed_size_are_read_as_well():
    column = pa.chunked_array([pa.array([[1.0, 2.0], None], pa.list_(pa.float32(), 2))])
    np.testing.assert_array_equal(read_vectors(column), [[1.0, 2.0], [np.nan, np.nan]])


def test_a_column_of_nothing_has_no_vectors():
    assert read_vectors(pa.chunked_array([pa.nulls(2), pa.nulls(1)])).shape == (3, 0)


def test_no_type_of_a_column_is_one_that_readers_fail_on():
    assert vector_column(np.eye(2, dtype=np.float32), np.array([False, True])).type == pa.list_(pa.float32())
