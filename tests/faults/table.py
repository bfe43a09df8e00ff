"""Writes what a campaign found: tests/benchmarks/results/faults.json and faults.md.

Knows records and the machine; nothing of how faults are made.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import metaflow

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "benchmarks" / "results"
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


def machine() -> dict[str, Any]:
    """Return processor, cores and memory (GB) of this machine."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    total = [int(line.split()[1]) for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(total[0] / 1e6, 1) if total else None,
        "system": platform.platform(),
    }


def read(file: Path) -> list[dict[str, Any]]:
    """Return the records of a file of JSON lines; none where there is no file."""
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.exists() else []


def by_flow(kills: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the kills in sum, a row a kind of work."""
    rows: dict[str, dict[str, Any]] = {}
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


def write(scratch: Path, command: str = "") -> int:
    """Write both files from the records of a campaign; return 1 where anything did not hold."""
    kills, faults, fuzz = (read(scratch / f"{name}.jsonl") for name in ("kills", "faults", "fuzz"))
    notes = scratch / "notes.txt"  # what whoever ran it wants to say beside the tables
    newest = {record["fault"]: record for record in faults}
    tried = {record["property"]: record for record in fuzz}
    content = {
        "name": "faults",
        "command": command or shlex.join(["python", os.path.relpath(sys.argv[0], ROOT), *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": _commit(),
        "machine": machine(),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
        "notes": notes.read_text(encoding="utf-8").splitlines() if notes.exists() else [],
        "kills": len(kills),
        "seeds": sorted({kill["seed"] for kill in kills}),
        "rows": {"kills": by_flow(kills), "faults": list(newest.values()), "fuzz": list(tried.values())},
        "not_survived": [kill for kill in kills if kill["wrong"] or kill["end"]],
    }
    content = json.loads(_here(json.dumps(content, ensure_ascii=False)))
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / "faults.json").write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    (RESULTS / "faults.md").write_text(as_markdown(content), encoding="utf-8")
    bad = len(content["not_survived"]) + sum(bool(row["wrong"]) for row in [*newest.values(), *tried.values()])
    print(f"{len(kills)} kills, {len(newest)} other faults, {len(tried)} properties: {bad} not survived")
    return int(bad > 0)


def as_markdown(content: dict[str, Any]) -> str:
    """Return the tables as Markdown."""
    host, rows = content["machine"], content["rows"]
    lines = [
        "# Faults",
        "",
        f"`{content['command']}`, {content['date']}, commit {content['commit']}; {host['cpu']}, {host['cores']} cores, "
        f"{host['memory_gb']} GB. "
        + ", ".join(f"{name} {number}" for name, number in content["versions"].items())
        + ".",
        "",
        *content.get("notes", []),
        "",
        f"{content['kills']} kills by SIGKILL, at random moments, seeds {content['seeds']}:",
        "",
        "| killed | kills | everything | the runner alone | one process | resumed | not survived |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    names = ("flow", "kills", "all", "runner", "process", "resumed", "not_survived")
    lines += ["| " + " | ".join(str(row[name]) for name in names) + " |" for row in rows["kills"]]
    lines += ["", "| fault | what is done | survived | what is said |", "| --- | --- | --- | --- |"]
    lines += [f"| {row['fault']} | {row['how']} | {_verdict(row)} | {_cell(row['said'])} |" for row in rows["faults"]]
    lines += ["", "| bytes and trees that nobody meant | examples | held | seconds |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['property']} | {row['examples']:,} | {_verdict(row)} | {row['seconds']} |" for row in rows["fuzz"]
    ]
    return "\n".join(lines) + "\n"


def _here(text: str) -> str:
    """Leave out where this machine keeps the checkout and its packages."""
    for folder in (Path(metaflow.__file__).parents[1], ROOT, Path(sys.executable).parent):
        text = text.replace(f"{folder}/", "")
    return text


def _verdict(row: dict[str, Any]) -> str:
    return "yes" if not row["wrong"] else f"NO: {_cell('; '.join(row['wrong']))}"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "/")[:300]


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
