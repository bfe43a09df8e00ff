"""Writes what a campaign found: tests/benchmarks/results/faults.json and faults.md.

Knows records; nothing of how faults are made, nor how results are kept.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import metaflow
from results import ROOT, Tables, make_result, versions, write_result

PACKAGES = (
    "metaflow",
    "torch",
    "pytorch-lightning",
    "pyarrow",
    "pandas",
    "pillow",
    "SQLAlchemy",
    "wandb",
    "hypothesis",
)

Record = dict[str, Any]


def read(file: Path) -> list[Record]:
    """Return the records of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def by_flow(kills: Iterable[Record]) -> list[Record]:
    """Return the kills in sum, a row a kind of work."""
    rows: dict[str, Record] = {}
    for kill in kills:
        row = rows.setdefault(
            kill["flow"],
            {"flow": kill["flow"], "kills": 0, "all": 0, "runner": 0, "process": 0, "resumed": 0, "not_survived": 0},
        )
        row["kills"] += 1
        row[kill["target"]] += 1
        row["resumed"] += bool(kill["resumed"]) or kill["recovered"] == "resumed"
        row["not_survived"] += bool(kill["wrong"] or kill["end"])
    return list(rows.values())


def tables(kills: Sequence[Record], faults: Sequence[Record], fuzz: Sequence[Record]) -> Tables:
    """Return the tables of a campaign's records."""
    named = {"flow": "killed", "all": "everything", "runner": "the runner alone", "process": "one process"}
    return {
        f"{len(kills)} kills by SIGKILL, at random moments, seeds {sorted({kill['seed'] for kill in kills})}": [
            {named.get(name, name.replace("_", " ")): value for name, value in row.items()} for row in by_flow(kills)
        ],
        "Other faults": [
            {
                "fault": row["fault"],
                "what is done": row["how"],
                "survived": _verdict(row),
                "what is said": _cell(row["said"]),
            }
            for row in faults
        ],
        "Bytes and trees that nobody meant": [
            {"property": row["property"], "examples": row["examples"], "held": _verdict(row), "seconds": row["seconds"]}
            for row in fuzz
        ],
    }


def write(scratch: Path, **about: Any) -> int:
    """Write both files from the records of a campaign; return 1 where anything did not hold.

    `about` replaces what is known of this process, where another one ran the campaign.
    """
    kills, faults, fuzz = (read(scratch / f"{name}.jsonl") for name in ("kills", "faults", "fuzz"))
    notes = scratch / "notes.txt"  # what whoever ran it wants to say beside the tables
    newest = list({record["fault"]: record for record in faults}.values())
    tried = list({record["property"]: record for record in fuzz}.values())
    lost = [kill for kill in kills if kill["wrong"] or kill["end"]]
    result = make_result(
        "faults",
        "Faults survived",
        tables(kills, newest, tried),
        [" ".join(notes.read_text(encoding="utf-8").split())] if notes.exists() else [],
        **{"versions": versions(PACKAGES), "not_survived": lost, **about},
    )
    write_result(result)
    bad = len(lost) + sum(bool(row["wrong"]) for row in [*newest, *tried])
    print(f"{len(kills)} kills, {len(newest)} other faults, {len(tried)} properties: {bad} not survived")
    return int(bad > 0)


def _verdict(row: Record) -> str:
    return "yes" if not row["wrong"] else f"NO: {_cell('; '.join(row['wrong']))}"


def _cell(text: str) -> str:
    """Return a line without where this machine keeps the checkout and its packages."""
    for folder in (Path(metaflow.__file__).parents[1], ROOT, Path(sys.executable).parent):
        text = text.replace(f"{folder}/", "")
    return " ".join(text.split()).replace("|", "/")[:300]
