from __future__ import annotations

import gzip
import json
import uuid
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayon.config import Catalog, Columns
from rayon.data.catalog import CHUNK_COLUMNS, CatalogError, changed_columns, read_catalog, source_columns

CSV = (
    "product_id,designation,description,category,image\n"
    '0012,"Robe, bleue","En ""coton""\nlavable",2403.0,a.jpg\n'
    "NaN,Null,NA,None,\n"
)
RAKUTEN = Columns(
    product_id="productid", designation="designation", description="description", category="prdtypecode", image=""
)


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def read(path: Path, require_category: bool = True, rows_per_chunk: int = 20_000, **settings: object) -> pd.DataFrame:
    chunks = read_catalog(Catalog(products=str(path), **settings), rows_per_chunk, require_category)
    return pd.concat(chunks, ignore_index=True)


def test_values_stay_the_strings_they_are_in_the_file(tmp_path):
    frame = read(write(tmp_path / "p.csv", CSV))
    assert tuple(frame.columns) == CHUNK_COLUMNS
    assert frame.iloc[0].to_dict() == {
        "product_id": "0012",
        "designation": "Robe, bleue",
        "description": 'En "coton"\nlavable',
        "category": "2403.0",
        "image": "a.jpg",
        "source": "p.csv",
        "row": 1,
        "record": json.dumps(
            {
                "product_id": "0012",
                "designation": "Robe, bleue",
                "description": 'En "coton"\nlavable',
                "category": "2403.0",
                "image": "a.jpg",
            }
        ),
        "problem": "",
    }
    assert frame.iloc[1][["product_id", "designation", "description", "category", "image"]].tolist() == [
        "NaN",
        "Null",
        "NA",
        "None",
        "",
    ]


@pytest.mark.parametrize("form", ["csv", "csv.gz", "tsv", "parquet", "folder", "semicolon", "bom"])
def test_every_form_of_a_catalogue_reads_the_same(tmp_path, form):
    expected = read(write(tmp_path / "p.csv", CSV))
    table = pd.read_csv(tmp_path / "p.csv", dtype=str, keep_default_na=False)
    settings: dict[str, object] = {}
    if form == "csv.gz":
        path = write(tmp_path / "p.csv.gz", gzip.compress(CSV.encode()))
    elif form == "tsv":
        path = tmp_path / "p.tsv"
        table.to_csv(path, sep="\t", index=False)
    elif form == "parquet":
        path = tmp_path / "p.parquet"
        table.to_parquet(path)
    elif form == "folder":
        path = tmp_path / "parts"
        path.mkdir()
        table.iloc[:1].to_parquet(path / "0.parquet")
        table.iloc[1:].to_parquet(path / "1.parquet")
    elif form == "semicolon":
        path = tmp_path / "s.csv"
        table.to_csv(path, sep=";", index=False)
        settings = {"delimiter": ";"}
    else:
        path = write(tmp_path / f"{form}.csv", b"\xef\xbb\xbf" + CSV.encode() if form == "bom" else CSV)
    columns = [column for column in CHUNK_COLUMNS if column not in ("source", "row")]
    pd.testing.assert_frame_equal(read(path, **settings)[columns], expected[columns])


def test_numbers_and_gaps_of_a_parquet_file_become_strings(tmp_path):
    table = pd.DataFrame(
        {
            "product_id": [7, 8],
            "designation": ["a", None],
            "description": pd.Categorical(["x", None]),
            "category": [2403.0, None],
            "image": [None, "b.jpg"],
        }
    )
    table.to_parquet(tmp_path / "p.parquet")
    frame = read(tmp_path / "p.parquet")
    assert frame[["product_id", "designation", "description", "category", "image"]].to_numpy().tolist() == [
        ["7", "a", "x", "2403.0", ""],
        ["8", "", "", "", "b.jpg"],
    ]


