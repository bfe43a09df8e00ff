"""The demo catalogue: products of a French marketplace that never existed, of any number, from a seed.

Row i depends on the seed and on i alone: parts can be made in parallel, a larger catalogue begins with the same rows,
and rows beyond `Synthetic.rows` serve as traffic, drifted or not. One product at a time is in memory. Knows how rows
are kept in files, not how a catalogue is read or cleaned; data/README.md is its data card.
"""

from __future__ import annotations

import csv
import dataclasses
import json
import multiprocessing
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path

from rayon.config import Synthetic
from rayon.data.synthetic_rows import DEPARTMENTS, Drift, has_dangling_photo, make_product, product_id, true_category
from rayon.schema import PRODUCT_COLUMNS, Product

__all__ = ["Drift", "category_names", "iter_products", "true_category", "write_catalogue"]

GENERATOR = 1
"""Raised with every change that makes other rows of the same seed."""

_CHUNK = 200
_FOLDER_ROWS = 1000


def category_names(n: int) -> tuple[str, ...]:
    """Return the names of the first `n` categories (12 to 27), the largest first."""
    return tuple(department.name for department in DEPARTMENTS[:n])


def iter_products(
    settings: Synthetic, drift: Drift | None = None, start: int = 0, stop: int | None = None, photos: bool = True
) -> Iterator[Product]:
    """Yield the products of rows `start` to `stop` (excluded; `settings.rows` where None), one at a time.

    Rows may lie beyond `settings.rows`: that is how traffic after the catalogue is made. `category` is the label as the
    seller gave it, sometimes wrong; `image` is a JPEG, cut short for a truncated photo, None for a missing one or,
    with `photos` False, for all.
    """
    for row in range(start, settings.rows if stop is None else stop):
        yield make_product(settings, row, drift, photos)


def write_catalogue(
    folder: Path,
    settings: Synthetic,
    drift: Drift | None = None,
    start: int = 0,
    progress: Callable[[int, int], None] | None = None,
    workers: int = 1,
) -> Path:
    """Write rows `start` to `start + settings.rows` below `folder` and return the path of its products.csv.

    `folder/products.csv` has the columns of `PRODUCT_COLUMNS`; `image` is a path below `folder/images`, '' for a
    missing photo or, for a quarter of those, the name of a file that is not there. The CSV appears by renaming when all
    photos are written, so that it is complete wherever it exists. `folder/synthetic.json` says how it was made: a
    catalogue that was made the same way is kept, or extended where it has fewer rows. `progress` is called with the
    rows there are and the rows wanted. With `workers` above 1, so many processes draw; they are spawned, so that a
    script needs its `if __name__ == "__main__"`.

    Raises:
        FileExistsError: the folder holds another catalogue, or more rows than asked for. Nothing is touched then.
    """
    products = folder / "products.csv"
    there = _rows_there(folder, products, settings, drift, start)
    if there == settings.rows:
        return products
    (folder / "images").mkdir(parents=True, exist_ok=True)
    _replace(folder / "synthetic.json", json.dumps(_record(settings, drift, start), indent=2) + "\n")
    unfinished = folder / f".products.{os.getpid()}.tmp"
    try:
        if there:
            shutil.copyfile(products, unfinished)
        with unfinished.open("a", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if not there:
                writer.writerow(PRODUCT_COLUMNS)
            for rows in _chunks(folder, settings, drift, range(start + there, start + settings.rows), workers):
                writer.writerows(rows)
                there += len(rows)
                if progress is not None:
                    progress(there, settings.rows)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(products)
    finally:
        unfinished.unlink(missing_ok=True)
    return products


_Row = tuple[str, str, str, str, str]


def _rows_there(folder: Path, products: Path, settings: Synthetic, drift: Drift | None, start: int) -> int:
    """Return how many of the wanted rows `folder` holds already; raise where it holds something else."""
    record = folder / "synthetic.json"
    if not record.exists():
        if products.exists():
            raise FileExistsError(
                f"{products} was not made by this generator (there is no {record.name} beside it): choose another "
                f"folder, or read it as it is by leaving 'catalog.synthetic' out of the configuration"
            )
        return 0
    made, wanted = json.loads(record.read_text(encoding="utf-8")), _record(settings, drift, start)
    if made != wanted:
        differing = ", ".join(
            f"{key} {made.get(key)!r} there, {wanted[key]!r} asked for"
            for key in wanted
            if made.get(key) != wanted[key]
        )
        raise FileExistsError(
            f"{folder} holds a catalogue made with other settings ({differing}): choose another folder, delete this "
            f"one, or ask for the settings in {record}"
        )
    if not products.exists():
        return 0
    with products.open(encoding="utf-8", newline="") as file:
        there = sum(1 for _ in csv.reader(file)) - 1
    if there > settings.rows:
        raise FileExistsError(
            f"{products} holds {there} rows and {settings.rows} were asked for: a catalogue grows and never shrinks; "
            f"ask for {there} rows, choose another folder, or delete this one"
        )
    return there


def _record(settings: Synthetic, drift: Drift | None, start: int) -> dict[str, object]:
    """Return what decides a row besides its number. How many rows there are is left to the CSV to say."""
    return {
        "generator": GENERATOR,
        "seed": settings.seed,
        "categories": settings.categories,
        "start": start,
        "drift": None if drift is None else dataclasses.asdict(drift),
    }


def _replace(path: Path, text: str) -> None:
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.write_text(text, encoding="utf-8")
    unfinished.replace(path)


def _chunks(folder: Path, settings: Synthetic, drift: Drift | None, rows: range, workers: int) -> Iterator[list[_Row]]:
    """Write the photos of `rows` and yield their CSV rows in order, a few hundred at a time."""
    parts = (rows[first : first + _CHUNK] for first in range(0, len(rows), _CHUNK))
    if workers <= 1:
        yield from (_write_photos(folder, settings, drift, part) for part in parts)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[list[_Row]]] = deque()
        for part in parts:
            waiting.append(pool.submit(_write_photos, folder, settings, drift, part))
            if len(waiting) > 2 * workers:  # bounds what waits to be written
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _write_photos(folder: Path, settings: Synthetic, drift: Drift | None, rows: range) -> list[_Row]:
    """Write the photos of `rows` below `folder/images`, a thousand a folder, and return their CSV rows."""
    written: list[_Row] = []
    for row in rows:
        product = make_product(settings, row, drift)
        name = f"{row // _FOLDER_ROWS:03d}/{product_id(row)}.jpg"
        path = folder / "images" / name
        if product.image is not None:
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(product.image)
        elif not has_dangling_photo(settings, row):
            name = ""
        written.append((product.product_id, product.designation, product.description, product.category, name))
    return written
