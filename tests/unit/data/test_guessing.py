"""Catalogues that nobody has described: of many separators, languages and ways to name photos."""

from __future__ import annotations

import gzip
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from rayon.cli import app
from rayon.cli_init import _photos_there, plain_name, write_experiment
from rayon.config import Catalog, Columns, parse_config, read_config
from rayon.data.catalog import CatalogError, read_catalog
from rayon.data.guessing import guess_catalog

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    (f"A{n}", f"Lampe de chevet {n}", "" if n % 3 else "Très jolie; à poser", ("Déco", "Jeux")[n % 2])
    for n in range(40)
]


def french(folder: Path, delimiter: str = ";", encoding: str = "cp1252") -> Path:
    frame = pd.DataFrame(ROWS, columns=["Réf", "Libellé", "Descriptif", "Rayon"])
    path = folder / "articles.csv"
    frame.to_csv(path, sep=delimiter, encoding=encoding, index=False)
    return path


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_separator_encoding_and_french_columns_are_found(tmp_path: Path, delimiter: str, encoding: str) -> None:
    guess = guess_catalog(french(tmp_path, delimiter, encoding))
    assert guess.catalog.columns == Columns("Réf", "Libellé", "Descriptif", "Rayon", "")
    assert not guess.missing
    (frame,) = read_catalog(guess.catalog)
    assert list(frame["designation"]) == [row[1] for row in ROWS] and list(frame["category"]) == [
        row[3] for row in ROWS
    ]


def test_a_packed_file_is_looked_into_whatever_the_case_of_its_name(tmp_path: Path) -> None:
    path = tmp_path / "ARTICLES.CSV.GZ"
    path.write_bytes(gzip.compress(french(tmp_path, ";", "cp1252").read_bytes()))
    guess = guess_catalog(path)
    assert (guess.catalog.encoding, guess.catalog.delimiter) == ("cp1252", ";") and not guess.missing
    (frame,) = read_catalog(guess.catalog)
    assert list(frame["designation"]) == [row[1] for row in ROWS]


@pytest.mark.parametrize("title", ['"Grand" lit', '"Lit'])
def test_quotation_marks_that_enclose_nothing_are_found(tmp_path: Path, title: str) -> None:
    path = tmp_path / "articles.csv"
    lines = [f"{n};{title if n in (3, 9) else 'Lit'} {n};{('Déco', 'Jeux')[n % 2]}\n" for n in range(12)]
    path.write_text("".join(["id;titre;rayon\n", *lines]), encoding="utf-8")
    guess = guess_catalog(path)
    assert guess.catalog.quoting == "none"
    (frame,) = read_catalog(guess.catalog)
    assert len(frame) == 12 and frame["designation"][3] == f"{title} 3"
    pd.DataFrame({"id": range(9), "titre": '"Grand"\nlit; "19"'}).to_csv(path, sep=";", index=False)
    assert guess_catalog(path).catalog.quoting == "standard"


def test_rakutens_files_are_found_with_their_labels_and_photo_names(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "": range(30),
            "designation": [f"Jeu de société {n}" for n in range(30)],
            "description": [""] * 30,
            "productid": range(10_000, 10_030),
            "imageid": range(900, 930),
        }
    )
    frame.to_csv(tmp_path / "X.csv", index=False)
    pd.DataFrame({"": range(30), "prdtypecode": [10, 40, 50] * 10}).to_csv(tmp_path / "Y.csv", index=False)
    photos = tmp_path / "image_train"
    photos.mkdir()
    for n in range(30):
        (photos / f"image_{900 + n}_product_{10_000 + n}.jpg").touch()
    guess = guess_catalog(tmp_path / "X.csv", photos, tmp_path / "Y.csv")
    assert guess.catalog.image_name == "image_{imageid}_product_{productid}.jpg"
    assert guess.catalog.columns == Columns("productid", "designation", "description", "prdtypecode", "")
    (read,) = read_catalog(guess.catalog)
    assert all((photos / name).is_file() for name in read["image"])


