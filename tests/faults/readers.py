"""What must hold whenever anybody looks: readers see whole runs, shards, features, files and one champion, or nothing.

Looks at a home from outside, as the next run, the app or a person would. Knows nothing of what was done to it.
"""

from __future__ import annotations

import sqlite3
import warnings
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
from home import NAME, Home

from rayon.bundle import read_bundle
from rayon.champions import champion, history
from rayon.data.shards import read_table
from rayon.models.feature_blocks import TEMPORARY, open_block
from rayon.preparing import open_version
from rayon.registry import any_dataset, feedback_state, find_model, read_shard


class Seen(NamedTuple):
    """What a reader finds: the dataset's fingerprint, the champion's run, how many promotions, how far feedback was
    read, how often each piece of it is data, and what is wrong, in words.
    """

    fingerprint: str
    champion: str
    promotions: int
    cursor: int
    labelled: Counter[int]
    waiting: set[int]
    wrong: list[str]


def look(home: Home, outputs: Path | None = None, deep: bool = False) -> Seen:
    """Read everything that a home offers; `deep` opens every shard as well. Whatever cannot be read is wrong."""
    wrong: list[str] = []
    with home.looked_at(), warnings.catch_warnings():
        warnings.simplefilter("error")
        version = any_dataset(NAME)
        fingerprint = version.manifest.fingerprint if version else ""
        served = champion(NAME)
        events = history(NAME)
        if events and (events[0].number, events[0].before) != (1, ""):
            wrong.append("the beginning of the history is gone")
        if served is None:
            wrong.append("there is no champion")
        else:
            wrong += _readable("champion's bundle", lambda: read_bundle(find_model("champion", NAME).bundle))
        if deep and version is not None:
            manifest = version.manifest
            wrong += _readable("dataset", lambda: len(open_version(manifest, home.config)) == manifest.counts["kept"])
        state = feedback_state(NAME)
        labelled: Counter[int] = Counter()
        for ref in state.shards:
            labelled.update(read_table(read_shard(ref))["row"].to_pylist())
    wrong += _features(Path(home.settings["cache"]) / "features")
    wrong += _store(home)
    if outputs is not None:
        for file in sorted(outputs.rglob("*.parquet")):
            if not file.name.startswith("."):
                wrong += _readable(file.name, lambda file=file: pq.read_table(file))
    return Seen(
        fingerprint,
        served.to if served else "",
        len(events),
        state.cursor,
        labelled,
        set(state.waiting),
        wrong,
    )


def _features(root: Path) -> list[str]:
    wrong = []
    for encoder in root.iterdir() if root.is_dir() else ():
        for block in encoder.iterdir():
            if not block.name.startswith((".", TEMPORARY)):
                wrong += _readable(f"features {block.name}", lambda block=block: open_block(block))
    return wrong


def _store(home: Home) -> list[str]:
    wrong = []
    for file in (Path(home.settings["cache"]) / "feedback").rglob("*.sqlite"):
        with sqlite3.connect(f"file:{file}?mode=ro", uri=True) as connection:
            try:
                said = connection.execute("PRAGMA integrity_check").fetchone()[0]
            except sqlite3.OperationalError as error:  # a full disk: it opens a file of its own beside the store
                said = "ok" if "disk I/O" in str(error) else str(error)
            except sqlite3.DatabaseError as error:
                said = str(error)
        if said != "ok":
            wrong.append(f"{file.name}: {said}")
    return wrong


def _readable(what: str, read: Any) -> list[str]:
    try:
        return [] if read() is not False else [f"{what} is not what it says"]
    except Exception as error:
        return [f"{what}: {type(error).__name__}: {str(error)[:300]}"]
