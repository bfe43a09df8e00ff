from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from unittest.mock import Mock

import pandas as pd
import pyarrow as pa
import pytest

from rayon.config import Config, Split
from rayon.data.catalog import CatalogError
from rayon.data.dataset import open_dataset
from rayon.data.preprocessing import Manifest, build_shard, combine, plan_dataset
from rayon.schema import REJECT_COLUMNS


class Store:
    """Shards as somebody stores them: bytes under a locator."""

    def __init__(self) -> None:
        self.data: dict[str, bytes] = {}
        self.keys: dict[str, bytes] = {}
        self.built = 0

    def make(
        self, config: Config, previous: Manifest | None = None, require_category: bool = True
    ) -> tuple[Manifest, pd.DataFrame]:
        plan = plan_dataset(config, previous, lambda ref: self.keys[ref.locator], require_category)
        stored = []
        for part in plan.parts:
            shard = build_shard(part, config)
            locator = f"shard-{len(self.data)}"
            self.data[locator], self.keys[locator] = shard.data, shard.keys
            self.built += 1
            stored.append(shard._replace(data=b"", ref=shard.ref._replace(locator=locator)))
        manifest, rejects = combine(config, plan, stored, lambda ref: self.keys[ref.locator])
        return manifest, rejects.frame()

    def frame(self, manifest: Manifest, folder: Path) -> pd.DataFrame:
        return open_dataset(manifest, lambda ref: self.data[ref.locator], folder, Split(), 5).frame


def rows(start: int, stop: int, image: str = "") -> list[tuple[str, str, str, str, str]]:
    return [(f"{n:04d}", f"produit {n}", f"texte {n}", f"c{n % 3}", image) for n in range(start, stop)]


def test_every_bad_row_is_kept_as_a_reject_and_none_is_lost(make_catalog, make_photo, huge_png, tmp_path):
    photos = {
        "good.jpg": make_photo(),
        "zero.jpg": b"",
        "huge.png": huge_png,
        "text.jpg": b"no photo",
        "cut.png": make_photo((90, 90), kind="PNG")[:60],
    }
    products = [
        *rows(0, 6, "good.jpg"),
        ("", "sans id", "", "c0", ""),
        ("0001", "double", "", "c0", ""),
        ("10", "", "<br>", "c0", ""),
        ("11", "sans rayon", "", "", ""),
        ("12", "seul", "", "rare", ""),
        ("13", "x" * 100_000, "", "c0", "zero.jpg"),
        ("14", "photo trop grande", "", "c0", "huge.png"),
        ("15", "", "", "c0", "text.jpg"),
        ("16", "", "", "c0", "good.jpg"),
        ("17", "photo absente", "", "c0", "gone.jpg"),
        ("18", "photo dehors", "", "c0", "../products.csv"),
        ("19", "photo coupée", "", "c0", "cut.png"),
        ("20", "champs", "", "c0", "good.jpg", "de", "trop"),
        ("21", "champs manquants"),
    ]
    config = make_catalog(products, photos, preprocess={"min_products_per_category": 2, "shard_rows": 50})
    store = Store()
    manifest, rejects = store.make(config)

    assert tuple(rejects.columns) == REJECT_COLUMNS
    refused = rejects[rejects["scope"] == "product"]
    assert dict(zip(refused["row"], refused["reason"], strict=True)) == {
        7: "missing_id",
        8: "duplicate_id",
        9: "no_text_no_photo",
        10: "missing_category",
        11: "rare_category",
        14: "photo_unknown_format",
        19: "bad_row",
        20: "bad_row",
    }
    without = rejects[rejects["scope"] == "photo"]
    assert dict(zip(without["product_id"], without["reason"], strict=True)) == {
        "13": "photo_empty",
        "14": "photo_too_many_pixels",
        "17": "photo_missing",
        "18": "photo_outside_folder",
        "19": "photo_damaged",
    }
    assert json.loads(rejects.set_index("row")["record"][8])["designation"] == "double"
    assert manifest.counts == {
        "read": 20,
        "unchanged": 0,
        "new": 13,
        "removed": 0,
        "kept": 12,
        "rejected": 8,
        "photos_refused": 5,
        "without_photo": 5,
        "without_description": 6,
        "title_duplicates": 0,
        "feedback": 0,
    }
    frame = store.frame(manifest, tmp_path / "spool")
    assert len(frame) + len(refused) == manifest.counts["read"]
    assert frame.set_index("product_id")["designation"]["13"] == "x" * 10_000
    assert manifest.categories == ("c0", "c1", "c2")