def test_photos_named_by_the_products_number_and_by_a_column(tmp_path: Path) -> None:
    path, photos = french(tmp_path), tmp_path / "photos"
    photos.mkdir()
    for n in range(10):
        (photos / f"A{n}.png").touch()
    assert guess_catalog(path, photos).catalog.image_name == "{Réf}.png"
    frame = pd.read_csv(path, sep=";", encoding="cp1252")
    frame["Visuel"] = "photos/" + frame["Réf"] + ".png"
    frame.to_parquet(tmp_path / "articles.parquet")
    found = guess_catalog(tmp_path / "articles.parquet").catalog
    assert (found.columns.image, found.images, found.image_name) == ("Visuel", str(tmp_path), None)
    frame["Visuel"] = "https://shop.example/" + frame["Réf"] + ".png?w=200"
    frame.to_parquet(tmp_path / "articles.parquet")
    found = guess_catalog(tmp_path / "articles.parquet", photos).catalog
    assert (found.columns.image, found.images, found.allow_urls) == ("Visuel", None, True)


@pytest.mark.parametrize("cell", ["|".join(["photo_de_face.jpg"] * 20), "QUJD" * 100])
def test_a_cell_too_long_for_a_files_name_is_no_photo_that_is_there(tmp_path: Path, cell: str) -> None:
    path = tmp_path / "shop.csv"
    path.write_text("id,title,category,image\n" + "".join(f"{n},lampe {n},c{n % 3},{cell}\n" for n in range(20)))
    catalog = guess_catalog(path).catalog
    assert catalog.columns.image == "image" and catalog.images is None
    assert _photos_there(catalog) == (0, 20)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": ["x y", "x z"] * 20, "b": range(40)})
    frame.to_csv(tmp_path / "odd.csv", index=False)
    assert set(guess_catalog(tmp_path / "odd.csv").missing) >= {"product_id", "category"}
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(CatalogError, match="is empty"):
        guess_catalog(tmp_path / "empty.csv")
    (tmp_path / "header.csv").write_text("id,title,category\n")
    with pytest.raises(CatalogError, match="no data row"):
        guess_catalog(tmp_path / "header.csv")


def test_the_written_experiment_is_the_template_with_another_top() -> None:
    template = (ROOT / "configs" / "catalog.yaml").read_text(encoding="utf-8")
    catalog = Catalog(
        "/data/x y: z.csv",
        image_name="{Réf}_1.jpg",
        columns=Columns("Réf", "no", "", "yes", ""),
        encoding="cp1252",
        delimiter="\t",
        quoting="none",
    )
    read = parse_config(read_config(write_experiment(template, "shop", catalog)))
    assert read.catalog == catalog and read.name == "shop"
    assert read.trainer == parse_config(read_config(template)).trainer


def test_the_command_writes_once_and_says_what_it_took(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    path, target = french(tmp_path), tmp_path / "shop.yaml"
    arguments = ["init", str(path), "--output", str(target), "--name", "shop"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert "Libellé" in done.output and "cp1252" in done.output and f"--config experiment {target} run" in done.output
    assert parse_config(read_config(target.read_text(encoding="utf-8"))).catalog.delimiter == ";"
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 2 and "there already" in again.output
    path.write_text("a;b\n1;2\n")
    poor = CliRunner().invoke(app, [*arguments, "--force"])
    assert poor.exit_code == 1 and "not found: " in poor.output


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("20240115.csv", "20240115"),
        ("Catalogue été.csv", "catalogue-ete"),
        ("_export.csv", "export"),
        ("on.csv", "on"),
        ("x" * 80 + ".csv", "x" * 63),
        ("商品.csv", "shop"),
        ("2024-01--a_b.csv.gz", "2024-01--a_b"),
    ],
)
def test_whatever_a_file_is_called_its_experiment_has_a_name_that_flows_accept(file: str, name: str) -> None:
    template = (ROOT / "configs" / "catalog.yaml").read_text(encoding="utf-8")
    assert plain_name(file.partition(".")[0]) == name
    written = write_experiment(template, name, Catalog(products="x.csv"))
    assert parse_config(read_config(written)).name == name


def test_a_name_that_no_flow_accepts_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(ROOT)
    target = tmp_path / "shop.yaml"
    arguments = ["init", str(french(tmp_path)), "--output", str(target), "--name", "Été 2024"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 2 and "ete-2024" in done.output and not target.exists()
