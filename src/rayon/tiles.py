"""What is written below photos in notebooks: samples, doubtful labels, mistakes, neighbours, strange photos.

Brings together frames and photos of a dataset as `rayon.plots_photos.Tile`. It chooses nothing: who calls says which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from rayon.data.dataset import Dataset
from rayon.gallery import Gallery, Neighbour
from rayon.inference import Predictor, Ready
from rayon.plots_photos import Tile, Tone


def sample_tiles(photos: Sequence[tuple[str, bytes]]) -> list[Tile]:
    """Return photos with their categories, as `rayon.exploring.photos_of` draws them."""
    return [Tile(photo, [("plain", category)]) for category, photo in photos]


def disagreement_tiles(table: pd.DataFrame, dataset: Dataset) -> list[Tile]:
    """Return products that repeat one another under different labels (`rayon.data.profile.disagreements`)."""
    return [
        Tile(
            dataset.photo(int(product["row"])),
            [
                ("plain", product["title"]),
                ("wrong", product["category"]),
                ("faint", f"same {product['same']}, group {product['group'] + 1}"),
            ],
        )
        for product in table.to_dict("records")
    ]


def suspect_tiles(suspects: pd.DataFrame, dataset: Dataset) -> list[Tile]:
    """Return doubtful labels: the columns are those of the artifact `suspects` of a training.

    A product that the dataset no longer has is left out.
    """
    rows = {product_id: row for row, product_id in enumerate(dataset.frame["product_id"])}
    return [
        Tile(
            dataset.photo(rows[suspect["product_id"]]),
            [
                ("plain", suspect["title"]),
                ("wrong", f"label: {suspect['category']}"),
                ("right", f"rather: {suspect['suggested']}"),
            ],
        )
        for suspect in suspects.to_dict("records")
        if suspect["product_id"] in rows
    ]


def judged_tiles(judged: pd.DataFrame, dataset: Dataset) -> list[Tile]:
    """Return judged products (`rayon.error_analysis.JUDGED`): label, answer, how sure, what text and photo counted."""
    return [
        Tile(
            dataset.photo(int(product["row"])),
            [
                ("plain", product["title"]),
                ("right", f"label: {product['category']}"),
                (_tone(product["right"]), f"said: {product['predicted']}"),
                ("faint", f"{product['confidence']:.0%} sure, text {product['text_share']:.0%}"),
            ],
        )
        for product in judged.to_dict("records")
    ]


def apart_tiles(apart: pd.DataFrame, dataset: Dataset) -> list[Tile]:
    """Return judged products with what text and photo say alone (`rayon.error_analysis.alone`)."""
    tiles = []
    for product in apart.to_dict("records"):
        lines: list[tuple[Tone, str]] = [("plain", product["title"]), ("right", f"label: {product['category']}")]
        for name, said in (("together", "predicted"), ("text", "text_says"), ("photo", "photo_says")):
            if product[said]:
                lines.append((_tone(product[said] == product["category"]), f"{name}: {product[said]}"))
        tiles.append(Tile(dataset.photo(int(product["row"])), lines))
    return tiles


def neighbours(predictor: Predictor, gallery: Gallery, dataset: Dataset, row: int, count: int = 4) -> list[Neighbour]:
    """Return the training products most like a product of the dataset, in what the encoders see of both."""
    product = dataset.frame.iloc[row]
    ready = Ready(product["product_id"], product["designation"], product["description"], dataset.photo(row))
    # a gold product repeats a training product at times, and is never one
    return gallery.nearest(predictor.features_of(ready), count)


def neighbour_tiles(
    judged: pd.DataFrame, dataset: Dataset, predictor: Predictor, gallery: Gallery, count: int = 4
) -> list[Tile]:
    """Return each judged product followed by the `count` training products most like it.

    A neighbour's category is green where it is the product's label, red where it is what the model said instead.
    """
    tiles: list[Tile] = []
    for product, tile in zip(judged.to_dict("records"), judged_tiles(judged, dataset), strict=True):
        found = neighbours(predictor, gallery, dataset, int(product["row"]), count)
        tiles.append(tile)
        tiles += [
            Tile(
                near.photo,
                [
                    ("plain", near.title),
                    (_likeness_tone(near.category, product), near.category),
                    ("faint", f"likeness {near.likeness:.2f}"),
                ],
            )
            for near in found
        ]
        tiles += [Tile(None)] * (count - len(found))
    return tiles


def strange_tiles(samples: Sequence[Mapping[str, Any]]) -> list[Tile]:
    """Return the products of a window whose photos are least like the training's (`strangest` of a monitoring run)."""
    return [
        Tile(
            sample["photo"],
            [
                ("plain", sample["title"] or sample["product_id"]),
                ("plain", f"{sample['category']}, {sample['confidence']:.0%}"),
                ("faint", f"{sample['photo_novelty']:.1f} times as unlike as usual"),
            ],
        )
        for sample in samples
    ]


def _tone(right: bool) -> Tone:
    return "right" if right else "wrong"


def _likeness_tone(category: str, product: Mapping[Any, Any]) -> Tone:
    if category == product["category"]:
        return "right"
    return "wrong" if category == product["predicted"] else "plain"