def test_bytes_and_uuids_of_a_parquet_file_are_read_where_they_are_texts(tmp_path):
    ids = [uuid.UUID(int=n) for n in range(2)]
    columns = {
        "product_id": pa.array([each.bytes for each in ids], pa.uuid()),
        "designation": pa.array(["é".encode(), None]),
        "description": pa.array([b"ab", b"cd"], pa.binary(2)),
        "category": pa.array([b"a", b"b"], pa.binary_view()),
        "image": pa.array([b"a.jpg", b"b.jpg"]).dictionary_encode(),
        "hash": pa.array([b"\xff" * 16] * 2, pa.binary(16)),
        "view": pa.array([b"\xff"] * 2, pa.binary_view()),
        "few": pa.array([b"\xff"] * 2).dictionary_encode(),
    }
    for by_arrow in (True, False):  # others tell UUIDs from bytes in their own way
        pq.write_table(pa.table(columns), tmp_path / "p.parquet", store_schema=by_arrow)
        frame = read(tmp_path / "p.parquet")
        assert frame[["product_id", "designation", "description", "category", "image"]].to_numpy().tolist() == [
            [str(ids[0]), "é", "ab", "a", "a.jpg"],
            [str(ids[1]), "", "cd", "b", "b.jpg"],
        ]
        assert "hash" not in json.loads(frame["record"][0])
    wrong = Columns(category="hash")
    with pytest.raises(CatalogError, match=r"p\.parquet: column 'hash' is no text .*Invalid UTF8"):
        read(tmp_path / "p.parquet", columns=wrong)


def test_a_name_that_columns_of_a_parquet_file_share_is_fine_unless_it_is_asked_for(tmp_path):
    names = ["product_id", "note", "designation", "category", "note"]
    pq.write_table(pa.table([pa.array([value]) for value in "1abcd"], names), tmp_path / "0.parquet")
    pq.write_table(pa.table([pa.array([value]) for value in "2abcd"], names), tmp_path / "1.parquet")
    frame = read(tmp_path, columns=Columns(description="", image=""))
    assert frame[["product_id", "designation", "category"]].to_numpy().tolist() == [["1", "b", "c"], ["2", "b", "c"]]
    with pytest.raises(CatalogError, match=r"the column 'note' .* is there 2 times"):
        read(tmp_path, columns=Columns(description="note", image=""))
    pq.write_table(pa.table([pa.array([value]) for value in "3abc"], names[:4]), tmp_path / "1.parquet")
    with pytest.raises(CatalogError, match=r"1\.parquet: no column \['note'\], which 0\.parquet"):
        read(tmp_path, columns=Columns(description="", image=""))


def test_chunks_are_bounded_and_rows_numbered_through(tmp_path):
    rows = "".join(f"{n},t,d,c,\n" for n in range(25))
    path = write(tmp_path / "p.csv", "product_id,designation,description,category,image\n" + rows)
    chunks = list(read_catalog(Catalog(products=str(path)), rows_per_chunk=10))
    assert [len(chunk) for chunk in chunks] == [10, 10, 5]
    assert [row for chunk in chunks for row in chunk["row"]] == list(range(1, 26))


def rakuten(tmp_path: Path, labels: str) -> Catalog:
    write(
        tmp_path / "X_train.csv",
        ",designation,description,productid,imageid\n"
        "0,Olivia: carnet,,3804725264,1263597046\n"
        "1,Journal Des Arts,<p>N°133</p>,436067568,1008141237\n",
    )
    write(tmp_path / "Y_train.csv", labels)
    return Catalog(
        products=str(tmp_path / "X_train.csv"),
        labels=str(tmp_path / "Y_train.csv"),
        image_name="image_{imageid}_product_{productid}.jpg",
        columns=RAKUTEN,
    )


