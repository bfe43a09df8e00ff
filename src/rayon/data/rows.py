"""What files of rows are read as, whatever their format: columns and rows of strings, or a CatalogError."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple


class CatalogError(ValueError):
    """A catalogue cannot be read as configured. The message names the file, the place and the remedy."""


class Row(NamedTuple):
    """One data row: file name, 1-based number in that file, its values, and '' or what is wrong with its fields."""

    source: str
    number: int
    values: Sequence[str]
    problem: str


class Table(NamedTuple):
    """A file's columns and the stream of its rows, which have one string a column unless they carry a problem."""

    columns: tuple[str, ...]
    rows: Iterator[Row]
    hint: str = ""
    """Why the columns may look wrong, as a sentence; '' where nothing is suspected."""
