"""The Dockerfile as far as it can be followed without an engine: a target's files, environment and commands.

Files are laid out below a folder, through .dockerignore, and `/cache` and `/tmp` become folders beside them. What RUN
does is not done, but for the links that a target makes and the wheel that its code is installed from.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from docker.utils.build import exclude_paths
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).resolve().parents[2]
VENV = Path(sys.executable).parent
READ_ONLY = Path(__file__).with_name("read_only.sh")


class Step(NamedTuple):
    """An instruction and what stands behind it."""

    instruction: str
    value: str


def stages() -> dict[str, tuple[str, list[Step]]]:
    """Return each stage's base and steps by its name."""
    parser = DockerfileParser(str(ROOT / "Dockerfile"), cache_content=True)
    found: dict[str, tuple[str, list[Step]]] = {}
    steps: list[Step] = []
    for one in parser.structure:
        if one["instruction"] == "FROM":
            base, _, name = re.split(r"\s+(as)\s+", one["value"], flags=re.IGNORECASE)
            found[name] = base, (steps := [])
        else:
            steps.append(Step(one["instruction"], one["value"]))
    return found


def steps_of(target: str) -> list[Step]:
    """Return all steps of a target, its bases' first."""
    all_stages = stages()
    base, steps = all_stages[target]
    return (steps_of(base) if base in all_stages else []) + steps


def environment_of(target: str) -> dict[str, str]:
    """Return what ENV sets."""
    pairs = [pair for step in steps_of(target) if step.instruction == "ENV" for pair in shlex.split(step.value)]
    return dict(pair.split("=", 1) for pair in pairs)


def last(target: str, instruction: str) -> str:
    """Return the last value of an instruction."""
    return [step.value for step in steps_of(target) if step.instruction == instruction][-1]


def command_of(target: str) -> list[str]:
    """Return CMD as a list of words."""
    words: list[str] = json.loads(last(target, "CMD"))
    return words


def health_check_of(target: str) -> list[str]:
    """Return the command of HEALTHCHECK as a list of words."""
    words: list[str] = json.loads(last(target, "HEALTHCHECK").partition("CMD")[2])
    return words


def context() -> set[str]:
    """Return the files that .dockerignore lets through."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    kept = exclude_paths(str(ROOT), [line for line in patterns if line and not line.startswith("#")])
    return {path for path in kept if (ROOT / path).is_file()}


def copies(target: str) -> list[tuple[list[str], str]]:
    """Return the sources and the destination of each COPY out of the context."""
    found = [shlex.split(step.value) for step in steps_of(target) if step.instruction == "COPY"]
    return [(words[:-1], words[-1]) for words in found if not words[0].startswith("--from")]


class Laid(NamedTuple):
    """A target as laid out: its working directory, its writable folders, the environment its commands run in."""

    work: Path
    cache: Path
    tmp: Path
    environment: dict[str, str]


def lay_out(folder: Path) -> Laid:
    """Lay the target `app` out in a folder: what it copies, its links, its code as a wheel made from what is copied."""
    work, cache, tmp, source = folder / "app", folder / "cache", folder / "tmp", folder / "source"
    for each in (work, cache, tmp, source):
        each.mkdir()
    there = context()
    own = stages()["app"][1]
    for step in own:
        if step.instruction == "COPY" and not step.value.startswith("--from"):
            _copy(step.value, there, work)
    for step in stages()["wheel"][1]:
        if step.instruction == "COPY":
            _copy(step.value, there, source)
    for step in own:
        if step.instruction == "RUN" and step.value.startswith("ln "):
            subprocess.run(["bash", "-c", step.value.replace("/cache", str(cache))], cwd=work, check=True)
    site = folder / "site"
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "install", *offline, "--target", str(site), str(source)], check=True)
    shutil.rmtree(source)
    values = {name: _moved(value, cache, tmp) for name, value in environment_of("app").items()}
    clean = {"PATH": f"{VENV}:/usr/bin:/bin", "PYTHONPATH": str(site), "TMPDIR": str(tmp)}
    return Laid(work, cache, tmp, {**clean, **values})


def read_only(laid: Laid, command: list[str]) -> list[str]:
    """Return the command that runs one with all file systems read-only, but for empty ones at the writable folders."""
    apart = ["unshare", "--mount", "--propagation", "private"]
    if os.geteuid() != 0:
        apart = ["unshare", "--user", "--map-root-user", *apart[1:]]
    return [*apart, "bash", str(READ_ONLY), str(laid.cache), str(laid.tmp), *command]


def _copy(value: str, there: set[str], into: Path) -> None:
    *sources, to = shlex.split(value)
    for source in sources:
        files = [path for path in there if path == source or path.startswith(f"{source}/")]
        assert files, f"COPY {source}: .dockerignore lets none of it through"
        for path in files:
            inside = Path(path).relative_to(source) if path != source else Path(Path(path).name)
            place = into / to / inside
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / path, place)


def _moved(value: str, cache: Path, tmp: Path) -> str:
    return re.sub(r"^/(cache|tmp)\b", lambda found: str(cache if found[1] == "cache" else tmp), value)
