"""Catalogues that lie on S3: copied here before they are read.

Knows addresses and files. Photos are not copied with them: each is read by the task that shrinks it
(`rayon.data.images`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from hashlib import sha256
from pathlib import Path

from rayon.config import Catalog
from rayon.data.outputs import Listed, OutputError, Outputs, is_remote
from rayon.data.tables import CatalogError


def fetch_catalog(catalog: Catalog, folder: Path, names: Collection[str] | None = None) -> Catalog:
    """Return the catalogue with its products and labels as files of this machine, copied into `folder` where needed.

    `names` are those files of a folder of products that are wanted, as `list_files` names them; all if not given.

    Raises:
        CatalogError: there is no such file at the address, or it cannot be read.
    """
    labels = None if catalog.labels is None else str(fetch(catalog.labels, folder))
    return dataclasses.replace(catalog, products=str(fetch(catalog.products, folder, names)), labels=labels)


def fetch(location: str, folder: Path, names: Collection[str] | None = None) -> Path:
    """Return the path of a file, or of a folder of Parquet files; what has an s3:// address is copied into `folder`.

    A copy is kept under its address, size and time of change, so that what has not changed is not copied again. Where
    some files of a folder alone are wanted, `names`, the path is that of a folder in which only they are.

    Raises:
        CatalogError: there is nothing at the address, or it cannot be read.
    """
    remote = is_remote(location)
    if not remote and (names is None or not Path(location).is_dir()):
        return Path(location)
    above, name = _parted(location)
    files = [file for file in list_files(location) if names is None or file.name in names]
    mark = sha256(repr((location, sorted(files))).encode()).hexdigest()[:16]
    try:
        outputs = Outputs(above)
        for file in files:
            copy = folder / mark / file.name
            if copy.exists() and copy.stat().st_size == file.size:
                continue
            if remote:
                outputs.download(file.name, copy)
            else:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.unlink(missing_ok=True)  # a link to what is gone
                copy.symlink_to(Path(above, file.name).resolve())
    except OutputError as error:
        raise CatalogError(f"{location} cannot be read: {error}") from None
    return folder / mark / name


def list_files(location: str, waits: bool = False) -> list[Listed]:
    """Return a file, or the Parquet files of a folder, by absolute path or s3:// address; a file's name in a folder
    begins with that of the folder.

    Args:
        waits: the folder may be empty still. On S3 that is a folder of which nothing can be seen.

    Raises:
        CatalogError: there is nothing there, or it cannot be listed.
    """
    above, name = _parted(location)
    try:
        outputs = Outputs(above)
        alone = outputs.look(name)
        # as in a folder of this machine: what lies deeper is not of the catalogue
        inside = (file for file in outputs.listing(name) if file.name.rpartition("/")[0] == name)
        files = [alone] if alone else [file for file in inside if file.name.endswith(".parquet")]
    except OutputError as error:
        raise CatalogError(f"{location} cannot be read: {error}") from None
    if not files and not (waits and (is_remote(location) or Path(location).is_dir())):
        raise CatalogError(f"{location}: there is no such file, or folder of Parquet files. Check the address.")
    return files


def _parted(location: str) -> tuple[str, str]:
    above, slash, name = location.rstrip("/").rpartition("/")
    return above or slash, name
