"""The demo catalogue keeps its promises: same rows from the same seed, known shares of defects, drift on demand."""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rayon.config import Synthetic
from rayon.data.synthetic import Drift, category_names, iter_products, true_category, write_catalogue
from rayon.data.synthetic_departments_more import OUTSIDE
from rayon.data.synthetic_rows import DEPARTMENTS
from rayon.data.synthetic_shapes import SHAPES
from rayon.data.synthetic_vocabulary import FAMILIES
from rayon.schema import PRODUCT_COLUMNS, Product

SETTINGS = Synthetic(rows=400)


def products(
    start: int, stop: int, drift: Drift | None = None, settings: Synthetic = SETTINGS, photos: bool = False
) -> list[Product]:
    return list(iter_products(settings, drift, start, stop, photos))


@pytest.fixture(scope="module")
def many() -> list[Product]:
    """Three thousand rows without photos."""
    return products(0, 3000)


@pytest.fixture(scope="module")
def photographed() -> list[Product]:
    """Four hundred rows with photos."""
    return products(0, 400, photos=True)


@pytest.fixture
def read_rows() -> Callable[[Path], list[dict[str, str]]]:
    def read(path: Path) -> list[dict[str, str]]:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read


def decodes(photo: bytes) -> bool:
    try:
        Image.open(io.BytesIO(photo)).load()
    except OSError:
        return False
    return True


def test_a_row_is_the_same_whatever_the_range_and_the_size(photographed: list[Product]) -> None:
    larger = Synthetic(rows=9000)
    assert products(250, 270, settings=larger, photos=True) == photographed[250:270]
    assert list(iter_products(dataclasses.replace(SETTINGS, rows=200)))[190:] == photographed[190:200]


def test_another_seed_is_another_catalogue(many: list[Product]) -> None:
    other = products(0, 100, settings=Synthetic(rows=400, seed=1))
    assert sum(a.designation == b.designation for a, b in zip(many, other, strict=False)) == 0


def test_shares_of_defects_are_as_stated(many: list[Product]) -> None:
    wrong = np.mean([product.category != true_category(SETTINGS, row) for row, product in enumerate(many)])
    assert np.mean([product.description == "" for product in many]) == pytest.approx(0.35, abs=0.03)
    assert wrong == pytest.approx(0.03, abs=0.01)
    assert all(product.designation for product in many)
    titles = Counter(product.designation for product in many)
    repeated = sum(count - 1 for count in titles.values()) / len(many)
    assert 0.01 < repeated < 0.06


def test_photos_are_missing_or_truncated_in_the_stated_shares(photographed: list[Product]) -> None:
    missing = np.mean([product.image is None for product in photographed])
    truncated = np.mean([not decodes(product.image) for product in photographed if product.image])
    assert missing == pytest.approx(0.03, abs=0.02)
    assert 0 < truncated < 0.02


def test_photos_have_the_stated_sizes_whatever_the_category(photographed: list[Product]) -> None:
    sides: dict[str, list[int]] = {}
    for product in photographed:
        if product.image is not None:
            image = Image.open(io.BytesIO(product.image))
            assert image.format == "JPEG" and image.mode == "RGB"
            assert min(image.size) >= 160 and max(image.size) <= 224
            sides.setdefault(product.category, []).append(image.width)
    spread = [np.mean(widths) for widths in sides.values() if len(widths) > 20]
    assert max(spread) - min(spread) < 15  # a category whose photos were larger would be told by their size


@pytest.mark.parametrize("categories", [12, 16, 27])
def test_the_largest_category_is_five_or_six_times_the_smallest(categories: int) -> None:
    settings = Synthetic(rows=400, categories=categories)
    truths = Counter(true_category(settings, row) for row in range(3000))
    assert set(truths) == set(category_names(categories))
    assert 3.3 < max(truths.values()) / min(truths.values()) < 8.0


def test_category_names_are_distinct_and_a_smaller_catalogue_has_the_first() -> None:
    names = category_names(27)
    assert len(set(names)) == 27
    assert category_names(12) == names[:12]


def test_every_department_has_words_and_shapes_that_exist() -> None:
    for department in (*DEPARTMENTS, *OUTSIDE):
        assert {noun.shape for noun in department.nouns + department.english} <= set(SHAPES)
        assert set(department.families) <= set(FAMILIES)
        assert all(department.fresh) and len(department.details) >= 8
    assert {shape for family in FAMILIES.values() for shape in family.shapes} <= set(SHAPES)


