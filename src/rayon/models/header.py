"""The header of a safetensors file, read without torch or a tensor.

Knows where the header lies. What stands in its metadata is for who wrote it.
"""

from __future__ import annotations

import json


def read_header(data: bytes) -> tuple[dict[str, str], int]:
    """Return the metadata of a safetensors file's bytes, and where its header ends.

    Raises:
        ValueError, KeyError, TypeError: the bytes have no such header, or no metadata in it.
    """
    end = 8 + int.from_bytes(data[:8], "little")
    metadata: dict[str, str] = json.loads(data[8:end])["__metadata__"]
    return metadata, end
