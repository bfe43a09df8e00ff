"""Files of rows: CSV, TSV and Parquet read as strings, row by row, with what is wrong said in words.

Knows formats, encodings, separators and quotation marks. It does not know what any column means.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import zlib
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, Any

from rayon.data.parquet import read_parquet
from rayon.data.rows import CatalogError, Row, Table

__all__ = ["CatalogError", "Row", "Table", "read_table"]

_MAX_FIELD_CHARS = 1 << 24
_MAX_LINE_CHARS = 1 << 24  # a line is held whole before the reader counts its fields
_OTHER_DELIMITERS = {";": "';'", "\t": '"\\t"', "|": "'|'", ",": "','"}


def read_table(
    path: Path, encoding: str, delimiter: str, quoting: str = "standard", wanted: Collection[str] = ()
) -> Table:
    """Open a CSV or TSV (.gz too), a Parquet file or a folder of Parquet files.

    With `quoting` 'none' a quotation mark of a CSV is part of its value. Columns of bytes in a Parquet file are read
    where they are `wanted`.

    Raises:
        CatalogError: at once, or while rows are drawn: the file is missing, empty, damaged or in another encoding.
    """
    if not path.exists():
        raise CatalogError(f"{path}: there is no such file. Set catalog.products (or catalog.labels) to where it is.")
    if path.is_dir():
        files = sorted(path.glob("*.parquet"))
        if not files:
            raise CatalogError(f"{path}: the folder holds no .parquet file. Name a file, or a folder of Parquet files.")
        return read_parquet(files, wanted)
    suffix = path.suffix.lower()
    if suffix in (".parquet", ".pq"):
        return read_parquet([path], wanted)
    if suffix in (".xlsx", ".xls", ".ods"):
        raise CatalogError(f"{path}: spreadsheets are not read. Save it as CSV (UTF-8).")
    if path.name.lower().endswith((".tsv", ".tsv.gz")) and delimiter == ",":
        delimiter = "\t"
    return _read_csv(path, encoding, delimiter, quoting)


def _read_csv(path: Path, encoding: str, delimiter: str, quoting: str) -> Table:
    if len(delimiter) != 1:
        raise CatalogError(
            f'catalog.delimiter = {delimiter!r}: write one character; a tabulator is "\\t" in double quotes.'
        )
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_FIELD_CHARS))
    lines = _Lines(path, encoding)
    plain = quoting == "none"
    reader = csv.reader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL)
    header = next((values for values in reader if values), None)
    if header is None:
        raise CatalogError(f"{path}: the file is empty. It needs a header line and data rows.")
    columns = tuple(header)
    hint = ""
    if len(columns) == 1:
        other = max(_OTHER_DELIMITERS, key=columns[0].count)
        if other in columns[0]:
            hint = f"The header looks separated by {other!r}: set catalog.delimiter: {_OTHER_DELIMITERS[other]}."
    return Table(columns, _csv_rows(path, reader, lines, len(columns), delimiter), hint)


def _csv_rows(path: Path, reader: Any, lines: _Lines, width: int, delimiter: str) -> Iterator[Row]:
    number = 0
    while True:
        first_line = lines.number + 1
        lines.drawn.clear()
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
            problem = f"the row has too {many} fields: {len(values)}, where the header has {width}: {_ROW_REMEDY}"
        if len(lines.drawn) > 1 and _is_several(lines.drawn, len(values), width, delimiter):
            problem = (
                f"lines {first_line} to {lines.number} are rows of their own that a quotation mark made one: set "
                "catalog.quoting: none where such marks are part of the values, else double each one that is"
            )
        yield Row(path.name, number, values, problem)


_QUOTE_REMEDY = (
    "Close the quotation mark, or double each one that is part of a value; where the file puts no value between "
    "quotation marks, set catalog.quoting: none."
)
_ROW_REMEDY = "look for a separator or a line break inside a value that is not between quotation marks"


def _is_several(lines: list[str], fields: int, width: int, delimiter: str) -> bool:
    """Say whether the lines that were read as one row are several, taken in by quotation marks that quote nothing.

    One line of a long description may have as many separators as a row. So some are suspected only where a closing mark
    has text behind it, which no program writes; or where all lines have exactly a row's separators, none with a space
    behind it as in prose, and they are more than two or make no row together.
    """
    if width == 1 or not any(line.count(delimiter) >= width - 1 for line in lines[1:]):
        return False
    try:
        next(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return True
    alike = all(line.count(delimiter) == width - 1 and f"{delimiter} " not in line for line in lines)
    return alike and (len(lines) > 2 or fields != width)


class _Lines:
    """The decoded lines of a file, as drawn so far: `number` of them, `exhausted` once one too many was asked for;
    `drawn` are the last ones, for whoever reads to clear.
    """

    def __init__(self, path: Path, encoding: str) -> None:
        self.path = path
        self.encoding = encoding
        self.number = 0
        self.drawn: list[str] = []
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
            while line := file.readline(_MAX_LINE_CHARS + 1):
                if len(line) > _MAX_LINE_CHARS:
                    raise CatalogError(
                        f"{self.path}, line {self.number + 1}: it has more than {_MAX_LINE_CHARS:,} characters. See "
                        "that the file is a table whose rows end in line breaks."
                    )
                yield line

    def _open(self, mode: str, encoding: str | None = None) -> IO[Any]:
        newline = None if mode == "rb" else ""
        if self.path.suffix.lower() == ".gz":
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
        self.drawn.append(line)
        return line

    def _cut(self, error: Exception) -> str:
        return f"{self.path}: cannot be read after line {self.number}: {error}. Write or copy the file again."

    def _explain_encoding(self) -> str:
        position = 0
        wide = codecs.lookup(self.encoding).name.startswith(("utf-16", "utf-32"))
        with self._open("rb") as file:
            for number, line in enumerate(iter(lambda: file.readline(_MAX_LINE_CHARS), b""), start=1):
                if number == 1 and not wide and line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                    return f"{self.path}: the file is UTF-16, not {self.encoding}: set catalog.encoding: utf-16."
                if wide or len(line) == _MAX_LINE_CHARS:
                    break  # a line of bytes is no line of such a file, or cut within a character
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