def test_the_rakuten_files_load_by_configuration_alone(tmp_path):
    (frame,) = read_catalog(rakuten(tmp_path, ",prdtypecode\n0,10\n1,2280\n"))
    assert frame[["product_id", "designation", "description", "category", "image"]].to_numpy().tolist() == [
        ["3804725264", "Olivia: carnet", "", "10", "image_1263597046_product_3804725264.jpg"],
        ["436067568", "Journal Des Arts", "<p>N°133</p>", "2280", "image_1008141237_product_436067568.jpg"],
    ]
    assert json.loads(frame["record"][1])["prdtypecode"] == "2280"


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (",prdtypecode\n0,10\n", r"Y_train.csv ends after 1 data rows and .*X_train.csv goes on"),
        (",prdtypecode\n0,10\n1,10\n2,10\n", r"X_train.csv ends after 2 data rows and .*Y_train.csv goes on"),
        (",prdtypecode\n0,10\n7,10\n", r"Y_train.csv, data row 2: column '' is '7', and '1' in"),
        (",code\n0,10\n1,10\n", r"Y_train.csv: there is no column 'prdtypecode'.*Nearest: 'code'"),
    ],
)
def test_labels_that_do_not_fit_the_products_are_an_error(tmp_path, labels, message):
    with pytest.raises(CatalogError, match=message):
        list(read_catalog(rakuten(tmp_path, labels)))


def test_a_broken_label_row_is_a_problem_of_its_product(tmp_path):
    (frame,) = read_catalog(rakuten(tmp_path, ",prdtypecode\n0,10\n1,2280,extra\n"))
    assert frame["problem"][0] == ""
    assert frame["problem"][1].startswith(
        "in Y_train.csv, the row has too many fields: 3, where the header has 2: look"
    )
    assert frame["product_id"][1] == "436067568"


def test_a_photo_is_not_named_where_part_of_its_name_is_missing(tmp_path):
    path = write(tmp_path / "p.csv", "product_id,designation,description,category,n\n1,a,b,c,\n2,a,b,c,7\n")
    assert read(path, image_name="{n}_{product_id}.jpg")["image"].tolist() == ["", "7_2.jpg"]


def test_a_missing_column_is_explained(tmp_path):
    path = write(tmp_path / "p.csv", "product_id,Designations,description,category,image\n1,a,b,c,d\n")
    with pytest.raises(CatalogError) as error:
        read(path)
    message = str(error.value)
    assert str(path) in message and "there is no column 'designation'" in message
    assert "'product_id', 'Designations', 'description'" in message
    assert "Nearest: 'Designations'" in message and "catalog.columns.designation" in message


def test_a_column_that_the_catalogue_has_not_can_be_switched_off(tmp_path):
    path = write(tmp_path / "p.csv", "product_id,designation,category\n1,a,c\n")
    with pytest.raises(CatalogError, match="or '' where the catalogue has none"):
        read(path)
    frame = read(path, columns=Columns(description="", image=""))
    assert frame[["description", "image"]].to_numpy().tolist() == [["", ""]]


def test_products_to_score_do_without_descriptions_and_photos_and_without_nothing_else(tmp_path):
    path = write(tmp_path / "p.csv", "product_id,designation\n1,a\n")
    frame = read(path, require_category=False)
    assert frame[["designation", "description", "category", "image"]].to_numpy().tolist() == [["a", "", "", ""]]
    path = write(tmp_path / "q.csv", "product_id,titre,description\n1,a,b\n")
    with pytest.raises(CatalogError, match="there is no column 'designation'"):
        read(path, require_category=False)
    path = write(tmp_path / "r.csv", "product_id,designation\n1,a\n")
    with pytest.raises(CatalogError, match=r"there is no column 'n'.*catalog\.image_name"):
        read(path, require_category=False, image_name="{n}.jpg")


