"""Which files of the input a scoring takes: all of them, or those that no scoring of this catalogue has taken yet.

Knows names, sizes and times of files, and what finished scorings noted. It opens none of them: a file that is
written again while it is being scored is another one the next time, and is scored again rather than lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from rayon.champions import ended, finished_runs, started
from rayon.data.fetching import list_files
from rayon.preparing import RayonError
from rayon.production import LONGEST_SCORING
from rayon.registry import scores_tag

Mark = tuple[str, int, str]
"""A file as it was found: its name, its size in bytes, when it was last written (ISO, UTC)."""
Record = dict[str, list[Mark]]
"""What was scored, by the input's path or address; files that are gone from there are left out."""
_CLOCKS = timedelta(hours=1)  # by which those of two machines may differ


class Choice(NamedTuple):
    """The names of the files to score, all of them where `names` is None, how many there are, and the new record."""

    names: frozenset[str] | None
    found: int
    record: Record


def choose_files(source: str, files: str, record: Mapping[str, list[Mark]]) -> Choice:
    """Choose 'all' or 'new' ones of the files of `source`, a file or a folder of Parquet files, by absolute path or
    s3:// address. Where new ones are asked for, a folder without any is one that waits for its first.

    Raises:
        RayonError: `files` is neither 'all' nor 'new'.
        CatalogError: there is nothing there, or it cannot be listed.
    """
    if files not in ("all", "new"):
        raise RayonError(f"--files is 'all' or 'new', and not '{files}'.")
    now = [(file.name, file.size, file.written.isoformat()) for file in list_files(source, files == "new")]
    known = set(record.get(source, []))
    names = None if files == "all" else frozenset(mark[0] for mark in now if mark not in known)
    return Choice(names, len(now), {**record, source: now})


def scored_files(name: str) -> Record:
    """Return what finished scorings of catalogue `name` took, by input; nothing where none noted it.

    The record of one holds what all had taken that were finished when it looked. So the latest one's is added to those
    of the scorings that ended later than it looked, up to `LONGEST_SCORING` after they began.
    """
    taken: dict[str, set[Mark]] = {}
    looked: datetime | None = None
    for run in finished_runs("ScoreFlow", scores_tag(name)):
        if looked is None:
            looked = datetime.fromisoformat(_left(run, "looked") or started(run).isoformat()) - _CLOCKS
        elif started(run) < looked - LONGEST_SCORING:
            break
        elif ended(run) < looked:
            continue
        for source, marks in (_left(run, "scored_files") or {}).items():
            taken.setdefault(source, set()).update(marks)
    return {source: sorted(marks) for source, marks in taken.items()}


def _left(run: Any, name: str) -> Any:
    """Return what a run's first step left under a name, None where it left nothing."""
    task = run["start"].task
    return task[name].data if task is not None and name in task else None
