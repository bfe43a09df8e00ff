"""Parquet files read as strings, row by row.

Knows Arrow's types and which of them are texts. It does not know what any column means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayon.data.rows import CatalogError, Row, Table

_ROWS = 8192
_MEASURED_ROWS = 1024
_PLAIN = {"PLAIN", "PLAIN_DICTIONARY", "RLE_DICTIONARY", "RLE", "BIT_PACKED"}
_CELL_BYTES = 16  # what a value costs beside its text, at least


def read_parquet(files: list[Path], wanted: Collection[str] = ()) -> Table:
    """Open Parquet files that have the columns of the first one.

    Columns of lists or structs are left out, and those of bytes but for the `wanted` ones, which are read as UTF-8.

    Raises:
        CatalogError: at once, or while rows are drawn: a file is damaged, lacks a column, or one of its values is no
            text.
    """
    with _open(files[0]) as file:
        columns = tuple(field.name for field in _texts(file, wanted))
    return Table(columns, _rows(files, columns, wanted))


def count_rows(path: Path) -> int:
    """Return how many rows a Parquet file says that it has.

    Raises:
        CatalogError: it is no readable Parquet file.
    """
    with _open(path) as file:
        rows: int = file.metadata.num_rows
    return rows


def check_size(path: Path, most: int, most_of_a_row: int) -> None:
    """Refuse a Parquet file whose values unpack to more bytes than `most`, or those of a row to more than
    `most_of_a_row`.

    A file of a kilobyte may name one long value ten thousand times. So columns are read as dictionaries, which hold a
    value once however often it is named, or a row at a time, and measured before they are strings. Lists and structs
    are never read and do not count.

    Raises:
        CatalogError: it is too large, or damaged.
    """
    with _open(path) as file:
        names = {field.name for field in file.schema_arrow if _is_long(field.type)}
        held_once = names - _encoded_otherwise(file.metadata)
    with _open(path, held_once) as file:
        try:
            rows = _row_sizes(file, most)
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise CatalogError(f"{path}: cannot be read: {error}") from None
    if rows is None:
        raise CatalogError(f"{path}: it unpacks to more than {most / 1e6:,.0f} megabytes. Send it in parts.")
    if rows.max(initial=0) > most_of_a_row:
        raise CatalogError(f"{path}, row {rows.argmax() + 1}: it has more than {most_of_a_row:,} bytes. Shorten it.")


def _row_sizes(file: pq.ParquetFile, most: int) -> NDArray[np.int64] | None:
    """Return the bytes of each row's values, (N,), None where all have more than `most`."""
    fields = [field for field in file.schema_arrow if _is_text(field.type, wanted=True)]
    rows = np.zeros(file.metadata.num_rows, np.int64)
    total = len(fields) * len(rows) * _CELL_BYTES
    stored = _stored(file.metadata)
    if max(total, sum(stored[name] for name in {field.name for field in fields})) > most:
        return None
    short = {field.name for field in fields if _is_short(field.type)}
    for names, at_once in ((short, _MEASURED_ROWS), ({field.name for field in fields} - short, 1)):
        start = 0
        for batch in file.iter_batches(at_once, columns=sorted(names)) if names else ():
            for column in batch.columns:
                sizes = _lengths(column)
                rows[start : start + batch.num_rows] += sizes
                total += int(sizes.sum())
            start += batch.num_rows
            if total > most:
                return None
    return rows


def _encoded_otherwise(metadata: pq.FileMetaData) -> set[str]:
    """Return the columns of encodings from which Arrow makes no dictionary."""
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    columns = [group.column(place) for group in groups for place in range(group.num_columns)]
    return {column.path_in_schema for column in columns if not set(column.encodings) <= _PLAIN}


def _stored(metadata: pq.FileMetaData) -> Counter[str]:
    """Return the bytes of each column before they are compressed."""
    sizes: Counter[str] = Counter()
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            sizes[column.path_in_schema] += column.total_uncompressed_size
    return sizes