def test_titles_read_like_a_marketplace(many: list[Product]) -> None:
    titles = [product.designation for product in many]
    assert len({word for title in titles for word in title.lower().split()}) > 1500
    assert any("&eacute;" in title for title in titles)
    assert any("é" in title for title in titles)
    assert any(re.fullmatch(r"[^a-z]+", title) for title in titles)
    assert any(re.search(r"<(br|p|li|b)", product.description) for product in many)
    assert not any(re.search(r"\{\w+\}", p.designation + p.description) for p in many)
    assert max(len(title) for title in titles) < 250


def test_near_duplicates_differ_in_size_colour_or_number(many: list[Product]) -> None:
    stems = Counter(" ".join(product.designation.split()[:2]).lower() for product in many)
    assert stems.most_common(1)[0][1] > 10


def test_vocabulary_drift_renames_products_and_nothing_else(photographed: list[Product]) -> None:
    before = photographed[:80]
    after = products(0, 80, Drift("vocabulary"), photos=True)
    assert all(a.designation != b.designation for a, b in zip(before, after, strict=True))
    assert [(a.category, a.image) for a in before] == [(b.category, b.image) for b in after]


def test_drift_touches_the_share_of_products_that_its_strength_says(many: list[Product]) -> None:
    changed = [a != b for a, b in zip(many[:1500], products(0, 1500, Drift("vocabulary", 0.3)), strict=True)]
    stronger = [a != b for a, b in zip(many[:1500], products(0, 1500, Drift("vocabulary", 0.6)), strict=True)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.05)
    assert all(later for once, later in zip(changed, stronger, strict=True) if once)


@pytest.mark.parametrize("kind", ["vocabulary", "mix", "photo_style", "broken_photos", "new_category", "concept"])
def test_drift_of_no_strength_changes_nothing(kind: str, photographed: list[Product]) -> None:
    assert products(0, 40, Drift(kind, 0.0), photos=True) == photographed[:40]  # type: ignore[arg-type]


def test_mix_drift_turns_the_shares_of_categories_around(many: list[Product]) -> None:
    usual = Counter(product.category for product in many[:1500])
    season = Counter(product.category for product in products(0, 1500, Drift("mix")))
    first, last = category_names(16)[0], category_names(16)[-1]
    assert usual[first] > 3 * usual[last]
    assert season[last] > 3 * season[first]


def test_photo_style_drift_darkens_photos_and_leaves_texts_alone(photographed: list[Product]) -> None:
    before = photographed[:60]
    after = products(0, 60, Drift("photo_style"), photos=True)
    assert [a._replace(image=None) for a in before] == [b._replace(image=None) for b in after]

    def brightness(product: Product) -> float:
        assert product.image is not None
        return float(np.asarray(Image.open(io.BytesIO(product.image)).convert("L")).mean())

    readable = [row for row, product in enumerate(before) if product.image and decodes(product.image)]
    drop = np.mean([brightness(before[row]) - brightness(after[row]) for row in readable])
    assert drop > 50
    assert len(readable) > 50


def test_broken_photos_drift_leaves_no_usable_photo() -> None:
    before = products(0, 90)
    after = products(0, 90, Drift("broken_photos"), photos=True)
    assert [b._replace(image=None) for b in after] == before
    fates = Counter("missing" if p.image is None else "blank" if decodes(p.image) else "truncated" for p in after)
    assert min(fates["missing"], fates["blank"], fates["truncated"]) > 15
    blank = next(p.image for p in after if p.image is not None and decodes(p.image))
    assert np.asarray(Image.open(io.BytesIO(blank))).std() < 1


def test_new_category_drift_brings_departments_that_no_catalogue_holds() -> None:
    truths = {true_category(SETTINGS, row, Drift("new_category")) for row in range(200)}
    assert truths == {department.name for department in OUTSIDE}
    assert not truths & set(category_names(27))


def test_concept_drift_moves_products_and_shows_them_unchanged(many: list[Product]) -> None:
    after = products(0, 600, Drift("concept"))
    assert [a._replace(category="") for a in many[:600]] == [b._replace(category="") for b in after]
    moved = np.mean(
        [true_category(SETTINGS, row) != true_category(SETTINGS, row, Drift("concept")) for row in range(600)]
    )
    assert moved == pytest.approx(0.5, abs=0.1)
    assert {product.category for product in after} <= set(category_names(16))