@pytest.mark.parametrize(
    ("header", "known", "settings", "new", "gone"),
    [
        ("product_id,designation,description,category,image,price", ["price"], {}, [], []),
        ("product_id,designation,description,image", ["price", "category"], {}, [], []),  # nobody looks at a price
        ("product_id,designation,image,supplier,ean", ["price"], {}, ["supplier", "ean"], ["description"]),
        ("product_id,designation,texte", ["price"], {}, ["texte"], ["description", "image"]),
        ("product_id,designation,texte", ["texte"], {"columns": Columns(description="", image="")}, [], []),
        ("product_id,designation,texte", ["product_id"], {"columns": Columns(description="texte")}, [], ["image"]),
        ("product_id,designation,description,supplier", [], {}, [], ["image"]),  # of an older model nothing is known
        ("product_id,designation,description,n", ["n"], {"image_name": "{n}.jpg"}, [], []),
    ],
)
def test_columns_that_came_or_went_are_told_apart(tmp_path, header, known, settings, new, gone):
    path = write(tmp_path / "p.csv", f"{header}\n")
    assert changed_columns(Catalog(str(path), **settings), known) == {"new": new, "gone": gone}


def test_the_columns_of_a_source_are_those_of_its_labels_too(tmp_path):
    names = source_columns(rakuten(tmp_path, ",prdtypecode\n0,10\n1,2280\n"))
    assert {"productid", "imageid", "prdtypecode"} <= set(names)


def test_the_category_may_be_absent_only_where_it_is_not_required(tmp_path):
    path = write(tmp_path / "p.csv", "product_id,designation,description,image\n1,a,b,d\n")
    with pytest.raises(CatalogError, match=r"catalog\.columns\.category"):
        read(path)
    assert read(path, require_category=False)["category"].tolist() == [""]


@pytest.mark.parametrize(
    ("name", "content", "settings", "message"),
    [
        ("p.csv", b"", {}, "the file is empty"),
        ("p.csv", b"\n\n", {}, "the file is empty"),
        ("p.csv", CSV.splitlines()[0].encode() + b"\n", {}, "a header and no data row"),
        ("p.csv", CSV.replace(",", ";").encode(), {}, "separated by ';': set catalog.delimiter: ';'"),
        ("p.csv", CSV.encode(), {"delimiter": "\\t"}, "write one character"),
        ("p.csv", CSV.encode(), {"encoding": "utf-9"}, "no known encoding"),
        ("p.csv", CSV.encode() + b"x," * (1 << 23) + b"x", {}, r"line 5: it has more than 16,777,216 characters"),
        ("p.csv", b"product_id\n\xff" + b"x" * (1 << 24), {}, r"p\.csv: the file is not utf-8"),
        ("p.csv", CSV.replace("Robe", "Été").encode("latin-1"), {}, r"line 2: byte 56 \(0xc9\) is not utf-8.*latin-1"),
        ("p.csv", CSV.encode("utf-16"), {}, "set catalog.encoding: utf-16"),
        ("p.csv", CSV.replace('lavable"', "lavable").encode(), {}, "data row 1: a quotation mark opened at line 2"),
        ("p.csv", CSV.replace("image", "category").encode(), {}, "'category' .* is there 2 times"),
        ("p.csv.gz", b"no gzip", {}, "cannot be read after line 0"),
        ("p.csv.gz", gzip.compress(CSV.encode() * 99, mtime=0)[:80], {}, "cannot be read after line"),
        ("p.parquet", b"no parquet", {}, "no readable Parquet file"),
        ("p.xlsx", b"PK", {}, "Save it as CSV"),
        ("p.csv", CSV.encode(), {"image_name": "{imageid}.jpg"}, r"no column 'imageid'.*catalog\.image_name"),
        ("p.csv", CSV.encode(), {"image_name": "{image:>8}.jpg"}, "column names alone"),
    ],
)
def test_a_file_that_cannot_be_read_is_explained(tmp_path, name, content, settings, message):
    path = write(tmp_path / name, content)
    with pytest.raises(CatalogError, match=message):
        read(path, **settings)


def test_a_missing_file_and_an_empty_folder_are_explained(tmp_path):
    with pytest.raises(CatalogError, match="there is no such file"):
        read(tmp_path / "gone.csv")
    with pytest.raises(CatalogError, match=r"holds no \.parquet file"):
        read(tmp_path)


