"""Scores an uploaded file of products, with or without an archive of photos, and writes what people download.

The same planning and scoring as ScoreFlow's, in a folder of its own. What was uploaded is bounded and stays in that
folder: no path or address in it is ever followed. Knows no user interface.
"""

from __future__ import annotations

import dataclasses
import gzip
import lzma
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from rayon.config import Catalog, Columns, Config
from rayon.data.guessing import Layout, guess_layout
from rayon.data.outputs import Outputs
from rayon.data.parquet import check_size, count_rows
from rayon.data.tables import CatalogError, read_table
from rayon.inference import Predictor
from rayon.score_run import conclude, plan_jobs, run_jobs, with_input
from rayon.scoring import as_trained

_SHARD_ROWS = 64  # between two of them others get their turn, and progress is told
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    UnicodeError,
    RuntimeError,
    NotImplementedError,
    OSError,
    EOFError,
)
_ARCHIVE_GROWTH = 20  # photos are compressed already: what grows more than that is a bomb
_ARCHIVE_ENTRIES = 4  # times the rows: a photo each, the folders they lie in, what systems add to an archive
_ARCHIVE_DEPTH = 32
_TABLE_GROWTH = 4  # rows are in memory, several times
_ROW_BYTES = 1 << 24  # as much as a line of a CSV has characters
_WORK = ("photos", "parts", "scored")
"""The folders that are of use while a lot is scored."""
_SHOWN = 200
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class LotError(ValueError):
    """An upload cannot be scored. The message names the file, the place and the remedy."""


class Lot(NamedTuple):
    """A scored file: its first predictions and rejects to show, the files to download, and the counts.

    The CSV files are for spreadsheets: a cell that one would take for a formula begins with an apostrophe.
    """

    shown: pd.DataFrame
    rejects: pd.DataFrame
    files: tuple[Path, ...]
    read: int
    scored: int
    accepted: int
    rejected: int


