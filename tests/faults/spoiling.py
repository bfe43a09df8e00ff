"""What the other faults need: homes to spoil, small disks, servers that can be cut off; and how an outcome is told.

Knows nothing of single faults.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from home import Finished, Home
from kills import Expected, expect
from readers import look
from work import WORKS, run_work


class Outcome(NamedTuple):
    """What became of a fault: what does not hold, in words, and what the user was told."""

    wrong: list[str]
    said: str


class Bench:
    """A furnished home to copy, and a folder for what is spoiled."""

    def __init__(self, base: Home, scratch: Path) -> None:
        self.base, self.scratch = base, scratch

    def home(self, name: str) -> Home:
        """A copy of the furnished home."""
        return self.base.copy(self.scratch / "rounds" / name)

    def expected(self, work: str) -> Expected:
        """What the undisturbed work leaves."""
        return expect(WORKS[work], self.base, self.scratch)

    def recover(self, work: str, home: Home) -> list[str]:
        """Do the work now that the fault is over, and return how it differs from the undisturbed one."""
        done = run_work(WORKS[work], home)
        if done.code:
            return [f"the next run fails: {done.output[-600:]}"]
        return self.differences(work, home)

    def differences(self, work: str, home: Home) -> list[str]:
        """Return how what is there differs from what the undisturbed work leaves."""
        result = WORKS[work].result(home)
        expected = self.expected(work).result
        found = [
            f"{key}: {result.get(key)!r}, undisturbed {value!r}"
            for key, value in expected.items()
            if plain(result.get(key)) != value
        ]
        return found + look(home, WORKS[work].outputs(home), deep=True).wrong


def plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    import json

    return json.loads(json.dumps(value))


def failed(done: Finished, *words: str) -> Outcome:
    """A command that could not do its work has to say why: its exit code is not 0, its last words hold one of these."""
    said = sentence(done)
    wrong = [] if done.code else ["it ended as if nothing had happened"]
    if not any(word.lower() in said.lower() for word in words):
        wrong.append(f"it does not say so in words: {said!r}")
    return Outcome(wrong, said)


def sentence(done: Finished) -> str:
    """What a person reads of a failure: the sentence under rayon's headline, or the last line that says something."""
    lines = [re.sub(r"^\S+ \S+ \[[^\]]*\] ", "", line).strip() for line in done.output.splitlines()]
    for place, line in enumerate(lines):
        if line.startswith("rayon cannot go on"):
            told = [words for words in lines[place + 1 : place + 6] if words]
            return " ".join(told)[:600]
    telling = [line for line in lines if re.search(r"(Error|Exception|: |\.)", line) and "(pid" not in line]
    return " | ".join(telling[-3:])[:600]


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Callable[[str], None]]:
    """Put a folder's content on a disk of its own with so much room left; yield a way to mount it anew ('size=9m')."""
    used = sum(file.stat().st_size // 4096 * 4 + 8 for file in folder.rglob("*"))
    kept = folder.with_name(f"{folder.name}.kept")
    shutil.move(folder, kept)
    folder.mkdir()
    size = f"size={used + kilobytes}k"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(folder)], check=True)

    def again(options: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)

    try:
        shutil.copytree(kept, folder, dirs_exist_ok=True, symlinks=True)
        yield again
    finally:
        shutil.rmtree(kept)
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 0) -> None:
    """Fill a small disk but for so many kilobytes."""
    free = shutil.disk_usage(folder).free - leave * 1024
    with open(folder / "filler", "wb") as file:
        file.write(b"\0" * max(free, 0))


def spoil(file: Path, places: int = 40) -> None:
    """Change bytes in the middle of a file."""
    data = bytearray(file.read_bytes())
    middle = len(data) // 2
    data[middle : middle + places] = bytes(byte ^ 0xFF for byte in data[middle : middle + places])
    file.chmod(0o644)
    file.write_bytes(bytes(data))