@pytest.mark.parametrize("arguments", [("mixture", 0.5), ("mix", 1.5), ("mix", -0.1)])
def test_an_impossible_drift_is_refused(arguments: tuple[str, float]) -> None:
    with pytest.raises(ValueError, match=r"unknown drift|outside \[0, 1\]"):
        Drift(*arguments)  # type: ignore[arg-type]


def test_memory_stays_flat_over_twenty_thousand_rows() -> None:
    stream = iter_products(Synthetic(rows=20_000), photos=False)
    for _ in range(1000):  # whatever is cached is cached by now
        next(stream)
    before = sys.getallocatedblocks()
    kept = sum(1 for _ in stream)
    assert kept == 19_000
    assert sys.getallocatedblocks() - before < 2000  # a tenth of a block a row: no product is kept


def test_a_written_catalogue_holds_the_same_products(
    tmp_path: Path, read_rows: Callable[[Path], list[dict[str, str]]]
) -> None:
    settings, calls = Synthetic(rows=200), []
    path = write_catalogue(tmp_path, settings, progress=lambda done, total: calls.append((done, total)))
    rows = read_rows(path)
    assert path == tmp_path / "products.csv"
    assert tuple(rows[0]) == PRODUCT_COLUMNS
    assert calls[-1] == (200, 200)
    dangling = 0
    for row, product in zip(rows, iter_products(settings), strict=True):
        assert (row["product_id"], row["designation"], row["description"], row["category"]) == product[:4]
        if product.image is not None:
            assert (tmp_path / "images" / row["image"]).read_bytes() == product.image
        elif row["image"]:
            dangling += not (tmp_path / "images" / row["image"]).exists()
    assert sum(row["image"] == "" for row in rows) + dangling == sum(p.image is None for p in iter_products(settings))


def test_an_interrupted_write_leaves_no_catalogue_and_can_be_resumed(tmp_path: Path) -> None:
    settings = Synthetic(rows=201)

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_catalogue(tmp_path, settings, progress=interrupt)
    assert not (tmp_path / "products.csv").exists()
    assert not list(tmp_path.glob(".*"))
    assert write_catalogue(tmp_path, settings).exists()


def test_a_complete_catalogue_is_kept(tmp_path: Path) -> None:
    settings = Synthetic(rows=200)
    path = write_catalogue(tmp_path, settings)
    written = path.stat().st_mtime_ns
    assert write_catalogue(tmp_path, settings) == path
    assert path.stat().st_mtime_ns == written


def test_more_rows_extend_a_catalogue_and_keep_its_first(tmp_path: Path) -> None:
    first = write_catalogue(tmp_path / "grown", Synthetic(rows=200)).read_bytes()
    grown = write_catalogue(tmp_path / "grown", Synthetic(rows=300)).read_bytes()
    assert grown.startswith(first)
    assert grown == write_catalogue(tmp_path / "at_once", Synthetic(rows=300)).read_bytes()
    with pytest.raises(FileExistsError, match="300 rows and 200 were asked for"):
        write_catalogue(tmp_path / "grown", Synthetic(rows=200))


def test_other_settings_in_the_same_folder_are_refused(tmp_path: Path) -> None:
    path = write_catalogue(tmp_path, Synthetic(rows=200))
    before = path.read_bytes()
    with pytest.raises(FileExistsError, match="seed 0 there, 7 asked for"):
        write_catalogue(tmp_path, Synthetic(rows=200, seed=7))
    with pytest.raises(FileExistsError, match="drift"):
        write_catalogue(tmp_path, Synthetic(rows=200), Drift("mix"))
    assert path.read_bytes() == before


def test_somebody_elses_catalogue_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "products.csv").write_text("mine\n")
    with pytest.raises(FileExistsError, match="was not made by this generator"):
        write_catalogue(tmp_path, Synthetic(rows=200))
    assert (tmp_path / "products.csv").read_text() == "mine\n"


def test_processes_write_the_same_catalogue(tmp_path: Path) -> None:
    settings = Synthetic(rows=200)
    alone = write_catalogue(tmp_path / "alone", settings, start=5000)
    together = write_catalogue(tmp_path / "together", settings, start=5000, workers=2)
    assert together.read_bytes() == alone.read_bytes()
    assert alone.read_text(encoding="utf-8").splitlines()[1].startswith("P0005000")
