"""How a catalogue that nobody has described yet is best read: its separator, encoding, columns and photo names.

Guesses from names and contents of the first rows. It does not decide: whoever asked sees what was taken and why, and
edits what is wrong.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import os
import re
import unicodedata
import zlib
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from rayon.config import Catalog, Columns, Quoting
from rayon.data.tables import CatalogError, read_table
from rayon.schema import CATEGORY, DESCRIPTION, DESIGNATION, IMAGE, PRODUCT_ID

ROWS = 2000
"""Rows that are looked at."""

_HEAD_BYTES = 1 << 20

PHOTOS = 2000
"""File names of the photos' folder that are looked at."""

DELIMITERS = (",", ";", "\t", "|")

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")

NAMES = {
    PRODUCT_ID: "id identifiant productid product sku ref reference ean gtin upc asin code article uuid artikelnummer",
    DESIGNATION: "designation title titre name nom libelle produit productname producttitle intitule label article "
    "nombre titulo titel bezeichnung",
    DESCRIPTION: "description desc descriptif body detail details texte text summary resume longdescription content "
    "beschreibung descripcion",
    CATEGORY: "category categorie rayon departement department prdtypecode class classe famille type label target "
    "kategorie categoria segment universe univers",
    IMAGE: "image photo picture img imagefile imageurl photourl visuel file filename url imagepath path bild "
    "imagen foto",
}
"""What shops call these columns, without accents, spaces and case; the earlier, the surer."""

_ORDER = (CATEGORY, IMAGE, PRODUCT_ID, DESCRIPTION, DESIGNATION)


class Layout(NamedTuple):
    """How a text file of rows is written, as `read_table` asks for it."""

    encoding: str = "utf-8"
    delimiter: str = ","
    quoting: Quoting = "standard"


class Column(NamedTuple):
    """What the first rows say of a column; shares are of those rows, `length` is the mean of filled values."""

    name: str
    example: str
    filled: float
    distinct: float
    length: float
    photos: float
    addresses: bool


class Guess(NamedTuple):
    """How a file is best read. `columns` by field of a product, absent where none was found; `missing` names those that
    a training cannot do without.
    """

    catalog: Catalog
    columns: dict[str, Column]
    missing: tuple[str, ...]


def guess_catalog(products: Path, images: Path | None = None, labels: Path | None = None) -> Guess:
    """Return how to read a catalogue: CSV, TSV or Parquet, with `labels` its category in a second file.

    Without `images`, photos are looked for beside the file.

    Raises:
        CatalogError: a file is missing, empty or damaged.
    """
    layout = guess_layout(products)
    names, rows = _first(products, layout)
    looked = [_look(name, [row[at] for row in rows]) for at, name in enumerate(names)]
    label_names, label_rows = _first(labels, layout) if labels is not None else ((), [])
    among = [_look(name, [row[at] for row in label_rows]) for at, name in enumerate(label_names)]
    found: dict[str, Column] = {}
    for field in _ORDER:
        choices = among if field == CATEGORY and labels is not None else looked
        taken = {column.name for column in found.values()}
        scored = [(_score(field, column), column) for column in choices if column.name not in taken]
        best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
        if best[1] is not None and best[0] > 0:
            found[field] = best[1]
    pattern = None
    if images is not None:
        used = found.get(IMAGE)
        pattern = _photo_pattern(images, names, rows) if used is None or not used.photos else None
        if pattern:
            found.pop(IMAGE, None)
    # os.path takes what is too long for a name for no file, Path does not
    if images is None and IMAGE in found and os.path.isfile(products.parent / found[IMAGE].example):
        images = products.parent
    elsewhere = IMAGE in found and (found[IMAGE].addresses or Path(found[IMAGE].example).is_absolute())
    catalog = Catalog(
        products=str(products),
        labels=str(labels) if labels is not None else None,
        images=str(images) if images is not None and not elsewhere else None,
        image_name=pattern,
        columns=Columns(**{field: found[field].name if field in found else "" for field in _ORDER}),
        **layout._asdict(),
        allow_urls=IMAGE in found and found[IMAGE].addresses,
    )
    needed = (PRODUCT_ID, DESIGNATION, CATEGORY)
    return Guess(catalog, found, tuple(field for field in needed if field not in found))


def guess_quoting(text: str, delimiter: str) -> Quoting:
    """Return 'none' where the quotation marks in the beginning of a CSV enclose nothing and each line is a row."""
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        for _ in reader:
            pass
    except csv.Error:
        whole = lines[:-1]  # the last may be cut off, within quotation marks too
        alike = len({line.count(delimiter) for line in whole if line.strip()}) == 1
        return "none" if reader.line_num < len(lines) and alike else "standard"
    return "standard"


