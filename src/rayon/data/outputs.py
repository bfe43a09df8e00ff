"""Files that a run leaves for others, in a folder or in an S3 bucket: whole or not there at all.

Knows names and bytes, through Arrow's file systems. It does not know what is in a file or who wants it.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from pyarrow import fs


class OutputError(ValueError):
    """An output cannot be written or read. The message names it and says what to do."""


class Listed(NamedTuple):
    """A file: its name, its size in bytes, and when it was last written (UTC)."""

    name: str
    size: int
    written: datetime


class Outputs:
    """A folder of results, by path or as s3://bucket/prefix.

    S3 credentials and region are those of the environment; METAFLOW_S3_ENDPOINT_URL or AWS_ENDPOINT_URL_S3 or
    AWS_ENDPOINT_URL names another endpoint.

    Raises:
        OutputError: the address is of a kind that cannot be written to.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._local = "://" not in location
        try:
            self._files, self._root = _open(location)
        except (ValueError, OSError) as error:
            raise OutputError(f"'{location}' is no folder that can be written to: {error}") from None

    def write(self, name: str, content: bytes) -> str:
        """Write a file, replacing one of that name, and return its location."""
        path = f"{self._root}/{name}"
        try:
            if not self._local:  # an object is there once it is complete
                self._put(path, content)
                return f"{self.location.rstrip('/')}/{name}"
            self._files.create_dir(str(Path(path).parent), recursive=True)
            unfinished = str(Path(path).with_name(f".{Path(path).name}.{uuid.uuid4().hex[:8]}.part"))
            self._put(unfinished, content)
            os.replace(unfinished, path)
            return path
        except OSError as error:
            raise OutputError(
                f"{name} cannot be written to '{self.location}': {error}. Free space or choose another --output."
            ) from None

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""
        path = f"{self._root}/{name}"
        try:
            if self._files.get_file_info(path).type != fs.FileType.File:
                return None
            with self._files.open_input_stream(path) as stream:
                content: bytes = stream.read()
            return content
        except OSError as error:
            raise OutputError(f"{name} cannot be read from '{self.location}': {error}") from None

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is as good as deleted."""
        try:
            self._files.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise OutputError(f"{name} cannot be deleted from '{self.location}': {error}") from None

    def listing(self) -> Iterator[Listed]:
        """Yield all files, in the folder and those below it; half-written ones are left out."""
        selector = fs.FileSelector(self._root, allow_not_found=True, recursive=True)
        for info in self._files.get_file_info(selector):
            if info.type == fs.FileType.File and not info.base_name.endswith(".part"):
                yield Listed(info.path[len(self._root) :].lstrip("/"), info.size, info.mtime)

    def _put(self, path: str, content: bytes) -> None:
        with self._files.open_output_stream(path) as stream:
            stream.write(content)


def _open(location: str) -> tuple[fs.FileSystem, str]:
    if "://" not in location:
        return fs.LocalFileSystem(), str(Path(location).resolve())
    address = urlsplit(location)
    if address.scheme != "s3" or not address.netloc:
        raise ValueError("write a path or s3://bucket/prefix")
    names = ("METAFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    endpoint = next((os.environ[name] for name in names if os.environ.get(name)), "")
    plain = urlsplit(endpoint)
    options = f"?endpoint_override={quote(plain.netloc)}&scheme={plain.scheme}" if endpoint else ""
    files, root = fs.FileSystem.from_uri(f"s3://{address.netloc}{address.path}".rstrip("/") + options)
    return files, root
