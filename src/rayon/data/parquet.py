"""Parquet files read as strings, row by row.

Knows Arrow's types and which of them are texts. It does not know what any column means.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rayon.data.rows import CatalogError, Row, Table

_ROWS = 8192


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


def _open(path: Path) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, arrow_extensions_enabled=True)  # else UUIDs are bytes, unless Arrow wrote them
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise CatalogError(f"{path}: this is no readable Parquet file: {error}") from None


def _texts(file: pq.ParquetFile, wanted: Collection[str]) -> list[pa.Field]:
    return [field for field in file.schema_arrow if _is_text(field.type, field.name in wanted)]


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