def test_added_rows_append_shards_and_leave_the_earlier_ones_as_they_are(make_catalog, tmp_path):
    store = Store()
    first, _ = store.make(make_catalog(rows(0, 120)))
    assert [ref.rows for ref in first.shards] == [50, 50, 20]
    second, _ = store.make(make_catalog(rows(0, 130)), first)
    assert second.shards[:3] == first.shards
    assert [ref.rows for ref in second.shards[3:]] == [10]
    assert store.built == 4
    assert second.fingerprint != first.fingerprint
    assert store.frame(second, tmp_path / "spool")["product_id"].tolist() == [f"{n:04d}" for n in range(130)]


def test_the_gold_set_does_not_move_when_the_catalogue_grows(make_catalog, tmp_path):
    store = Store()
    first, _ = store.make(make_catalog(rows(0, 100)))
    before = store.frame(first, tmp_path / "spool").set_index("product_id")["split"]
    second, _ = store.make(make_catalog([*rows(500, 600), *rows(0, 100)]), first)
    after = store.frame(second, tmp_path / "spool").set_index("product_id")["split"]
    assert (before == "test").any()
    assert (after[before.index] == before).all()


def test_an_unchanged_catalogue_builds_nothing(make_catalog, make_photo):
    store = Store()
    config = make_catalog(rows(0, 60, "a.jpg"), {"a.jpg": make_photo()})
    first, _ = store.make(config)
    second, _ = store.make(config, first)
    assert store.built == 2
    assert (second.shards, second.fingerprint) == (first.shards, first.fingerprint)
    assert second.counts["unchanged"] == 60


def test_changed_and_vanished_rows_are_removed_from_their_shards(make_catalog, tmp_path):
    store = Store()
    products = rows(0, 60)
    first, _ = store.make(make_catalog(products))
    products[3] = ("0003", "autre titre", "texte 3", "c0", "")
    del products[55]
    second, _ = store.make(make_catalog(products), first)
    assert [ref.removed for ref in second.shards] == [(3,), (5,), ()]
    assert [ref[:4] for ref in second.shards[:2]] == [ref[:4] for ref in first.shards]
    assert (second.counts["kept"], second.counts["new"], second.counts["removed"]) == (59, 1, 2)
    frame = store.frame(second, tmp_path / "spool")
    assert "0055" not in set(frame["product_id"])
    assert frame.set_index("product_id")["designation"]["0003"] == "autre titre"

    third, _ = store.make(make_catalog(rows(0, 60)), second)
    assert third.fingerprint == first.fingerprint
    assert len(store.frame(third, tmp_path / "spool")) == 60


def test_a_shard_of_which_nothing_is_left_is_no_longer_listed(make_catalog):
    store = Store()
    first, _ = store.make(make_catalog(rows(0, 60)))
    second, _ = store.make(make_catalog(rows(50, 60)), first)
    assert second.shards == first.shards[1:]


def test_a_changed_photo_is_read_again(make_catalog, make_photo, tmp_path):
    store = Store()
    products = [*rows(0, 3, "a.jpg"), *rows(3, 6, "b.jpg")]
    first, _ = store.make(make_catalog(products, {"a.jpg": make_photo(), "b.jpg": make_photo()}))
    second, _ = store.make(make_catalog(products, {"b.jpg": make_photo((31, 31))}), first)
    assert [ref.removed for ref in second.shards] == [(3, 4, 5), ()]
    assert second.fingerprint != first.fingerprint


