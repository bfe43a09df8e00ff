"""Files of rows: CSV, TSV and Parquet read as strings, row by row, with what is wrong said in words.

Knows formats, encodings and separators. It does not know what any column means.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_MAX_FIELD_CHARS = 1 << 24
_PARQUET_ROWS = 8192
_OTHER_DELIMITERS = {";": "';'", "\t": '"\\t"', "|": "'|'", ",": "','"}


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


def read_table(path: Path, encoding: str, delimiter: str) -> Table:
    """Open a CSV or TSV (.gz too), a Parquet file or a folder of Parquet files.

    Raises:
        CatalogError: at once, or while rows are drawn: the file is missing, empty, damaged or in another encoding.
    """
    if not path.exists():
        raise CatalogError(f"{path}: there is no such file. Set catalog.products (or catalog.labels) to where it is.")
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        if not files:
            raise CatalogError(f"{path}: the folder holds no .parquet file. Name a file, or a folder of Parquet files.")
        return _read_parquet(files)
    if path.suffix in (".parquet", ".pq"):
        return _read_parquet([path])
    if path.suffix in (".xlsx", ".xls", ".ods"):
        raise CatalogError(f"{path}: spreadsheets are not read. Save it as CSV (UTF-8).")
    if ".tsv" in path.suffixes and delimiter == ",":
        delimiter = "\t"
    return _read_csv(path, encoding, delimiter)


def _read_csv(path: Path, encoding: str, delimiter: str) -> Table:
    if len(delimiter) != 1:
        raise CatalogError(
            f'catalog.delimiter = {delimiter!r}: write one character; a tabulator is "\\t" in double quotes.'
        )
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
    lines = _Lines(path, encoding)
    reader = csv.reader(lines, delimiter=delimiter)
    header = next((values for values in reader if values), None)
    if header is None:
        raise CatalogError(f"{path}: the file is empty. It needs a header line and data rows.")
    columns = tuple(header)
    hint = ""
    if len(columns) == 1:
        other = max(_OTHER_DELIMITERS, key=columns[0].count)
        if other in columns[0]:
            hint = f"The header looks separated by {other!r}: set catalog.delimiter: {_OTHER_DELIMITERS[other]}."
    return Table(columns, _csv_rows(path, reader, lines, len(columns)), hint)


def _csv_rows(path: Path, reader: Any, lines: _Lines, width: int) -> Iterator[Row]:
    number = 0
    while True:
        first_line = lines.number + 1
        try:
            values = next(reader, None)
        except csv.Error as error:
            raise CatalogError(f"{path}, data row {number + 1}, line {first_line}: {error}. {_QUOTE_REMEDY}") from None
        if values is None:
            return
        if not values:
            continue
        number += 1
        if lines.exhausted:
            # The reader asks for a line beyond the last one only inside quotation marks.
            swallowed = lines.number - first_line
            raise CatalogError(
                f"{path}, data row {number}: a quotation mark opened at line {first_line} is never closed and takes in "
                f"the {swallowed} lines that follow, to the end of the file. {_QUOTE_REMEDY}"
            )
        problem = ""
        if len(values) != width:
            many = "many" if len(values) > width else "few"
            problem = f"the row has too {many} fields: {len(values)}, where the header has {width}"
        yield Row(path.name, number, values, problem)


_QUOTE_REMEDY = "Close the quotation mark, or double each one that is part of a value."


class _Lines:
    """The decoded lines of a file, as drawn so far: `number` of them, `exhausted` once one too many was asked for."""

    def __init__(self, path: Path, encoding: str) -> None:
        self.path = path
        self.encoding = encoding
        self.number = 0
        self.exhausted = False
        try:
            # A byte-order mark, as spreadsheets write it, is not part of the first column's name.
            name = "utf-8-sig" if codecs.lookup(encoding).name == "utf-8" else encoding
            io.TextIOWrapper(io.BytesIO(), name)  # a codec may be known and not be one of texts: hex, zlib
        except (LookupError, ValueError):
            raise CatalogError(
                f"catalog.encoding = {encoding!r} is no known encoding: write utf-8, latin-1..."
            ) from None
        self._lines = self._draw(name)

    def _draw(self, encoding: str) -> Iterator[str]:
        with self._open("rt", encoding) as file:
            yield from file

    def _open(self, mode: str, encoding: str | None = None) -> IO[Any]:
        newline = None if mode == "rb" else ""
        if self.path.suffix == ".gz":
            return gzip.open(self.path, mode, encoding=encoding, newline=newline)  # type: ignore[return-value]
        return open(self.path, mode, encoding=encoding, newline=newline)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        try:
            line = next(self._lines)
        except StopIteration:
            self.exhausted = True
            raise
        except UnicodeError:  # some codecs raise no UnicodeDecodeError
            try:
                sentence = self._explain_encoding()
            except (OSError, EOFError, zlib.error) as error:
                sentence = self._cut(error)
            raise CatalogError(sentence) from None
        except (OSError, EOFError, zlib.error) as error:
            raise CatalogError(self._cut(error)) from None
        self.number += 1
        return line

    def _cut(self, error: Exception) -> str:
        return f"{self.path}: cannot be read after line {self.number}: {error}. Write or copy the file again."

    def _explain_encoding(self) -> str:
        position = 0
        wide = codecs.lookup(self.encoding).name.startswith(("utf-16", "utf-32"))
        with self._open("rb") as file:
            for number, line in enumerate(file, start=1):
                if number == 1 and not wide and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    return f"{self.path}: the file is UTF-16, not {self.encoding}: set catalog.encoding: utf-16."
                if wide:
                    break  # a line of bytes is no line of such a file
                try:
                    line.decode(self.encoding)
                except UnicodeDecodeError as error:
                    byte = f"byte {position + error.start} (0x{line[error.start]:02x})"
                    return (
                        f"{self.path}, line {number}: {byte} is not {self.encoding}. "
                        "Set catalog.encoding: latin-1 (or what the file is in), or save the file as UTF-8."
                    )
                except UnicodeError:
                    break
                position += len(line)
        return f"{self.path}: the file is not {self.encoding}. Set catalog.encoding, or save the file as UTF-8."


def _read_parquet(files: list[Path]) -> Table:
    columns = _text_columns(files[0])
    return Table(columns, _parquet_rows(files, columns))


def _text_columns(path: Path) -> tuple[str, ...]:
    try:
        schema = pq.read_schema(path)
        return tuple(field.name for field in schema if _is_text(field.type))
    except (pa.ArrowException, OSError, UnicodeError) as error:
        raise CatalogError(f"{path}: this is no readable Parquet file: {error}") from None


def _is_text(kind: pa.DataType) -> bool:
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _parquet_rows(files: list[Path], columns: tuple[str, ...]) -> Iterator[Row]:
    for path in files:
        missing = set(columns) - set(_text_columns(path))
        if missing:
            raise CatalogError(f"{path}: no column {sorted(missing)}, which {files[0].name} beside it has.")
        number = 0
        try:
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(batch_size=_PARQUET_ROWS, columns=list(columns)):
                    texts = [_strings(batch.column(name)) for name in columns]
                    for values in zip(*texts, strict=True):
                        number += 1
                        yield Row(path.name, number, values, "")
        except (pa.ArrowException, OSError, UnicodeError) as error:
            raise CatalogError(f"{path}: cannot be read after row {number}: {error}") from None


def _strings(values: pa.Array) -> list[str]:
    if pa.types.is_floating(values.type):
        # As Python and pandas write them, so that Parquet and CSV of one table agree: Arrow writes 2403.0 as '2403'.
        return ["" if value is None or value != value else str(value) for value in values.to_pylist()]
    texts: list[str] = pc.fill_null(pc.cast(values, pa.string()), "").to_pylist()
    return texts
