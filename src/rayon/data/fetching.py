"""Catalogues that lie on S3: copied here before they are read.

Knows addresses and files. Photos are not copied with them: each is read by the task that shrinks it
(`rayon.data.images`).
"""

from __future__ import annotations

import dataclasses
from hashlib import sha256
from pathlib import Path

from rayon.config import Catalog
from rayon.data.outputs import OutputError, Outputs, is_remote
from rayon.data.tables import CatalogError


def fetch_catalog(catalog: Catalog, folder: Path) -> Catalog:
    """Return the catalogue with its products and labels as files of this machine, copied into `folder` where needed.

    Raises:
        CatalogError: there is no such file at the address, or it cannot be read.
    """
    labels = None if catalog.labels is None else str(fetch(catalog.labels, folder))
    return dataclasses.replace(catalog, products=str(fetch(catalog.products, folder)), labels=labels)


def fetch(location: str, folder: Path) -> Path:
    """Return the path of a file, or of a folder of Parquet files; what has an s3:// address is copied into `folder`.

    A copy is kept under its address, size and time of change, so that what has not changed is not copied again.

    Raises:
        CatalogError: there is nothing at the address, or it cannot be read.
    """
    if not is_remote(location):
        return Path(location)
    above, _, name = location.rstrip("/").rpartition("/")
    try:
        outputs = Outputs(above)
        alone = outputs.look(name)
        files = [alone] if alone else [file for file in outputs.listing(name) if file.name.endswith(".parquet")]
        if not files:
            raise CatalogError(f"{location}: there is no such file, or folder of Parquet files. Check the address.")
        mark = sha256(repr((location, sorted(files))).encode()).hexdigest()[:16]
        for file in files:
            copy = folder / mark / file.name
            if not copy.exists() or copy.stat().st_size != file.size:
                outputs.download(file.name, copy)
        return folder / mark / name
    except OutputError as error:
        raise CatalogError(f"{location} cannot be read: {error}") from None