def test_the_fingerprint_knows_content_and_not_layout_order_or_file_times(make_catalog, make_photo, tmp_path):
    photos = {"a.jpg": make_photo()}
    one, _ = Store().make(make_catalog(rows(0, 60, "a.jpg"), photos))
    os.utime(tmp_path / "images" / "a.jpg", (1, 1))
    layout = {"min_products_per_category": 1, "shard_rows": 70, "image_side": 32, "workers": 0}
    other, _ = Store().make(make_catalog(rows(0, 60, "a.jpg")[::-1], photos, preprocess=layout))
    assert other.fingerprint == one.fingerprint
    assert other.shards != one.shards
    changed, _ = Store().make(make_catalog([*rows(0, 59, "a.jpg"), *rows(59, 60)], photos))
    assert changed.fingerprint != one.fingerprint


def test_the_same_part_gives_the_same_bytes(make_catalog, make_photo):
    photos = {f"{n}.png": make_photo((90 + n, 60), (n, n, 0), kind="PNG") for n in range(20)}
    config = make_catalog([row for n in range(20) for row in rows(n, n + 1, f"{n}.png")], photos)
    (part,) = plan_dataset(config, None, None).parts
    shards = [build_shard(part, config) for _ in range(2)]
    assert shards[0].data == shards[1].data and shards[0].ref == shards[1].ref
    assert shards[0].stats["photos"] == 20


def test_a_shard_shaping_setting_builds_everything_anew_and_others_do_not(make_catalog):
    store = Store()
    first, _ = store.make(make_catalog(rows(0, 10)))
    smaller = {"min_products_per_category": 1, "shard_rows": 60, "image_side": 32}
    second, _ = store.make(make_catalog(rows(0, 10), preprocess=smaller), first)
    assert second.shards == first.shards
    sharper = {**smaller, "image_side": 64}
    third, _ = store.make(make_catalog(rows(0, 10), preprocess=sharper), first)
    assert third.settings_key != first.settings_key
    assert third.counts["new"] == 10 and store.built == 2


def test_photo_rejects_of_kept_shards_are_told_again(make_catalog):
    store = Store()
    config = make_catalog([*rows(0, 5), *rows(5, 6, "empty.jpg")], {"empty.jpg": b""})
    first, rejects = store.make(config)
    second, again = store.make(config, first)
    assert rejects["reason"].tolist() == again["reason"].tolist() == ["photo_empty"]
    assert second.counts["photos_refused"] == 1


def test_a_photo_out_of_reach_is_tried_again_by_the_next_plan(make_catalog):
    store = Store()
    config = make_catalog([*rows(0, 5), *rows(5, 6, "http://127.0.0.1:9/a.jpg")], catalog={"allow_urls": True})
    first, rejects = store.make(config)
    assert rejects["reason"].tolist() == ["photo_unreachable"]
    second, _ = store.make(config, first)
    assert (second.counts["unchanged"], second.counts["new"], second.counts["kept"]) == (5, 1, 6)


@pytest.mark.parametrize("error", [PermissionError(errno.EACCES, "no"), OSError(errno.EIO, "no")])
def test_a_photo_that_cannot_be_read_now_is_tried_again_by_the_next_plan(
    make_catalog, make_photo, tmp_path, monkeypatch, error
):
    store = Store()
    config = make_catalog([*rows(0, 5), *rows(5, 6, "a.jpg")], {"a.jpg": make_photo()})
    with monkeypatch.context() as patch:
        patch.setattr("pathlib.Path.read_bytes", Mock(side_effect=error))
        first, rejects = store.make(config)
        second, _ = store.make(config, first)
    assert rejects["reason"].tolist() == ["photo_unreadable"]
    assert (second.counts["unchanged"], second.counts["new"], second.counts["kept"]) == (5, 1, 6)
    assert second.fingerprint == first.fingerprint and len(second.shards) == 2
    third, rejects = store.make(config, second)
    assert rejects.empty and third.fingerprint != first.fingerprint
    assert store.make(config, third)[0].counts["new"] == 0


