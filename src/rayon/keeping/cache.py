"""The cache folder, and the place that several machines share: what of them no kept run uses.

Features of encoders, opened shards, copies of catalogues and checkpoints can be made again, at a price. What a run left
there for others, predictions, reports, W&B's offline runs, the store of feedback, is no cache, and is not looked at.
Knows files and names; which runs are kept, and what they use, is told.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from rayon.keeping.datastore import FINISHED
from rayon.keeping.places import Place
from rayon.keeping.policy import Facts, Policy, Verdict

_CHECKPOINTS = re.compile(r"([A-Za-z]+Flow)-([\w.-]+)")
_LATELY = "written lately"


class Cached(NamedTuple):
    """What the cache, or the `shared` place, holds under a name: its kind, its bytes, whether it is kept, and why."""

    what: str
    name: str
    size: int
    keep: bool
    why: str
    shared: bool


class Uses(NamedTuple):
    """What is known of the runs: all of them by path, whoever's; what becomes of them; the fingerprints of shards of
    kept dataset versions; and how to ask for the keys of the encoders that are used (None: that cannot be said), which
    is done only where old features are there.
    """

    runs: Mapping[str, Facts]
    verdicts: Mapping[str, Verdict]
    shards: Collection[str]
    encoders: Callable[[], Collection[str] | None]


class _Heap(NamedTuple):
    """A file, or a folder and all below it: its name, its bytes, when the newest of it was written."""

    name: str
    size: int
    written: datetime

    @property
    def last(self) -> str:
        return self.name.rpartition("/")[2]


_Judged = tuple[str, _Heap, bool, str]


def list_cache(cache: Path, shared: Place | None, uses: Uses, policy: Policy, now: datetime) -> list[Cached]:
    """Return what the cache and the shared place hold, and what becomes of it.

    Features and copies of catalogues are kept as long as a run is, opened shards and checkpoints as long as a failed
    one, each from when it was last written, even if nothing uses them.
    """
    old, failed = now - timedelta(days=policy.days), now - timedelta(days=policy.failed_days)
    local = [
        *_features(_heaps(cache, "features"), uses, old),
        *_shards(_heaps(cache, "shards"), uses, failed),
        *_copies(_heaps(cache, "catalogs"), old),
        *_checkpoints(_heaps(cache, "checkpoints"), uses, failed, _linked(cache, uses)),
    ]
    found = [Cached(what, heap.name, heap.size, keep, why, False) for what, heap, keep, why in local]
    if shared is not None:
        there = [
            *_features(_piles(shared, "features"), uses, old),
            *_checkpoints(_piles(shared, "checkpoints"), uses, failed, set()),
        ]
        found += [Cached(what, heap.name, heap.size, keep, why, True) for what, heap, keep, why in there]
    return found


def delete_cached(cached: Cached, cache: Path, shared: Place | None) -> None:
    """Delete a file or folder; a link is deleted, not what it leads to."""
    path = cache / cached.name
    if cached.shared and shared is not None:
        shared.delete_tree(cached.name)
    elif path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _features(heaps: Iterable[_Heap], uses: Uses, old: datetime) -> Iterator[_Judged]:
    heaps = list(heaps)
    used = uses.encoders() if any(heap.written < old for heap in heaps) else None
    for heap in heaps:
        if heap.written >= old:
            yield "features", heap, True, _LATELY
        elif used is None:
            yield "features", heap, True, "the experiment's encoders cannot be had, so no one knows"
        else:
            keep = heap.last in used
            yield "features", heap, keep, "an encoder in use" if keep else "no kept bundle's encoder"


def _shards(heaps: Iterable[_Heap], uses: Uses, old: datetime) -> Iterator[_Judged]:
    for heap in heaps:
        whole = heap.last.endswith(".arrow")
        if whole and heap.last.removesuffix(".arrow") in uses.shards:
            yield "opened shard", heap, True, "of a kept dataset version"
        elif heap.written >= old:
            yield "opened shard", heap, True, _LATELY
        else:
            yield "opened shard", heap, False, "of no kept dataset version" if whole else "half written"


def _copies(heaps: Iterable[_Heap], old: datetime) -> Iterator[_Judged]:
    for heap in heaps:
        keep = heap.written >= old
        yield "catalogue's copy", heap, keep, "copied lately" if keep else "copied long ago"


def _checkpoints(heaps: Iterable[_Heap], uses: Uses, old: datetime, linked: Collection[str]) -> Iterator[_Judged]:
    for heap in heaps:
        run = heap.last.replace("-", "/", 1)
        if not _CHECKPOINTS.fullmatch(heap.last):
            continue
        if _may_go_on(run, uses):
            yield "checkpoints", heap, True, f"{run} may go on"
        elif heap.last in linked:
            yield "checkpoints", heap, True, "a resumed run goes on from them"
        elif heap.written >= old:
            yield "checkpoints", heap, True, _LATELY
        else:
            yield "checkpoints", heap, False, f"{run} has ended"


def _may_go_on(run: str, uses: Uses) -> bool:
    known, verdict = uses.runs.get(run), uses.verdicts.get(run)
    return known is not None and known.state != FINISHED and verdict is not None and verdict.keep


def _linked(cache: Path, uses: Uses) -> set[str]:
    """Return the folders of checkpoints that those of runs which may go on lead to."""
    links = (link for link in cache.glob("checkpoints/*/*") if link.is_symlink())
    return {link.resolve().parent.name for link in links if _may_go_on(link.parent.name.replace("-", "/", 1), uses)}


def _heaps(cache: Path, name: str) -> list[_Heap]:
    folder = cache / name
    found = [_weigh(path, f"{name}/{path.name}") for path in sorted(folder.iterdir())] if folder.is_dir() else []
    return [heap for heap in found if heap is not None]


def _weigh(path: Path, name: str) -> _Heap | None:
    """Weigh a file, or all in a folder; links are not followed. None where it was just removed."""
    try:
        own = path.lstat()
    except FileNotFoundError:
        return None
    size, newest = own.st_size if stat.S_ISREG(own.st_mode) else 0, own.st_mtime
    for home, folders, files in os.walk(path) if not path.is_symlink() else ():
        for inside in (*folders, *files):
            try:
                status = os.lstat(os.path.join(home, inside))
            except FileNotFoundError:  # it was just removed
                continue
            size += status.st_size if inside in files else 0
            newest = max(newest, status.st_mtime)
    return _Heap(name, size, datetime.fromtimestamp(newest, UTC))


def _piles(place: Place, name: str) -> list[_Heap]:
    """Weigh what is below each folder of a place."""
    piles: dict[str, _Heap] = {}
    for entry in place.entries(name):
        key = "/".join(entry.name.split("/")[:2])
        size, written = piles[key][1:] if key in piles else (0, entry.written)
        piles[key] = _Heap(key, size + entry.size, max(written, entry.written))
    return list(piles.values())
