"""Uploaded files: all rows accounted for, spreadsheets' habits understood, nothing followed out of the upload."""

from __future__ import annotations

import gzip
import io
import tracemalloc
import zipfile
from collections import Counter
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayon.data.tables import CatalogError
from rayon.inference import Predictor
from rayon.serving.lots import LotError, plain_cell, score_lot


@pytest.fixture
def score(classifier, app_config, tmp_path):
    """Score a table, given as text or bytes, with photos given as {name in the archive: bytes}."""

    def run(table: str | bytes, photos: dict[str, bytes] | None = None, suffix: str = ".csv", **app):
        file = tmp_path / f"products{suffix}"
        file.write_bytes(table.encode() if isinstance(table, str) else table)
        archive = None
        if photos is not None:
            archive = tmp_path / "photos.zip"
            with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as files:
                for name, data in photos.items():
                    files.writestr(name, data)
        predictor = Predictor(classifier[0], "TrainFlow/7", 0.9)
        return score_lot(file, archive, predictor, app_config(**app), tmp_path / "lot")

    return run


def read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def test_every_row_is_a_prediction_or_a_reject(score, catalogue):
    photo = (catalogue / "images" / "0.png").read_bytes()
    table = "product_id,designation,image\n1,lampe chevet,a/0.png\n2,,\n1,vase bouquet,\n3,,b.png\n4,,gone.png\n"
    lot = score(table, {"a/0.png": photo, "b.png": photo, "empty/": b""})
    assert (lot.read, lot.scored, lot.rejected) == (5, 2, 3)
    csv, parquet, rejects = lot.files
    assert read(csv)["product_id"].tolist() == ["1", "3"] and read(csv)["category"][0] == "lampes"
    assert pd.read_parquet(parquet)["image_contribution"][1] == 1.0
    assert read(rejects)["row"].tolist() == ["2", "3", "5"]
    assert lot.rejects["reason"].tolist() == read(rejects)["reason"].tolist()
    assert len(lot.shown) == 2


@pytest.mark.parametrize(
    "table",
    [
        "product_id;designation\n1;lampe de chevet d'été\n2;vase bouquet\n".encode("cp1252"),
        "\ufeffproduct_id\tdesignation\n1\tlampe de chevet d'été\n2\tvase bouquet\n".encode(),
        "product_id|designation|description\n1|lampe de chevet d'été|\n2|vase bouquet|bleu\n".encode(),
        "product_id\tdesignation\r\n1\tlampe de chevet d'été\r\n2\tvase bouquet\r\n".encode("utf-16"),
    ],
)
def test_what_spreadsheets_write_is_read(score, table):
    lot = score(table)
    assert (lot.read, lot.scored) == (2, 2) and lot.shown["category"].tolist() == ["lampes", "vases"]


def test_quotation_marks_that_enclose_nothing_take_in_no_row(score):
    lot = score('product_id\tdesignation\n1\t"lampe chevet\n2\tlampe led\n3\t"vase" bouquet\n4\tvase\n')
    assert (lot.read, lot.scored) == (4, 4)


def test_parquet_is_read(score, tmp_path):
    pd.DataFrame({"product_id": ["1"], "designation": ["lampe"]}).to_parquet(tmp_path / "x.parquet")
    assert score((tmp_path / "x.parquet").read_bytes(), suffix=".parquet").scored == 1


def test_no_photo_of_the_server_is_looked_at(score, catalogue, tmp_path):
    """Without an archive the photo column counts for nothing, with one it stays inside."""
    inside = (catalogue / "images" / "0.png").resolve()
    table = f"product_id,designation,image\n1,lampe,{inside}\n2,lampe,0.png\n3,lampe,http://127.0.0.1:1/x.png\n"
    assert not pd.read_parquet(score(table).files[1])["has_image"].any()
    (tmp_path / "lot").rename(tmp_path / "before")
    other = score(table, {"other.png": inside.read_bytes()})
    assert not pd.read_parquet(other.files[1])["has_image"].any()
    (tmp_path / "lot").rename(tmp_path / "again")
    lot = score(table, {"0.png": inside.read_bytes()})
    assert pd.read_parquet(lot.files[1])["has_image"].tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["../out.png", "/etc/out.png", "a/../../out.png", "..\\out.png", "c:out.png"])
