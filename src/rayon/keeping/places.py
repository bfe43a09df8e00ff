"""Where a datastore is: a folder or an S3 bucket, as files by name, with the few operations that sweeping needs.

Knows names, bytes and locks. It does not know what a run is. Arrow's file systems, which write results elsewhere in
rayon, are not used: deleting by them leaves empty objects behind in a bucket, and they can neither delete by the
thousand nor hold a lock.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Protocol
from urllib.parse import urlsplit

from rayon.data.outputs import endpoint

WORK = ".rayon-gc"
"""The folder, below a datastore's root, of what is on its way out; Metaflow takes it for no flow."""

_LOCK = f"{WORK}/lock"
_STALE = timedelta(days=1)
_THREADS = 16
_AT_ONCE = 1000  # what S3 deletes in a request


class KeepError(ValueError):
    """Retention cannot go on. The message says why and what to do."""


class Entry(NamedTuple):
    """A file: its name below the root, its size in bytes, when it was last written (UTC)."""

    name: str
    size: int
    written: datetime


class Place(Protocol):
    """A datastore's root. Names are relative to it, with slashes."""

    location: str
    companions: tuple[str, ...]
    """Endings of the files that belong to a blob and go where it goes."""

    def entries(self, folder: str) -> Iterator[Entry]:
        """Yield all files below a folder, none where there is no such folder."""

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders in a folder, sorted."""

    def read(self, name: str) -> bytes | None:
        """Return a file's content, None where there is none."""

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        """Return the contents of many files, in their order."""

    def move(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Move files, (from, to); one that is not there is left out, one that is there already is replaced."""

    def delete_tree(self, folder: str) -> None:
        """Delete a folder and all that is in it; one that is not there is as good as deleted."""

    def lock(self) -> AbstractContextManager[None]:
        """Hold the place; raises `KeepError` where somebody else holds it."""


def open_place(location: str) -> Place:
    """Return the place of a path or an s3://bucket/prefix.

    Raises:
        KeepError: it is of another kind.
    """
    if location.startswith("s3://"):
        return Bucket(location)
    if "://" in location:
        raise KeepError(f"the datastore {location} is neither a folder nor S3: delete there by its own means.")
    return Folder(location)


class Folder:
    """A folder of this machine. Metaflow keeps how a blob is packed in a file beside it."""

    companions: tuple[str, ...] = ("_meta",)

    def __init__(self, location: str) -> None:
        self.location = location
        self._root = Path(location)

    def entries(self, folder: str) -> Iterator[Entry]:
        start = len(f"{self._root}/")
        for home, _, names in os.walk(self._root / folder):
            for name in names:
                path = os.path.join(home, name)
                try:
                    status = os.stat(path)
                except FileNotFoundError:  # it was just replaced or removed
                    continue
                written = datetime.fromtimestamp(status.st_mtime, UTC)
                yield Entry(path[start:], status.st_size, written)

    def folders(self, folder: str) -> list[str]:
        try:
            with os.scandir(self._root / folder) as found:
                return sorted(entry.name for entry in found if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def read(self, name: str) -> bytes | None:
        try:
            return (self._root / name).read_bytes()
        except FileNotFoundError:
            return None

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        return [self.read(name) for name in names]

    def move(self, pairs: Sequence[tuple[str, str]]) -> None:
        for name, to in pairs:
            target = self._root / to
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.replace(self._root / name, target)
            except FileNotFoundError:
                continue

    def delete_tree(self, folder: str) -> None:
        if (self._root / folder).is_dir():
            shutil.rmtree(self._root / folder)

    @contextmanager
    def lock(self) -> Iterator[None]:
        path = self._root / _LOCK
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "w") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                raise KeepError(f"another gc works on {self.location}: wait for it, or stop it.") from None
            yield


class Bucket:
    """An S3 bucket below a prefix, through boto3, with Metaflow's endpoint where it names one."""

    companions: tuple[str, ...] = ()

    def __init__(self, location: str) -> None:
        try:
            import boto3
            from botocore.config import Config
        except ImportError:
            raise KeepError("the datastore is on S3 and boto3 is not installed: `pip install boto3`.") from None
        address = urlsplit(location)
        self.location = location
        self._bucket = address.netloc
        self._prefix = f"{address.path.strip('/')}/".lstrip("/")
        settings = Config(max_pool_connections=_THREADS, retries={"mode": "standard", "max_attempts": 5})
        self._client: Any = boto3.client("s3", endpoint_url=endpoint() or None, config=settings)

    def entries(self, folder: str) -> Iterator[Entry]:
        for page in self._pages(folder):
            for found in page.get("Contents", ()):
                yield Entry(found["Key"][len(self._prefix) :], found["Size"], found["LastModified"].astimezone(UTC))

    def folders(self, folder: str) -> list[str]:
        start = len(self._prefix) + len(f"{folder}/")
        pages = self._pages(folder, Delimiter="/")
        return sorted(one["Prefix"][start:-1] for page in pages for one in page.get("CommonPrefixes", ()))

    def read(self, name: str) -> bytes | None:
        try:
            content: bytes = self._client.get_object(**self._at(name))["Body"].read()
        except self._client.exceptions.NoSuchKey:
            return None
        return content

    def read_all(self, names: Sequence[str]) -> list[bytes | None]:
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(self.read, names))

    def move(self, pairs: Sequence[tuple[str, str]]) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            done = [name for name, copied in zip(pairs, pool.map(self._copy, pairs), strict=True) if copied]
        self._delete(name for name, _ in done)

    def delete_tree(self, folder: str) -> None:
        self._delete(entry.name for entry in self.entries(folder))

    @contextmanager
    def lock(self) -> Iterator[None]:
        mine = json.dumps({"host": socket.gethostname(), "process": os.getpid(), "time": datetime.now(UTC).isoformat()})
        if not self._put(_LOCK, mine, IfNoneMatch="*"):
            held = self._client.get_object(**self._at(_LOCK))
            holder = json.loads(held["Body"].read())
            old = datetime.now(UTC) - datetime.fromisoformat(holder["time"]) > _STALE
            if not old or not self._put(_LOCK, mine, IfMatch=held["ETag"]):
                raise KeepError(
                    f"another gc works on {self.location}: process {holder['process']} of {holder['host']}, since "
                    f"{holder['time'][:19]} UTC. Wait for it; if it was killed, delete {self.location}/{_LOCK}."
                )
        try:
            yield
        finally:
            self._delete([_LOCK])

    def _pages(self, folder: str, **more: Any) -> Iterator[dict[str, Any]]:
        pages: Iterator[dict[str, Any]] = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=f"{self._prefix}{folder}/", **more
        )
        return pages

    def _copy(self, pair: tuple[str, str]) -> bool:
        """Copy an object of any size, with what Metaflow noted of it: copying in parts would lose that."""
        name, to = pair
        try:
            noted = self._client.head_object(**self._at(name))["Metadata"]
        except self._client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                return False
            raise
        keep = {"Metadata": noted, "MetadataDirective": "REPLACE"}
        self._client.copy(self._at(name), self._bucket, self._prefix + to, ExtraArgs=keep)
        return True

    def _put(self, name: str, content: str, **condition: str) -> bool:
        try:
            self._client.put_object(**self._at(name), Body=content.encode(), **condition)
        except self._client.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in ("PreconditionFailed", "ConditionalRequestConflict"):
                return False
            raise
        return True

    def _delete(self, names: Iterable[str]) -> None:
        rest = iter(names)
        while keys := [{"Key": self._prefix + name} for name in islice(rest, _AT_ONCE)]:
            done = self._client.delete_objects(Bucket=self._bucket, Delete={"Objects": keys, "Quiet": True})
            for problem in done.get("Errors", ())[:1]:
                raise KeepError(f"{problem['Key']} cannot be deleted from {self.location}: {problem.get('Message')}")

    def _at(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}
