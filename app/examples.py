"""Examples for the page: articles of the demo's generator that no training saw."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import gradio as gr

from rayon.config import Config
from rayon.data.synthetic import iter_products

_EXAMPLES = 6
_BEYOND = 1_000_000  # rows of no catalogue: the largest has so many
_LOOKED_AT = 200


def demo_examples(config: Config) -> list[list[Any]]:
    """Return [title, path of the photo or None] of a few articles of different categories.

    A catalogue that was not generated has none.
    """
    settings = config.catalog.synthetic
    if settings is None:
        return []
    folder = Path(config.cache) / "app-examples"
    folder.mkdir(parents=True, exist_ok=True)
    gr.set_static_paths([folder])  # shown from where they are: a copy would be swept away
    found: list[list[Any]] = []
    seen: set[str] = set()
    number = count()
    for product in iter_products(settings, start=_BEYOND, stop=_BEYOND + _LOOKED_AT):
        if product.image is None or not product.designation or product.category in seen:
            continue
        seen.add(product.category)
        photo = folder / f"{settings.seed}-{next(number)}.jpg"
        photo.write_bytes(product.image)
        # one without title, one without photo: they are often missing
        found.append(
            ["" if len(found) == 1 else product.designation, None if len(found) == 2 else str(photo)],
        )
        if len(found) == _EXAMPLES:
            break
    return found
