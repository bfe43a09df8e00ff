"""Files that a run leaves for others, in a folder or in an S3 bucket: whole or not there at all.

Knows names and bytes, through Arrow's file systems. It does not know what is in a file or who wants it.
"""

from __future__ import annotations

import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from pyarrow import fs

_TRIES = 8
_CONNECT_SECONDS = 5.0
_PIECE = 1 << 20

_NO_ANSWER = re.compile(
    r"AWS Error (NETWORK_CONNECTION|INTERNAL_FAILURE|SERVICE_UNAVAILABLE|SLOW_DOWN|THROTTLING|REQUEST_TIMEOUT|"
    r"REQUEST_TIME_TOO_SKEWED|INVALID_ACCESS_KEY_ID|SIGNATURE_DOES_NOT_MATCH|UNRECOGNIZED_CLIENT)|"
    r"HTTP status 5|ExpiredToken"
)
"""How Arrow, which has no types for it, tells that nobody answers, or nobody whom these credentials are known to."""


class OutputError(ValueError):
    """An output cannot be written or read. The message names it and says what to do."""


class NoAnswerError(OutputError):
    """The object store answers nothing at all: none of its buckets can be read or written, not just this one."""


def is_remote(location: str) -> bool:
    """Say whether a location is an address, s3://bucket/prefix, and no path of this machine."""
    return "://" in location


def endpoint() -> str:
    """Return the address of the S3 server that the environment names, '' for Amazon's own."""
    names = ("METAFLOW_S3_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    return next((os.environ[name] for name in names if os.environ.get(name)), "")


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
        OutputError: the address is of a kind that cannot be written to. Here and in all methods it is a NoAnswerError
            where the whole store is away.
    """

    def __init__(self, location: str) -> None:
        self.location = location
        self._local = not is_remote(location)
        try:
            self._files, self._root = _open(location)
        except (ValueError, OSError) as error:
            raise _told(f"'{location}' is no folder that can be written to: {error}", error) from None

    def write(self, name: str, content: bytes) -> str:
        """Write a file, replacing one of that name, and return its location."""
        path = f"{self._root}/{name}"
        unfinished = str(Path(path).with_name(f".{Path(path).name}.{uuid.uuid4().hex[:8]}.part"))
        try:
            if not self._local:  # an object is there once it is complete
                self._put(path, content)
                return f"{self.location.rstrip('/')}/{name}"
            self._files.create_dir(str(Path(path).parent), recursive=True)
            self._put(unfinished, content)
            os.replace(unfinished, path)
            return path
        except OSError as error:
            if self._local:
                with suppress(OSError):
                    os.unlink(unfinished)
            sentence = f"{name} cannot be written to '{self.location}': {error}. Free space or choose another --output."
            raise _told(sentence, error) from None

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, None where there is none."""
        path = f"{self._root}/{name}"
        try:
            if self._files.get_file_info(path).type != fs.FileType.File:
                return None
            with self._files.open_input_stream(path) as stream:
                content: bytes = stream.read()
            return content
        except (OSError, ValueError) as error:
            raise _told(f"{name} cannot be read from '{self.location}': {error}", error) from None

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is as good as deleted."""
        try:
            self._files.delete_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return
        except OSError as error:
            raise _told(f"{name} cannot be deleted from '{self.location}': {error}", error) from None

    def listing(self, below: str = "") -> Iterator[Listed]:
        """Yield all files in the folder, or in its folder `below`, and deeper; half-written ones are left out."""
        try:
            selector = fs.FileSelector(f"{self._root}/{below}".rstrip("/"), allow_not_found=True, recursive=True)
            found = self._files.get_file_info(selector)
        except (OSError, ValueError) as error:
            raise _told(f"'{self.location}' cannot be listed: {error}", error) from None
        for info in found:
            if info.type == fs.FileType.File and not info.base_name.endswith(".part"):
                yield Listed(info.path[len(self._root) :].lstrip("/"), info.size, info.mtime)

    def look(self, name: str) -> Listed | None:
        """Return a file as it is listed, None where there is none."""
        try:
            info = self._files.get_file_info(f"{self._root}/{name}")
        except (OSError, ValueError) as error:
            raise _told(f"{name} cannot be looked up in '{self.location}': {error}", error) from None
        return Listed(name, info.size, info.mtime) if info.type == fs.FileType.File else None

    def check(self) -> None:
        """Raise an OutputError where the folder itself cannot be looked up: a NoAnswerError where the store is away,
        another one where the store refuses this folder alone.
        """
        try:
            self._files.get_file_info(self._root)
        except (OSError, ValueError) as error:
            raise _told(f"'{self.location}' does not answer: {error}", error) from None

    def download(self, name: str, file: Path) -> None:
        """Copy a file to the path `file` of this machine, piece by piece; it is there whole or not at all.

        Raises:
            OutputError: there is none, or it cannot be read.
        """
        unfinished = file.with_name(f".{file.name}.{uuid.uuid4().hex[:8]}.part")
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._files.open_input_stream(f"{self._root}/{name}") as stream, open(unfinished, "wb") as target:
                shutil.copyfileobj(stream, target, _PIECE)
            os.replace(unfinished, file)
        except OSError as error:
            unfinished.unlink(missing_ok=True)
            raise _told(f"{name} cannot be read from '{self.location}': {error}", error) from None

    def _put(self, path: str, content: bytes) -> None:
        with self._files.open_output_stream(path) as stream:
            stream.write(content)


def _told(sentence: str, cause: Exception) -> OutputError:
    return (NoAnswerError if _NO_ANSWER.search(str(cause)) else OutputError)(sentence)


def _open(location: str) -> tuple[fs.FileSystem, str]:
    if not is_remote(location):
        return fs.LocalFileSystem(), str(Path(location).resolve())
    address = urlsplit(location)
    if address.scheme != "s3" or not address.netloc:
        raise ValueError("write a path or s3://bucket/prefix")
    server = urlsplit(endpoint())
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region and not server.netloc:
        region = fs.resolve_s3_region(address.netloc)
    files = fs.S3FileSystem(
        region=region,
        endpoint_override=server.netloc or None,
        scheme=server.scheme or None,
        connect_timeout=_CONNECT_SECONDS,
        allow_delayed_open=True,  # a small file is one request instead of three
        # waits longer from try to try: half a minute without an answer costs no task
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
    )
    return files, f"{address.netloc}{address.path}".rstrip("/")