def test_an_archive_stays_in_its_folder(score, tmp_path, name):
    with pytest.raises(LotError, match="leaves the archive's folder"):
        score("product_id,designation\n1,lampe\n", {name: b"x"})
    assert not list(tmp_path.rglob("out.png")) and not Path("/etc/out.png").exists()


def test_a_bomb_of_an_archive_is_refused(score, tmp_path, monkeypatch):
    monkeypatch.setattr("rayon.serving.lots.shutil.rmtree", lambda *_, **__: None)  # to see what was there
    with pytest.raises(LotError, match="unpacks to more than"):
        score(
            "product_id,designation\n1,lampe\n",
            {f"{n}.png": bytes(3_000_000) for n in range(8)},
            max_upload_megabytes=1,
        )
    written = sum(file.stat().st_size for file in (tmp_path / "lot" / "photos").rglob("*") if file.is_file())
    assert written <= 21_000_000


@pytest.mark.parametrize("name", ["{}", "{}/x", "{0}/{0}/{0}/"])
def test_an_archive_has_not_many_more_entries_than_rows(score, tmp_path, name):
    with pytest.raises(LotError, match=r"photos\.zip: it has more than 40 files and folders"):
        score("product_id,designation\n1,lampe\n", {name.format(n): b"" for n in range(41)}, lot_rows=10)
    assert score("product_id,designation\n1,lampe\n", {f"a/{n}": b"" for n in range(30)}, lot_rows=10).scored == 1


def test_an_archive_is_not_deep(score):
    tracemalloc.start()
    with pytest.raises(LotError, match="lies too deep"):
        score("product_id,designation\n1,lampe\n", {"a/" * 16_000 + "1.jpg": b"x"})
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


def test_of_a_lot_the_files_to_download_are_left_and_of_a_refused_one_nothing(score, tmp_path, catalogue):
    photo = (catalogue / "images" / "0.png").read_bytes()
    table = "product_id,designation,image\n1,lampe,a/0.png\n2,,\n"
    with pytest.raises(LotError):
        score(table, {"a/0.png": photo, "../b.png": photo})
    with pytest.raises(CatalogError):
        score("", {"a/0.png": photo})
    with pytest.raises(LotError):
        score(table, {"a/0.png": photo}, lot_rows=1)
    assert not (tmp_path / "lot").exists()
    lot = score(table, {"a/0.png": photo})
    assert sorted((tmp_path / "lot").rglob("*")) == sorted(lot.files) and lot.scored == 1


def test_no_archive_is_a_sentence(score, tmp_path, classifier, app_config):
    table = tmp_path / "t.csv"
    table.write_text("product_id,designation\n1,lampe\n")
    broken = tmp_path / "broken.zip"
    for content in (b"", b"PK\x03\x04 no more", b"plain text"):
        broken.write_bytes(content)
        with pytest.raises(LotError, match=r"broken\.zip: this is no ZIP archive"):
            score_lot(table, broken, Predictor(classifier[0], "7", 0.9), app_config(), tmp_path / f"l{len(content)}")


def test_tables_that_cannot_be_read_are_sentences(score):
    for table, words in [("", "empty"), ("product_id,designation\n", "no data row"), ("a,b\n1,2\n", "column")]:
        with pytest.raises(CatalogError, match=words):
            score(table)


def test_too_many_rows_are_for_the_flow(score):
    rows = "".join(f"{n},lampe {n}\n" for n in range(200))
    with pytest.raises(LotError, match=r"more than 100 rows.*score_flow"):
        score("product_id,designation\n" + rows, lot_rows=100)


def test_too_many_rows_that_are_refused_are_too_many(score, tmp_path):
    with pytest.raises(LotError, match=r"more than 100 rows.*score_flow"):
        score(gzip.compress(b"product_id,designation\n" + b"1,lampe\n" * 40_000), suffix=".csv.gz", lot_rows=100)
    assert not (tmp_path / "lot" / "scored").exists()


