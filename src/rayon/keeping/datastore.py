"""Metaflow's datastore as it lies there: the runs of a flow, what each refers to, and the blobs that they share.

Metaflow stores an artifact as a blob named by the SHA-1 of its content, `<Flow>/data/ab/abcd...`: two runs, or two
tasks, with the same artifact share one. What a task refers to is in `<Flow>/<run>/<step>/<task>/<attempt>.data.json`,
written when the attempt is done. Metaflow itself deletes nothing of this. This module reads that layout, of whatever
project branch, catalogue and user, finished or not. It decides nothing and deletes nothing.
"""

from __future__ import annotations

import gzip
import json
import pickle
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from rayon.keeping.places import WORK, Entry, Place

FLOWS = ("PreprocessFlow", "TrainFlow", "ScoreFlow", "MonitorFlow", "FeedbackFlow")
FINISHED, FAILED, OPEN, BEGINNING, ELSEWHERE = "finished", "failed", "open", "beginning", "elsewhere"
"""How a run stands: its last step succeeded; a task failed for good; neither (it runs, waits, or was killed); it has no
task yet; it has tasks whose data are in another datastore, and only its metadata are here."""

WANTED = (
    *("experiment", "manifest", "dataset_run", "predictions", "shards", "sources"),
    *("dataset", "model", "scored", "bundle"),
)
"""The artifacts that name a catalogue or other runs, and the bundle."""

_ATTEMPT, _DATA, _DONE = "attempt.json", "data.json", "DONE.lock"
_OK = "_task_ok"
_SMALL = 4096


class StoredRun(NamedTuple):
    """A run as it is stored: the folder it is in, the blobs it refers to (SHA-1, 20 bytes each), those of its artifacts
    that are `WANTED` (SHA-1 in hex, by step and name), the bytes of its own files, its newest file's time, its state.
    """

    flow: str
    run: str
    home: str
    blobs: frozenset[bytes]
    artifacts: Mapping[tuple[str, str], str]
    size: int
    sign: datetime
    state: str

    @property
    def path(self) -> str:
        """The run as 'Flow/run'."""
        return f"{self.flow}/{self.run}"


class Scan(NamedTuple):
    """The runs of a flow, by number, and the size in bytes of every blob (by SHA-1)."""

    runs: dict[str, StoredRun]
    blobs: dict[bytes, int]


class Datastore:
    """A datastore, read. `kind` is Metaflow's name for it: 'local', 's3'."""

    def __init__(self, place: Place, kind: str) -> None:
        self.place, self.kind = place, kind
        self._read: dict[tuple[str, str], Any] = {}

    def scan(self, flow: str) -> Scan:
        """List all of a flow: one pass over its files, one read of each task's references."""
        own: dict[str, list[Entry]] = defaultdict(list)
        blobs: dict[bytes, int] = defaultdict(int)
        for entry in self.place.entries(flow):
            parts = entry.name.split("/")
            if len(parts) == 4 and parts[1] == "data":
                key = _key(parts[3], self.place.companions)
                if key is not None:
                    blobs[key] += entry.size
            elif len(parts) > 3:
                own[parts[1]].append(entry)
        return Scan({run: self.read_run(flow, run, files) for run, files in own.items()}, dict(blobs))

    def read_run(self, flow: str, run: str, files: list[Entry] | None = None, home: str = "") -> StoredRun:
        """Read one run from its files; they are listed if not given. `home` is its folder, if not the usual one."""
        home = home or f"{flow}/{run}"
        files = list(self.place.entries(home)) if files is None else files
        attempts: dict[tuple[str, str], dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
        for entry in files:
            parts = entry.name[len(home) + 1 :].split("/")
            number, _, ending = parts[-1].partition(".")
            if len(parts) == 3 and number.isdigit() and ending in (_ATTEMPT, _DATA, _DONE):
                attempts[parts[0], parts[1]][int(number)].add(ending)
        written = [
            (task, number) for task, known in attempts.items() for number, there in known.items() if _DATA in there
        ]
        texts = self.place.read_all([f"{home}/{step}/{task}/{number}.{_DATA}" for (step, task), number in written])
        objects = {key: json.loads(text)["objects"] for key, text in zip(written, texts, strict=True) if text}
        artifacts: dict[tuple[str, str], str] = {}
        states = []
        for task, known in attempts.items():
            last = max(known)
            held = objects.get((task, last), {}) if _DONE in known[last] else {}
            artifacts.update({(task[0], name): held[name] for name in WANTED if name in held})
            states.append((task[0], self._outcome(flow, held.get(_OK))))
        return StoredRun(
            flow,
            run,
            home,
            frozenset(bytes.fromhex(sha) for held in objects.values() for sha in held.values()),
            artifacts,
            sum(entry.size for entry in files),
            max((entry.written for entry in files), default=datetime.fromtimestamp(0, UTC)),
            _state(states) if states else _without_data(entry.name[len(home) + 1 :] for entry in files),
        )

    def look_again(self, flow: str, known: Mapping[str, StoredRun], hidden: Iterable[str]) -> dict[str, StoredRun]:
        """Return the runs that are there now. What has finished does not change: only the others are read again."""
        gone, again = set(hidden), {}
        for run in self.place.folders(flow):
            if run not in ("data", *gone) and not run.startswith("_"):
                old = known.get(run)
                again[run] = old if old and old.state == FINISHED else self.read_run(flow, run)
        return again

    def artifact(self, flow: str, sha: str) -> Any:
        """Return an artifact, None where its blob is gone. Metaflow's client unpickles the same bytes."""
        if (flow, sha) in self._read:
            return self._read[flow, sha]
        packed = self.place.read(blob_name(flow, bytes.fromhex(sha)))
        value = None if packed is None else pickle.loads(gzip.decompress(packed))
        if packed is not None and len(packed) < _SMALL:  # settings and flags, which most runs share
            self._read[flow, sha] = value
        return value

    def _outcome(self, flow: str, sha: str | None) -> bool | None:
        return None if sha is None else bool(self.artifact(flow, sha))


def blob_name(flow: str, blob: bytes) -> str:
    """Return where a blob is."""
    name = blob.hex()
    return f"{flow}/data/{name[:2]}/{name}"


def aside_name(flow: str, blob: bytes) -> str:
    """Return where a blob is set aside, before it is deleted."""
    return f"{WORK}/blobs/{blob_name(flow, blob)}"


def _key(name: str, companions: tuple[str, ...]) -> bytes | None:
    for ending in companions:
        name = name.removesuffix(ending)
    try:
        return bytes.fromhex(name) if len(name) == 40 else None
    except ValueError:  # not Metaflow's
        return None


def _without_data(files: Iterable[str]) -> str:
    steps = {name.partition("/")[0] for name in files}
    return ELSEWHERE if any(not step.startswith("_") for step in steps) else BEGINNING


def _state(tasks: list[tuple[str, bool | None]]) -> str:
    outcomes = [ok for _, ok in tasks]
    if ("end", True) in tasks:
        return FINISHED
    return FAILED if False in outcomes and None not in outcomes else OPEN
