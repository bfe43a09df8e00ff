"""What a bundle says of itself: the JSON document in its header, read without torch, a weight or an encoder.

Knows where the document is and which formats can be read; what is in it is `rayon.bundle`'s.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from rayon.models.header import read_header

FORMAT = 4
"""Raised when a bundle of this version can no longer be read by the code of the one before. 1 had neither tempering
nor preprocess; a bundle of that format is served without the one and with the defaults of the other. 2 had no
projections; what such a bundle says is observed without views. 3 remembered no products."""

HEADER = "rayon"
"""The key of the document among a safetensors file's metadata."""


CHECKSUM = "sha256"
"""The key within the document of a checksum over all bytes of the bundle, with zeros in its own place. A bundle of the
time before there was one is read unchecked."""

UNSEALED = "0" * 64


class BundleError(ValueError):
    """Bytes that are no bundle, or one that this version cannot serve. The message says what to do."""


def describe_bundle(data: bytes) -> dict[str, Any]:
    """Return the bundle's JSON document without loading a weight or an encoder.

    Raises:
        BundleError: the bytes are no bundle, or the bundle was written by a newer version.
    """
    try:
        document: dict[str, Any] = json.loads(read_header(data)[0][HEADER])
        version = int(document["format"])
    except (ValueError, KeyError, TypeError) as error:
        raise BundleError("these bytes are no rayon bundle, or only the beginning of one: take it again.") from error
    if version > FORMAT:
        raise BundleError(f"the bundle has format {version}, this rayon reads up to {FORMAT}: update rayon.")
    document.pop(CHECKSUM, None)
    return document


def seal(data: bytes) -> bytes:
    """Return a bundle, whose document has `UNSEALED` as its checksum, with the right one."""
    place = data.index(UNSEALED.encode())
    return b"".join([data[:place], sha256(data).hexdigest().encode(), data[place + len(UNSEALED) :]])


def check_seal(data: bytes) -> None:
    """Compare a bundle, which `describe_bundle` could read, with its checksum.

    Raises:
        BundleError: some bytes are not those that were written.
    """
    metadata, end = read_header(data)
    told = json.loads(metadata[HEADER]).get(CHECKSUM)
    if told is None:
        return
    place = data.find(str(told).encode(), 8, end)
    digest = sha256(memoryview(data)[: max(place, 0)])
    digest.update(UNSEALED.encode())
    digest.update(memoryview(data)[max(place, 0) + len(UNSEALED) :])
    if digest.hexdigest() != told:
        raise BundleError("the bundle is damaged (its checksum differs): take the artifact again, or train anew.")