def test_a_bomb_of_a_table_is_refused(score, tmp_path):
    with pytest.raises(LotError, match=r"products\.csv\.gz: it unpacks to more than 4 megabytes"):
        score(
            gzip.compress(b"product_id,designation\n1," + b"x" * 5_000_000), suffix=".csv.gz", max_upload_megabytes=1.0
        )
    with pytest.raises(CatalogError, match="cannot be read"):
        score(b"\x1f\x8b no more", suffix=".csv.gz")


def stored(titles: object, **options: object) -> bytes:
    """Return a Parquet file of products with those titles."""
    table = pa.table({"product_id": [str(n) for n in range(len(titles))], "designation": titles})
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


LONG = "lampe " * 20_000


@pytest.mark.parametrize(
    "table",
    [
        stored([LONG] * 100),
        stored(pa.array([LONG] * 100).dictionary_encode()),
        stored(pa.array([LONG] * 100, pa.string_view())),
        stored(pa.array([LONG.encode()] * 100, pa.binary(len(LONG)))),
        stored(
            [f"{LONG}{n}" for n in range(100)],
            use_dictionary=False,
            column_encoding={"designation": "DELTA_BYTE_ARRAY"},
        ),
        stored([f"{n}{LONG}" for n in range(100)], compression="zstd"),
    ],
    ids=["repeated", "dictionary", "views", "fixed", "differences", "packed"],
)
def test_a_bomb_of_a_parquet_file_is_refused(score, table, monkeypatch):
    assert len(table) < 2_000_000 < 100 * len(LONG)
    monkeypatch.setattr("rayon.serving.lots.plan_jobs", None)  # nothing of it becomes a string
    with pytest.raises(CatalogError, match=r"products\.parquet: it unpacks to more than 4 megabytes"):
        score(table, suffix=".parquet", max_upload_megabytes=1.0)


def test_what_a_parquet_file_says_of_its_size_is_not_believed(score, monkeypatch):
    monkeypatch.setattr("rayon.data.parquet._stored", lambda metadata: Counter())
    long = pa.DictionaryArray.from_arrays(pa.array([0] * 3000, pa.int32()), pa.array(["z" * 1_000_000]))
    table = stored(long, store_schema=False)
    before = pa.default_memory_pool().max_memory()
    with pytest.raises(CatalogError, match="it unpacks to more than 4 megabytes"):
        score(table, suffix=".parquet", max_upload_megabytes=1.0)
    assert pa.default_memory_pool().max_memory() < before + 50_000_000


def test_a_parquet_file_is_bounded_in_its_rows(score, tmp_path):
    with pytest.raises(CatalogError, match=r"products\.parquet, row 2: it has more than 16,777,216 bytes"):
        score(stored(["lampe", "x" * (1 << 24) + "y"]), suffix=".parquet")
    with pytest.raises(LotError, match=r"more than 100 rows.*score_flow"):
        score(stored(["lampe"] * 101), suffix=".parquet", lot_rows=100)


def test_parquet_of_any_types_is_measured_and_read(score, tmp_path):
    table = pa.table(
        {
            "product_id": pa.array([1, 2, 3]),
            "designation": pa.array(["lampe", None, "lampe"]).dictionary_encode(),
            "description": pa.array(["", None, "bleu"], pa.large_string()),
            "vector": pa.array([[1.0], None, []]),
            "price": pa.array([1.5, None, 2.0]),
        }
    )
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    assert score((tmp_path / "x.parquet").read_bytes(), suffix=".parquet", max_upload_megabytes=0.001).scored == 2
    (tmp_path / "lot").rename(tmp_path / "before")
    with pytest.raises(CatalogError, match="no readable Parquet file"):
        score(b"PAR1 no more", suffix=".parquet")


def test_formulas_are_text_in_a_spreadsheet(score):
    lot = score('product_id,designation\n"=HYPERLINK(""http://x"")",lampe\n@SUM(1),\n-1,lampe\n')
    csv, parquet, rejects = lot.files
    assert read(csv)["product_id"].tolist() == ['\'=HYPERLINK("http://x")', "'-1"]
    assert read(rejects)["product_id"].tolist() == ["'@SUM(1)"]
    assert pd.read_parquet(parquet)["product_id"][0].startswith("=HYPERLINK")
    assert plain_cell("+33 1") == "'+33 1" and plain_cell("a=1") == "a=1" and plain_cell(-1.5) == -1.5
