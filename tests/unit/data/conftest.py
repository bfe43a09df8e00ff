"""Factories of small catalogues and photos, as real files."""

from __future__ import annotations

import csv
import io
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rayon.config import Config, parse_config

HEADER = ("product_id", "designation", "description", "category", "image")

MakePhoto = Callable[..., bytes]
MakeCatalog = Callable[..., Config]


@pytest.fixture
def make_photo() -> MakePhoto:
    def make(
        size: tuple[int, int] = (40, 30),
        colour: Any = (200, 30, 30),
        mode: str = "RGB",
        kind: str = "JPEG",
        **save: Any,
    ) -> bytes:
        buffer = io.BytesIO()
        Image.new(mode, size, colour).save(buffer, kind, **save)
        return buffer.getvalue()

    return make


@pytest.fixture
def huge_png() -> bytes:
    """A PNG of a few bytes whose header announces 20,000 x 20,000 pixels; its pixel data is rubbish."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 20_000, 20_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"no pixels") + chunk(b"IEND", b"")


@pytest.fixture
def make_catalog(tmp_path: Path) -> MakeCatalog:
    """Write rows as products.csv and photos into images/, and return a configuration that reads them."""

    def make(
        rows: Sequence[Sequence[str]],
        photos: dict[str, bytes] | None = None,
        header: Sequence[str] = HEADER,
        catalog: dict[str, Any] | None = None,
        **sections: Any,
    ) -> Config:
        with open(tmp_path / "products.csv", "w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([header, *rows])
        images = tmp_path / "images"
        images.mkdir(exist_ok=True)
        for name, content in (photos or {}).items():
            if not (images / name).exists() or (images / name).read_bytes() != content:
                (images / name).write_bytes(content)
        files = {"products": str(tmp_path / "products.csv"), "images": str(images)}
        sections.setdefault("preprocess", {"min_products_per_category": 1, "shard_rows": 50, "image_side": 32})
        return parse_config({"name": "shop", "catalog": {**files, **(catalog or {})}, **sections})

    return make