def test_a_photo_that_never_will_be_read_is_tried_once(make_catalog):
    names = ["x" * 300, "a.jpg/b.jpg", "."]
    products = [row for n, name in enumerate(names) for row in rows(n, n + 1, name)]
    store, config = Store(), make_catalog([*products, *rows(5, 9)], {"a.jpg": b"x"})
    first, rejects = store.make(config)
    assert rejects["reason"].tolist() == ["photo_unreadable"] * 3
    assert store.make(config, first)[0].counts["new"] == 0


def test_addresses_that_were_refused_are_fetched_once_they_are_allowed(make_catalog):
    store, addresses = Store(), [*rows(0, 5), *rows(5, 6, "http://127.0.0.1:9/a.jpg")]
    first, rejects = store.make(make_catalog(addresses))
    assert rejects["reason"].tolist() == ["photo_url_not_allowed"]
    second, rejects = store.make(make_catalog(addresses, catalog={"allow_urls": True}), first)
    assert second.counts["new"] == 1 and rejects["reason"].tolist() == ["photo_unreachable"]


def test_photos_that_are_nowhere_are_a_wrong_setting(make_catalog):
    with pytest.raises(CatalogError, match=r"none of its 25 photos can be found.*catalog\.images"):
        plan_dataset(make_catalog(rows(0, 25, "gone.jpg")), None, None)


def test_a_catalogue_without_a_valid_product_is_an_error_with_the_reasons(make_catalog):
    with pytest.raises(
        CatalogError, match=r"none of its 3 rows is a valid product \(missing_category 2, missing_id 1\)"
    ):
        plan_dataset(make_catalog([("1", "a", "", "", ""), ("2", "b", "", "", ""), ("", "c", "", "d", "")]), None, None)


def test_products_that_only_had_unusable_photos_leave_no_dataset(make_catalog):
    with pytest.raises(CatalogError, match="no product is left"):
        Store().make(make_catalog([("1", "", "", "a", "zero.jpg")], {"zero.jpg": b""}))


def test_products_to_score_need_no_category(make_catalog, tmp_path):
    config = make_catalog(
        [("1", "robe", "", ""), ("2", "", "", "")], header=("product_id", "designation", "description", "image")
    )
    store = Store()
    manifest, rejects = store.make(config, require_category=False)
    assert rejects["reason"].tolist() == ["no_text_no_photo"]
    assert manifest.categories == ()
    assert store.frame(manifest, tmp_path / "spool")["label"].tolist() == [-1]


def test_a_manifest_survives_json(make_catalog):
    store = Store()
    first, _ = store.make(make_catalog(rows(0, 60)))
    second, _ = store.make(make_catalog(rows(1, 60)), first)
    assert Manifest.from_json(second.to_json()) == second
    assert second.shards[0].removed == (0,)
    assert second.columns == ("product_id", "designation", "description", "category", "image")
    content = json.loads(second.to_json())
    del content["columns"]  # as a version made before they were kept
    assert Manifest.from_json(json.dumps(content)) == second._replace(columns=())


def test_parts_are_bounded_compressed_and_complete(make_catalog):
    products = [(f"{n:04d}", f"produit {n}", "mot " * 400, "c", "") for n in range(620)]
    config = make_catalog(products)
    parts = plan_dataset(config, None, None).parts
    assert sum(map(len, parts)) < Path(config.catalog.products).stat().st_size / 5
    assert [pa.ipc.open_file(part).read_all().num_rows for part in parts] == [50] * 12 + [20]
