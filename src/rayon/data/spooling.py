"""Bytes that wait in a file until somebody asks for them, so that they need not all be in memory at a time.

Knows one nameless file of this machine, which goes with the process, however that ends. It does not know what the bytes
are.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Spool:
    """A file without a name, in a folder of a disk, to which pieces are added.

    Raises:
        OSError: the folder cannot be written to, or the disk is full.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - it is closed when nothing needs it
        self._size = 0

    def keep(self, content: bytes) -> Spooled:
        """Add a piece; it stays readable as long as what is returned is there."""
        start, left = self._size, memoryview(content)
        while left:
            left = left[self._file.write(left) :]
        self._size += len(content)
        return Spooled(self, start, len(content))

    def read(self, start: int, size: int) -> bytes:
        """Return `size` bytes from `start` on."""
        pieces = bytearray()
        while len(pieces) < size:
            pieces += os.pread(self._file.fileno(), size - len(pieces), start + len(pieces))
        return bytes(pieces)


class Spooled:
    """A piece of a `Spool`. Pickled, it is the bytes themselves: as an artifact nobody can tell that they waited.

    Example:
        >>> import pickle, tempfile
        >>> piece = Spool(Path(tempfile.gettempdir())).keep(b"a part")
        >>> piece.read() == pickle.loads(pickle.dumps(piece)) == b"a part"
        True
    """

    def __init__(self, spool: Spool, start: int, size: int) -> None:
        self._spool, self._start, self._size = spool, start, size

    def read(self) -> bytes:
        """Return the bytes."""
        return self._spool.read(self._start, self._size)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return bytes, (self.read(),)
