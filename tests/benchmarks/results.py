"""What a benchmark found, kept: a table as JSON and as Markdown, with the machine and the versions that made it.

Knows rows of plain values and a folder. It measures nothing, and knows no benchmark.
"""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).resolve().parent / "results"
PACKAGES = ("rayon", "torch", "numpy", "scikit-learn", "transformers", "timm", "metaflow")
Row = Mapping[str, Any]
Tables = Mapping[str, Sequence[Row]]


class Result(NamedTuple):
    """A benchmark's tables, by title, each a list of rows with the same columns, and what there is to say of them.

    `about` says what made it: command, commit, date, machine, versions.
    """

    name: str
    title: str
    tables: dict[str, list[dict[str, Any]]]
    notes: tuple[str, ...]
    about: dict[str, Any]


def machine() -> dict[str, Any]:
    """Return the processor's model, its cores, the memory in GB, the system and how busy it is."""
    names = [line for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    memory = [line for line in _lines("/proc/meminfo") if line.startswith("MemTotal")]
    return {
        "processor": names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "memory_gb": round(int(memory[0].split()[1]) / 1e6, 1) if memory else None,
        "system": platform.system(),
        "load_average": round(os.getloadavg()[0], 1),
    }


def versions(packages: Sequence[str] = PACKAGES) -> dict[str, str]:
    """Return Python's version and those of the packages that are installed."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """Return the commit of the working tree, with '+' where tracked files differ from it; '' outside git."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


def command() -> str:
    """Return the command line of this process, as it is typed from the repository's root."""
    script = Path(sys.argv[0]).resolve()
    name = script.relative_to(ROOT).as_posix() if script.is_relative_to(ROOT) else script.name
    return shlex.join(["python", name, *sys.argv[1:]])


def make_result(name: str, title: str, tables: Tables, notes: Sequence[str] = (), **about: Any) -> Result:
    """Return a result of this process, here and now; `about` is added to what is known of it.

    Raises:
        ValueError: the rows of a table do not all have the same columns, in the same order.
    """
    for heading, rows in tables.items():
        for row in rows:
            if list(row) != list(rows[0]):
                raise ValueError(f"'{heading}' of {name} has a row with the columns {list(row)}, not {list(rows[0])}")
    known = {
        "command": command(),
        "commit": commit(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "versions": versions(),
    }
    plain = {heading: [_plain(row) for row in rows] for heading, rows in tables.items()}
    return Result(name, title, plain, tuple(notes), {**known, **about})


def write_result(result: Result, folder: Path = FOLDER) -> tuple[Path, Path]:
    """Write `<name>.json` and `<name>.md` into a folder, whole or not at all; return both."""
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{result.name}.json", folder / f"{result.name}.md"
    content = json.dumps(result._asdict(), indent=1, ensure_ascii=False, allow_nan=False) + "\n", markdown(result)
    for file, text in zip(files, content, strict=True):
        temporary = file.with_name(f".{file.name}.{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
    return files


def save(name: str, title: str, tables: Tables, notes: Sequence[str] = (), **about: Any) -> None:
    """Write what this process found into the project's folder of results, and say where."""
    _, file = write_result(make_result(name, title, tables, notes, **about))
    print(f"written: {file.relative_to(ROOT)} and .json", flush=True)


def read_result(file: Path) -> Result:
    """Read what `write_result` wrote as JSON."""
    found = json.loads(file.read_text(encoding="utf-8"))
    return Result(**{**found, "notes": tuple(found["notes"])})


def markdown(result: Result) -> str:
    """Return a result as a page: tables, notes, and what made it."""
    about = result.about
    there = about["machine"]
    lines = [f"# {result.title}", ""]
    for heading, rows in result.tables.items():
        if len(result.tables) > 1 or heading:
            lines += [f"## {heading}", ""]
        lines += [*table(rows), ""]
    lines += [f"- {note}" for note in result.notes]
    lines += [""] * bool(result.notes)
    lines += [
        f"`{about['command']}`, commit {about['commit'] or 'unknown'}, {about['date']}",
        "",
        f"{there['processor']}, {there['cores']} cores, {there['memory_gb']} GB, {there['system']}, load average "
        f"{there['load_average']} at the end; " + ", ".join(f"{name} {v}" for name, v in about["versions"].items()),
    ]
    return "\n".join(lines) + "\n"


def table(rows: Sequence[Row]) -> list[str]:
    """Return the lines of a Markdown table; None is an empty cell."""
    if not rows:
        return ["(nothing was measured)"]
    names = list(rows[0])
    cells = [[_cell(row[name]) for name in names] for row in rows]
    numbers = [all(isinstance(row[name], int | float | None) for row in rows) for name in names]
    under = ["---:" if number else "---" for number in numbers]
    return [f"| {' | '.join(line)} |" for line in (names, under, *cells)]


def _plain(row: Row) -> dict[str, Any]:
    return {name: _number(value) for name, value in row.items()}


def _number(value: Any) -> Any:
    if hasattr(value, "item"):  # numpy's
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value).replace("|", "\\|").replace("\n", " ")
    if isinstance(value, int) or abs(value) >= 100:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.001:
        return f"{value:.2g}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def _lines(file: str) -> list[str]:
    try:
        return Path(file).read_text().splitlines()
    except OSError:
        return []


def _git(*arguments: str) -> str:
    found = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return found.stdout.strip()