def guess_layout(path: Path) -> Layout:
    """Return how a CSV (.gz too) is written; for Parquet, a folder or what cannot be opened the defaults, as whoever
    reads it says what is wrong.
    """
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in (".parquet", ".pq"):
        return Layout()
    try:
        with gzip.open(path) if suffix == ".gz" else path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except (OSError, EOFError, zlib.error):
        return Layout()
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(head)
            encoding = "utf-8-sig" if head.startswith(codecs.BOM_UTF8) else "utf-8"
        except UnicodeDecodeError:
            encoding = "cp1252" if _is(head, "cp1252") else "latin-1"
    text = codecs.getincrementaldecoder(encoding)(errors="ignore").decode(head)
    delimiter = max(DELIMITERS, key=lambda delimiter: _columns_of(text, delimiter))
    return Layout(encoding, delimiter, guess_quoting(text, delimiter))


def _is(head: bytes, encoding: str) -> bool:
    try:
        head.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _columns_of(text: str, delimiter: str) -> float:
    """Return how many columns a delimiter makes, 0 where the rows do not agree with the header."""
    try:
        rows = [row for row in islice(csv.reader(io.StringIO(text), delimiter=delimiter), 50) if row]
    except csv.Error:
        return 0.0
    if len(rows) > 2:
        rows = rows[:-1]  # the last may be cut off
    width = len(rows[0]) if rows else 0
    return width * sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0


def _first(path: Path, layout: Layout) -> tuple[tuple[str, ...], list[Sequence[str]]]:
    table = read_table(path, *layout)
    rows = [row.values for row in islice(table.rows, ROWS) if not row.problem]
    if not rows:
        raise CatalogError(f"{path}: there is no data row to learn from.")
    return table.columns, rows


def _look(name: str, values: Sequence[str]) -> Column:
    filled = [value.strip() for value in values if value.strip()]
    photos = sum(Path(value.partition("?")[0]).suffix.lower() in PHOTO_SUFFIXES for value in filled)
    addresses = sum(value.startswith(("http://", "https://")) for value in filled)
    count = max(len(filled), 1)
    return Column(
        name,
        filled[0] if filled else "",
        len(filled) / len(values),
        len(set(filled)) / count,
        sum(map(len, filled)) / count,
        max(photos, addresses) / count,
        addresses > count / 2,
    )


def _score(field: str, column: Column) -> float:
    """Return how much a column looks like a field, 0 where it cannot be that."""
    words = NAMES[field].split()
    name = _plain(column.name)
    if name in words:
        named = 2.0 - words.index(name) / len(words)
    else:
        named = 0.8 if any(len(word) > 3 and word in name for word in words) else 0.0
    long = column.length
    fits = {
        PRODUCT_ID: column.filled == 1 and column.distinct == 1 and long <= 40 and column.photos < 0.5,
        DESIGNATION: column.filled > 0.5 and 4 <= long <= 300 and column.distinct > 0.3 and column.photos < 0.5,
        DESCRIPTION: (named > 1 or long > 3) and column.photos < 0.5,
        CATEGORY: column.filled > 0.8 and column.distinct <= 0.5 and long <= 120 and column.photos < 0.5,
        IMAGE: column.photos > 0.5 or (named >= 1 and column.filled > 0 and long > 3),
    }[field]
    if not fits:
        return 0.0
    if field == IMAGE:
        return named + column.photos
    if field == DESIGNATION and not named:
        return 0.1 * column.distinct if " " in column.example else 0.0
    return named


def _plain(name: str) -> str:
    """Return a column's name without accents, case and what is no letter: 'Libellé_produit' -> 'libelleproduit'."""
    bare = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z]", "", bare)


def _photo_pattern(folder: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> str | None:
    """Return how files of a folder are named by columns, as in 'image_{imageid}_product_{productid}.jpg'."""
    files = [path.name for path in islice(folder.iterdir(), PHOTOS) if path.suffix.lower() in PHOTO_SUFFIXES]
    by_value: list[dict[str, int]] = [{row[at]: number for number, row in enumerate(rows)} for at in range(len(names))]
    telling = [at for at, values in enumerate(by_value) if len(values) > len(rows) / 2 and "" not in values]
    seen: Counter[str] = Counter()
    for file in files:
        stem, suffix = Path(file).stem, Path(file).suffix
        parts = re.split(r"([A-Za-z0-9-]+)", stem)
        for anchor in telling:
            matched = [part for part in (stem, *parts[1::2]) if part in by_value[anchor]]
            if not matched:
                continue
            row = rows[by_value[anchor][matched[0]]]
            if matched[0] == stem:
                seen[f"{{{names[anchor]}}}{suffix}"] += 1
                continue
            places = {row[at]: names[at] for at in reversed(telling) if row[at]}
            seen["".join(f"{{{places[part]}}}" if part in places else part for part in parts) + suffix] += 1
    best = seen.most_common(1)
    return best[0][0] if best and best[0][1] > 1 else None