def score_lot(
    table: Path,
    photos: Path | None,
    predictor: Predictor,
    config: Config,
    folder: Path,
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> Lot:
    """Score the products of `table`, a CSV or Parquet file, their photos being files of the ZIP archive `photos`.

    Columns are called as in the experiment's settings, or product_id, designation, description, image; a CSV may be in
    UTF-8, UTF-16 or Windows-1252 and separated by commas, semicolons, tabs or bars. Photos are named by their path in
    the archive. `folder`, which must not be there, gets what is written; of that the files to download stay, and
    nothing where an exception is raised.

    Raises:
        LotError: the archive is none, or it or a compressed table a bomb; there are too many rows, valid or not.
        rayon.data.rows.CatalogError: the table cannot be read.
    """
    folder.mkdir(parents=True)
    try:
        lot = _score(table, photos, predictor, as_trained(config, predictor.bundle.preprocess), folder, tell)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    for name in _WORK:
        shutil.rmtree(folder / name, ignore_errors=True)
    return lot


def _score(
    table: Path,
    photos: Path | None,
    predictor: Predictor,
    config: Config,
    folder: Path,
    tell: Callable[[str, int, int], None],
) -> Lot:
    images, parts, scored = (folder / name for name in _WORK)
    images.mkdir()
    _check_unpacked(table, config)
    if photos is not None:
        _extract(photos, images, config)
    scoring = _settings(config, table, images, with_photos=photos is not None)
    parts.mkdir()
    rows = 0

    def count(more: int) -> None:
        nonlocal rows
        rows += more
        _check_rows(rows, config)

    def keep(number: int, part: bytes) -> None:
        (parts / str(number)).write_bytes(part)

    jobs, refused = plan_jobs(scoring, str(table), keep, count)
    outputs = Outputs(str(scored))
    done = list(
        run_jobs(
            jobs,
            lambda number: (parts / str(number)).read_bytes(),
            predictor,
            predictor.version.encode(),
            scoring,
            outputs,
            tell,
        )
    )
    rejected = [one.rejects for one in done]
    summary, rejects = conclude(jobs, refused, [one.summary for one in done], rejected, predictor.version, outputs)
    # paths are the server's affair
    told = rejects.assign(detail=rejects["detail"].str.replace(f"{images.resolve()}/", "", regex=False))
    files, shown = _write(folder, [one.data for one in done], told)
    return Lot(
        shown,
        told.head(_SHOWN)[["row", "product_id", "reason", "detail"]],
        files,
        summary["read"],
        summary["products"],
        summary["accepted"],
        summary["rejected"],
    )


def plain_cell(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula: text that begins like one gets an apostrophe first."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


def _settings(config: Config, table: Path, images: Path, with_photos: bool) -> Config:
    scoring = with_input(config, str(table), str(images))
    layout = guess_layout(table)
    header = _header(table, layout)
    columns, image_name = config.catalog.columns, config.catalog.image_name
    if header and columns.designation not in header and Columns().designation in header:
        columns, image_name = Columns(), None
    if not with_photos:
        columns, image_name = dataclasses.replace(columns, image=""), None
    if header:  # what a file of new products does not have is empty, but for the title
        absent = {name: "" for name in ("description", "image") if getattr(columns, name) not in header}
        columns = dataclasses.replace(columns, **absent)
    catalog = Catalog(
        products=scoring.catalog.products,
        images=str(images),  # never the server's own folder
        image_name=image_name,
        columns=columns,
        **layout._asdict(),
    )
    score = dataclasses.replace(config.score, shard_rows=_SHARD_ROWS)
    return dataclasses.replace(scoring, catalog=catalog, score=score)


def _header(table: Path, layout: Layout) -> tuple[str, ...]:
    try:
        return read_table(table, *layout).columns
    except CatalogError:  # whoever reads it all says what is wrong
        return ()


def _check_rows(rows: int, config: Config) -> None:
    if rows > config.app.lot_rows:
        raise LotError(
            f"the file has more than {config.app.lot_rows:,} rows: score it with "
            "`python flows/score_flow.py run --input FILE`, or in parts."
        )


def _check_unpacked(table: Path, config: Config) -> None:
    bound, total = int(config.app.max_upload_megabytes * 1e6) * _TABLE_GROWTH, 0
    if table.suffix.lower() in (".parquet", ".pq"):
        _check_rows(count_rows(table), config)
        check_size(table, bound, _ROW_BYTES)
    if table.suffix.lower() != ".gz":
        return
    try:
        with gzip.open(table) as file:
            for piece in _pieces(file):
                total += len(piece)
                if total > bound:
                    raise LotError(f"{table.name}: it unpacks to more than {bound / 1e6:,.0f} megabytes.")
    except _DAMAGE:
        return  # whoever reads it says what is wrong


def _extract(archive: Path, folder: Path, config: Config) -> None:
    bound = int(config.app.max_upload_megabytes * 1e6) * _ARCHIVE_GROWTH
    each = int(config.preprocess.max_image_megabytes * 1e6)
    most = config.app.lot_rows * _ARCHIVE_ENTRIES
    total, folders = 0, set[PurePosixPath]()
    try:
        with zipfile.ZipFile(archive) as files:
            entries = files.infolist()
            for entry in entries:
                path = PurePosixPath(entry.filename.replace("\\", "/"))
                if len(path.parts) > _ARCHIVE_DEPTH:  # each folder's path is kept
                    raise LotError(f"{archive.name}: '{entry.filename[:100]}' lies too deep: pack flat folders.")
                folders.update(path.parents)
                if len(entries) + len(folders) > most:
                    raise LotError(
                        f"{archive.name}: it has more than {most:,} files and folders. Pack the photos of this table "
                        "alone, or score them in parts."
                    )
                if entry.is_dir():
                    continue
                if path.is_absolute() or ".." in path.parts or ":" in entry.filename or "\0" in entry.filename:
                    raise LotError(f"{archive.name}: '{entry.filename[:100]}' leaves the archive's folder.")
                place = folder.joinpath(*path.parts)
                place.parent.mkdir(parents=True, exist_ok=True)
                with files.open(entry) as source, open(place, "wb") as target:
                    for piece in _pieces(source):
                        total += len(piece)
                        if total > bound:
                            raise LotError(f"{archive.name}: it unpacks to more than {bound / 1e6:,.0f} megabytes.")
                        if target.tell() + len(piece) > each:
                            break  # too large for a photo: it is refused by name when its product is read
                        target.write(piece)
    except _DAMAGE as error:
        words = str(error).replace(str(folder), "")
        raise LotError(f"{archive.name}: this is no ZIP archive that can be read ({words}). Pack it anew.") from None


def _pieces(source: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while piece := source.read(1 << 16):
        yield piece


def _write(folder: Path, shards: list[bytes], rejects: pd.DataFrame) -> tuple[tuple[Path, ...], pd.DataFrame]:
    """Write the files to download, a shard at a time."""
    parquet, text, lost = (folder / name for name in ("predictions.parquet", "predictions.csv", "rejects.csv"))
    shown: list[pd.DataFrame] = []
    writer: pq.ParquetWriter | None = None
    with open(text, "w", encoding="utf-8-sig", newline="") as file:
        for number, data in enumerate(shards):
            table = pq.read_table(pa.BufferReader(data))
            writer = writer or pq.ParquetWriter(parquet, table.schema.remove_metadata(), compression="zstd")
            writer.write_table(table.replace_schema_metadata(None))
            frame = _readable(table.to_pandas())
            frame.map(plain_cell).to_csv(file, index=False, header=number == 0)
            if sum(map(len, shown)) < _SHOWN:
                shown.append(frame)
    if writer is not None:
        writer.close()
    with open(lost, "w", encoding="utf-8-sig", newline="") as file:
        rejects.map(plain_cell).to_csv(file, index=False)
    files = (text, parquet, lost) if writer is not None else (lost,)
    return files, pd.concat(shown).head(_SHOWN) if shown else pd.DataFrame(columns=_COLUMNS)


_COLUMNS = ["product_id", "category", "confidence", "decision", "second", "photo_problem"]


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    """The columns that a person wants, the likeliest category and the one after it."""
    second = [top[1]["category"] if len(top) > 1 else "" for top in frame["top_k"]]
    return frame.assign(second=second, confidence=frame["confidence"].round(4))[_COLUMNS]
