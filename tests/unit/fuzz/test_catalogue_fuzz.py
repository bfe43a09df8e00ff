"""Whatever a catalogue's file holds, its rows come out in order, or one sentence names the file and the remedy."""

from __future__ import annotations

import dataclasses
import gzip
import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mutations import damaged, examples

from rayon.config import Catalog, parse_config
from rayon.data.building import build_shard
from rayon.data.catalog import CatalogError, changed_columns, read_catalog
from rayon.data.planning import plan_dataset, plan_scoring

TEXT = "product_id,designation,description,category,image\n" + "".join(
    f'{n},titre é {n},"desc, ""{n}""\nsuite",cat{n % 3},{n}.jpg\n' for n in range(12)
)
CSV = [TEXT.encode(name) for name in ("utf-8", "latin-1", "utf-16", "utf-8-sig")] + [TEXT.replace(",", ";").encode()]
ENCODINGS = ["utf-8"] * 8 + [
    "latin-1",
    "utf-16",
    "utf-16-le",
    "utf-32",
    "ascii",
    "shift_jis",
    "utf-7",
    "hex",
    "x\0",
    "",
]
ENCODINGS += ["punycode", "idna", "undefined", "unicode_escape", "zlib", "rot13"]
DELIMITERS = [","] * 8 + [";", "\t", "", "||", "\n", '"', "\0", "é"]


def tables() -> list[bytes]:
    count = 6
    columns = {
        "product_id": pa.array([str(n) for n in range(count)]),
        "designation": pa.array(["é", None, "a\0b", "", "x", "y"]),
        "description": pa.array(["x"] * count).dictionary_encode(),
        "category": pa.array([1.0, None, 2.5, float("nan"), 1e300, 3.0]),
        "image": pa.array([b"\xff"] * count),
    }
    odd = {
        "product_id": pa.array([1, 2, None], pa.int64()),
        "designation": pa.array([{"a": 1}, None, {"a": 2}]),
        "category": pa.array([None] * 3, pa.null()),
        "when": pa.array([0, 1, None], pa.timestamp("ns", "UTC")),
        "span": pa.array([0, 1, None], pa.duration("s")),
        "uuid": pa.array([bytes(16), b"\xff" * 16, None], pa.uuid()),
        "image": pa.array([b"a", b"\xff", None], pa.binary_view()),
    }
    made = []
    for content in (columns, odd):
        sink = io.BytesIO()
        pq.write_table(pa.table(content), sink, compression="zstd" if content is odd else "none")
        made.append(sink.getvalue())
    return made


def read_all(file: Path, encoding: str = "utf-8", delimiter: str = ",", quoting: str = "standard") -> None:
    """Read a file in every way there is; a CatalogError is an answer, anything else is not."""
    layout = {"encoding": encoding, "delimiter": delimiter, "quoting": quoting}
    catalog = Catalog(products=str(file), images=str(file.parent), **layout)
    config = dataclasses.replace(parse_config({"name": "x", "catalog": {"products": "x"}}), catalog=catalog)

    def frames(require: bool) -> None:
        for chunk in read_catalog(catalog, require_category=require):
            assert chunk["row"].is_monotonic_increasing or file.is_dir()
            assert set(chunk["problem"].map(type)) == {str}

    def plan() -> None:
        for part in plan_dataset(config, None, lambda ref: b"").parts:
            build_shard(part, config)

    ways = (lambda: frames(True), lambda: frames(False), plan, lambda: list(plan_scoring(config)))
    for read in (*ways, lambda: changed_columns(catalog, ["a"])):
        try:
            read()
        except CatalogError as error:
            assert 20 < len(str(error)) < 3000 and "Traceback" not in str(error)


@examples(120)
@given(
    content=damaged(CSV) | st.binary(max_size=60),
    encoding=st.sampled_from(ENCODINGS),
    delimiter=st.sampled_from(DELIMITERS),
    quoting=st.sampled_from(["standard", "none"]),
    zipped=st.integers(0, 5).map(lambda n: n == 0),
    data=st.data(),
)
def test_any_csv_is_rows_or_a_sentence(tmp_path_factory, content, encoding, delimiter, quoting, zipped, data):
    folder = tmp_path_factory.getbasetemp()
    file = folder / ("fuzz.csv.gz" if zipped else "fuzz.csv")
    if zipped:
        content = gzip.compress(content, mtime=0)
        content = data.draw(damaged([content])) if data.draw(st.booleans()) else content
    file.write_bytes(content)
    read_all(file, encoding, delimiter, quoting)


@examples(80)
@given(content=damaged(tables()) | st.binary(max_size=60).map(lambda data: b"PAR1" + data + b"PAR1"))
def test_any_parquet_is_rows_or_a_sentence(tmp_path_factory, content):
    file = tmp_path_factory.getbasetemp() / "fuzz.parquet"
    file.write_bytes(content)
    read_all(file)


@pytest.mark.parametrize(
    ("name", "content", "encoding", "words"),
    [
        ("p.csv", TEXT.encode(), "utf-16", "the file is not utf-16"),
        ("p.csv", TEXT.encode("utf-16")[:-1], "utf-16", "the file is not utf-16"),
        ("p.csv", TEXT.encode(), "hex", "no known encoding"),
        ("p.csv", TEXT.encode(), "x\0", "no known encoding"),
        ("p.csv.gz", gzip.compress(b"\xe9" * 50, mtime=0)[:-8] + b"\0" * 8, "utf-8", "again"),
        ("p.csv.gz", gzip.compress(b"\xe9" * 50, mtime=0)[:-8], "utf-8", "again"),
    ],
)
def test_wrong_encodings_and_cut_archives_are_sentences(tmp_path, name, content, encoding, words):
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(CatalogError, match=words):
        for _ in read_catalog(Catalog(products=str(file), encoding=encoding)):
            pass
