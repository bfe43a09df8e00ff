"""Which files of the input a scoring takes: all of them, or those that no scoring of this catalogue has taken yet.

Knows names, sizes and times of files, and what the latest finished scoring noted. It opens none of them: a file that is
written again while it is being scored is another one the next time, and is scored again rather than lost.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from rayon.champions import finished_runs
from rayon.data.fetching import list_files
from rayon.preparing import RayonError
from rayon.registry import scores_tag

Mark = tuple[str, int, str]
"""A file as it was found: its name, its size in bytes, when it was last written (ISO, UTC)."""
Record = dict[str, list[Mark]]
"""What was scored, by the input's path or address; files that are gone from there are left out."""


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
    """Return what the latest finished scoring of catalogue `name` noted; nothing where there is none, or an old one."""
    for run in finished_runs("ScoreFlow", scores_tag(name)):
        task = run["start"].task
        return dict(task["scored_files"].data) if task is not None and "scored_files" in task else {}
    return {}
