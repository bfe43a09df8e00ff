"""Catalogues as they lie on disk, streamed as frames of strings.

Knows how a catalogue's columns are mapped, how labels are joined and how photos are named. It does not know what a
good product is: every row of the file comes out, in order, and one that has no proper fields says so in `problem`.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, zip_longest
from pathlib import Path
from string import Formatter

import pandas as pd

from rayon.config import Catalog
from rayon.data.tables import CatalogError, Row, Table, read_table
from rayon.schema import CATEGORY, DESCRIPTION, IMAGE, PRODUCT_COLUMNS, PRODUCT_ID

CHUNK_COLUMNS = (*PRODUCT_COLUMNS, "source", "row", "record", "problem")
"""Columns of a chunk. `source` is the file's name, `row` the 1-based data row in it, `record` the row as JSON,
`problem` '' or a sentence that says why the row has no proper fields. All but `row` are strings."""

__all__ = ["CHUNK_COLUMNS", "CatalogError", "changed_columns", "read_catalog", "source_columns"]

_NOT_NEEDED = (CATEGORY, DESCRIPTION, IMAGE)
"""What products can be scored without."""

_JSON = json.JSONEncoder(ensure_ascii=False)  # made once: json.dumps would make one a row
_Getter = Callable[[Sequence[str]], str]


def read_catalog(catalog: Catalog, rows_per_chunk: int = 5000, require_category: bool = True) -> Iterator[pd.DataFrame]:
    """Stream a catalogue, in file order, as frames of `CHUNK_COLUMNS` with at most `rows_per_chunk` rows.

    Reads CSV and TSV, also compressed (.gz), Parquet, and a folder of Parquet files. Values stay the strings they are
    in the file ('0012', '2403.0'); an absent one is ''. Blank lines of a CSV are not rows. With `catalog.labels` the
    category comes from that file, row for row. Without `require_category`, as for products that are to be scored, there
    need be no column of categories, descriptions or photos: `changed_columns` tells what is missed.

    Raises:
        CatalogError: a file is missing, empty, unreadable or in another encoding; a column is not there; the labels
            do not fit the products. The message names the file, the row or column, and what to change.
    """
    path = Path(catalog.products)
    table = _open(catalog)
    getters = _getters(catalog, table, require_category)
    some = False
    while chunk := list(islice(table.rows, rows_per_chunk)):
        some = True
        yield _frame(chunk, table.columns, getters)
    if not some:
        raise CatalogError(f"{path}: the file has a header and no data row.")


def source_columns(catalog: Catalog) -> tuple[str, ...]:
    """Return the names of a catalogue's columns, those of its labels among them, in the file's order.

    Raises:
        CatalogError: as `read_catalog`.
    """
    return _open(catalog).columns


def changed_columns(catalog: Catalog, known: Sequence[str]) -> dict[str, list[str]]:
    """Return how the columns of products that are to be scored differ from those of the catalogue trained from.

    `gone`: what the settings name for descriptions or photos is not there. `new`: neither the settings name them nor
    are they `known`, the columns of that catalogue; with none known, nothing is new.

    Raises:
        CatalogError: as `read_catalog`.
    """
    there, names = source_columns(catalog), dataclasses.asdict(catalog.columns)
    looked_for = [DESCRIPTION] if catalog.image_name is not None else [DESCRIPTION, IMAGE]
    usual = {*known, *names.values()}
    return {
        "new": [name for name in there if name not in usual] if known else [],
        "gone": [names[key] for key in looked_for if names[key] and names[key] not in there],
    }


def _open(catalog: Catalog) -> Table:
    table = _table(catalog, catalog.products)
    return table if catalog.labels is None else _with_labels(catalog, table)


def _table(catalog: Catalog, file: str) -> Table:
    named = (name for _, name, _, _ in Formatter().parse(catalog.image_name or "") if name)
    wanted = {*dataclasses.asdict(catalog.columns).values(), *named}
    return read_table(Path(file), catalog.encoding, catalog.delimiter, catalog.quoting, wanted)


def _frame(rows: list[Row], columns: tuple[str, ...], getters: dict[str, _Getter]) -> pd.DataFrame:
    width = len(columns)
    padded = [row.values if not row.problem else [*row.values, *[""] * width][:width] for row in rows]
    content: dict[str, list[str] | list[int]] = {
        name: [get(values) for values in padded] for name, get in getters.items()
    }
    content["source"] = [row.source for row in rows]
    content["row"] = [row.number for row in rows]
    content["record"] = [_record(row, columns) for row in rows]
    content["problem"] = [row.problem for row in rows]
    return pd.DataFrame(content, columns=list(CHUNK_COLUMNS)).astype(dict.fromkeys(PRODUCT_COLUMNS, "str"))


def _record(row: Row, columns: tuple[str, ...]) -> str:
    content = {"fields": list(row.values)} if row.problem else dict(zip(columns, row.values, strict=True))
    return _JSON.encode(content)


def _getters(catalog: Catalog, table: Table, require_category: bool) -> dict[str, _Getter]:
    names = dataclasses.asdict(catalog.columns)
    if not names[PRODUCT_ID]:
        raise CatalogError("catalog.columns.product_id is '': name the column that holds each product's id.")
    if not names[CATEGORY] and require_category:
        raise CatalogError("catalog.columns.category is '': name the column that holds each product's category.")
    if not require_category:
        names |= {key: "" for key in _NOT_NEEDED if names[key] not in table.columns}
    getters: dict[str, _Getter] = {}
    for key in PRODUCT_COLUMNS:
        if key == IMAGE and catalog.image_name is not None:
            getters[key] = _image_namer(catalog, table)
        elif names[key]:
            getters[key] = _picker(_position(catalog, table, names[key], f"catalog.columns.{key}"))
        else:
            getters[key] = _nothing
    return getters


def _picker(position: int) -> _Getter:
    return lambda values: values[position]


def _nothing(values: Sequence[str]) -> str:
    return ""


def _image_namer(catalog: Catalog, table: Table) -> _Getter:
    template = str(catalog.image_name)
    pieces: list[tuple[str, int | None]] = []
    for literal, name, layout, conversion in Formatter().parse(template):
        if layout or conversion:
            raise CatalogError(f"catalog.image_name = {template!r}: write column names alone in the braces.")
        pieces.append((literal, None if name is None else _position(catalog, table, name, "catalog.image_name")))

    def build(values: Sequence[str]) -> str:
        parts: list[str] = []
        for literal, position in pieces:
            parts.append(literal)
            if position is not None:
                if not values[position]:
                    return ""
                parts.append(values[position])
        return "".join(parts)

    return build


def _position(catalog: Catalog, table: Table, name: str, key: str) -> int:
    count = table.columns.count(name)
    if count == 1:
        return table.columns.index(name)
    path = catalog.labels if key == "catalog.columns.category" and catalog.labels else catalog.products
    if count > 1:
        raise CatalogError(f"{path}: the column '{name}' ({key}) is there {count} times. Rename all but one.")
    there = ", ".join(f"'{column}'" for column in table.columns)
    lower = {column.lower().strip(): column for column in reversed(table.columns)}
    near = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    remedy = f"Nearest: '{lower[near[0]]}'. " if near else ""
    optional = key in ("catalog.columns.description", "catalog.columns.image")
    none = " (or '' where the catalogue has none)" if optional else ""
    raise CatalogError(
        f"{path}: there is no column '{name}'. Columns there: {there}. {remedy}{table.hint}{' ' if table.hint else ''}"
        f"Set {key} to the right name{none}."
    )


def _with_labels(catalog: Catalog, table: Table) -> Table:
    labels_path = Path(str(catalog.labels))
    labels = _table(catalog, str(catalog.labels))
    category = catalog.columns.category
    _position(catalog, labels, category, "catalog.columns.category")
    # The products' own column of that name, if any, gives way: the label file is what was asked for.
    kept = [at for at, name in enumerate(table.columns) if name != category]
    added = [at for at, name in enumerate(labels.columns) if name == category or name not in table.columns]
    shared = [
        (table.columns.index(name), labels.columns.index(name), name)
        for name in labels.columns
        if name in table.columns and name != category
    ]
    columns = (*(table.columns[at] for at in kept), *(labels.columns[at] for at in added))

    def rows() -> Iterator[Row]:
        for number, (product, label) in enumerate(zip_longest(table.rows, labels.rows), start=1):
            if product is None or label is None:
                short, long = (catalog.products, labels_path) if product is None else (labels_path, catalog.products)
                raise CatalogError(
                    f"{short} ends after {number - 1} data rows and {long} goes on: products and labels go row for row."
                )
            if product.problem or label.problem:
                problem = product.problem or f"in {labels_path.name}, {label.problem}"
                yield product._replace(values=[*product.values, *label.values], problem=problem)
                continue
            for here, there, name in shared:
                if product.values[here] != label.values[there]:
                    raise CatalogError(
                        f"{labels_path}, data row {number}: column '{name}' is '{label.values[there]}', and "
                        f"'{product.values[here]}' in {catalog.products}. Products and labels go row for row: "
                        "sort both files the same way."
                    )
            values = [*(product.values[at] for at in kept), *(label.values[at] for at in added)]
            yield product._replace(values=values)

    return Table(columns, rows(), table.hint)