def test_a_latin_1_file_reads_with_its_encoding(tmp_path):
    path = write(tmp_path / "p.csv", CSV.replace("Robe", "Été").encode("latin-1"))
    assert read(path, encoding="latin-1")["designation"][0] == "Été, bleue"


def test_ragged_rows_keep_their_place_and_say_what_is_wrong(tmp_path):
    path = write(
        tmp_path / "p.csv",
        "product_id,designation,description,category,image\n1,a,b,c,\n\n2,a,b,c,,extra,more\n3,a\n4,a,b,c,\n",
    )
    frame = read(path)
    assert frame["product_id"].tolist() == ["1", "2", "3", "4"]
    assert frame["row"].tolist() == [1, 2, 3, 4]
    assert [problem.partition(": look for a separator")[0] for problem in frame["problem"]] == [
        "",
        "the row has too many fields: 7, where the header has 5",
        "the row has too few fields: 2, where the header has 5",
        "",
    ]
    assert json.loads(frame["record"][1]) == {"fields": ["2", "a", "b", "c", "", "extra", "more"]}


def unquoted(delimiter: str, texts: dict[int, tuple[str, str]]) -> str:
    """An export that puts no value between quotation marks, of twelve products, some with other texts."""
    header = ("product_id", "designation", "description", "category", "image")
    rows = [(str(n), *texts.get(n, (f"titre {n}", "bois, métal")), "deco", f"{n}.jpg") for n in range(12)]
    return "".join(f"{delimiter.join(row)}\n" for row in (header, *rows))


@pytest.mark.parametrize("delimiter", ["\t", ";"])
@pytest.mark.parametrize(
    ("texts", "lost"),
    [
        ({3: ('"La boîte', "bois"), 9: ('"Grand" écran', "noir")}, "5 to 11"),
        ({3: ('"La boîte', "bois"), 9: ('Écran 19"', "noir")}, "5 to 11"),
        ({3: ('"La boîte', "bois"), 4: ('"Grand" écran', "noir")}, "5 to 6"),
        ({3: ('"La boîte', "bois"), 9: ("Écran", 'noir, 19"')}, "5 to 11"),
    ],
)
def test_rows_that_quotation_marks_take_in_are_told(tmp_path, delimiter, texts, lost):
    path = write(tmp_path / "p.csv", unquoted(delimiter, texts))
    frame = read(path, delimiter=delimiter)
    (problem,) = frame["problem"][frame["problem"].ne("")]
    assert problem.startswith(f"lines {lost} are rows of their own") and "catalog.quoting: none" in problem
    whole = read(path, delimiter=delimiter, quoting="none")
    assert whole["product_id"].tolist() == [str(n) for n in range(12)] and whole["designation"][3] == '"La boîte'


@pytest.mark.parametrize(
    "description",
    [
        "Coton, lin, soie\nRouge, bleu, vert",
        "Un, deux, trois, quatre, cinq\nun, deux, trois, quatre, cinq\n\nsix, sept, huit, neuf, dix",
        "taille,largeur,hauteur,poids,prix\n1,2,3,4,5",
        'Le "grand" écran\n19", noir, plat, léger, neuf\n"fin"',
    ],
)
def test_descriptions_of_several_lines_stay(tmp_path, description):
    frame = pd.DataFrame([["1", "Robe", description, "robes", "1.jpg"]] * 2, columns=CSV.splitlines()[0].split(","))
    frame.to_csv(tmp_path / "p.csv", index=False)
    read_back = read(tmp_path / "p.csv")
    assert read_back["problem"].tolist() == ["", ""] and read_back["description"].tolist() == [description] * 2


def test_nul_bytes_and_very_long_values_are_read(tmp_path):
    title = "x" * 300_000
    path = write(tmp_path / "p.csv", f"product_id,designation,description,category,image\n1,{title},a\x00b,c,\n")
    frame = read(path)
    assert frame["designation"][0] == title
    assert frame["description"][0] == "a\x00b"