def _lengths(values: pa.Array) -> NDArray[np.int64]:
    """Return the bytes of each value, (N,), 0 for what is no text."""
    if isinstance(values, pa.ExtensionArray):
        values = values.storage
    if pa.types.is_dictionary(values.type):
        known = _lengths(values.dictionary)
        places = pc.fill_null(values.indices, len(known)).to_numpy(zero_copy_only=False)
        named: NDArray[np.int64] = np.append(known, 0)[places]
        return named
    if pa.types.is_string_view(values.type) or pa.types.is_binary_view(values.type):
        values = values.cast(pa.large_binary())
    try:
        lengths = pc.fill_null(pc.binary_length(values), 0)
    except pa.ArrowNotImplementedError:  # numbers, times
        return np.zeros(len(values), np.int64)
    return np.asarray(lengths.to_numpy(zero_copy_only=False), np.int64)


def _open(path: Path, as_dictionaries: Collection[str] = ()) -> pq.ParquetFile:
    try:
        # without extensions UUIDs are bytes, unless Arrow wrote them
        return pq.ParquetFile(path, arrow_extensions_enabled=True, read_dictionary=list(as_dictionaries) or None)
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise CatalogError(f"{path}: this is no readable Parquet file: {error}") from None


def _texts(file: pq.ParquetFile, wanted: Collection[str]) -> list[pa.Field]:
    return [field for field in file.schema_arrow if _is_text(field.type, field.name in wanted)]


def _is_long(kind: pa.DataType) -> bool:
    """Say whether values of a type are texts or bytes of any length."""
    kinds = pa.types
    return any(
        is_kind(kind)
        for is_kind in (
            *(kinds.is_string, kinds.is_large_string, kinds.is_string_view),
            *(kinds.is_binary, kinds.is_large_binary, kinds.is_binary_view),
        )
    )


def _is_short(kind: pa.DataType) -> bool:
    """Say whether a value of a type takes few bytes: a place in a dictionary, a number, a moment."""
    try:
        return bool(pa.types.is_dictionary(kind) or kind.bit_width <= 256)
    except ValueError:
        return False


def _is_text(kind: pa.DataType, wanted: bool) -> bool:
    if isinstance(kind, pa.UuidType):
        return True
    if isinstance(kind, pa.BaseExtensionType):
        return _is_text(kind.storage_type, wanted)
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type, wanted)
    kinds = pa.types
    bytes_ = (kinds.is_binary, kinds.is_large_binary, kinds.is_fixed_size_binary, kinds.is_binary_view)
    return wanted if any(is_kind(kind) for is_kind in bytes_) else not kinds.is_nested(kind)


def _rows(files: list[Path], columns: tuple[str, ...], wanted: Collection[str]) -> Iterator[Row]:
    for path in files:
        number = 0
        with _open(path) as file:
            missing = Counter(columns) - Counter(field.name for field in _texts(file, wanted))
            if missing:
                raise CatalogError(f"{path}: no column {sorted(missing)}, which {files[0].name} beside it has.")
            try:
                for batch in file.iter_batches(batch_size=_ROWS, columns=list(dict.fromkeys(columns))):
                    # a name may be there several times
                    places = {name: iter(batch.schema.get_all_field_indices(name)) for name in columns}
                    texts = [_strings(batch.column(next(places[name])), path, name, number) for name in columns]
                    for values in zip(*texts, strict=True):
                        number += 1
                        yield Row(path.name, number, values, "")
            except (pa.ArrowException, OSError, UnicodeError) as error:
                raise CatalogError(f"{path}: cannot be read after row {number}: {error}") from None


def _strings(values: pa.Array, path: Path, name: str, after: int) -> list[str]:
    try:
        if pa.types.is_floating(values.type) or isinstance(values.type, pa.UuidType):
            # Numbers as Python and pandas write them, so that Parquet and CSV of one table agree: Arrow writes 2403.0
            # as '2403'.
            return ["" if value is None or value != value else str(value) for value in values.to_pylist()]
        texts: list[str] = pc.fill_null(pc.cast(values, pa.string()), "").to_pylist()
    except (pa.ArrowException, UnicodeError) as error:
        raise CatalogError(
            f"{path}: column '{name}' is no text (of type {values.type}, after row {after}): {error}. Write it as "
            "text, in UTF-8, or let catalog.columns name another column, or ''."
        ) from None
    return texts
