"""Samples of running processes, as py-spy writes them, summed by step and by what the seconds were spent on.

Knows py-spy's `raw` format (`process 12:"command";function (file:line);... count`, the outermost first) and Metaflow's
command lines; what a stack is for, `profiles_rules` knows.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from profiles_rules import START, Frame, spent_on

RUN = "run"
"""The process that is started by hand, which starts and watches those of the tasks."""

_PROCESS = re.compile(r'process (?P<number>\d+):"(?P<command>.*)"')
_FRAME = re.compile(r"(?P<function>.*) \((?P<file>.*?)(:\d+)?\)")
_STEP = re.compile(r" step (?P<step>\w+) --run-id \S+ --task-id (?P<task>\d+) ")
_LIBRARY = re.compile(r".*/(site-packages/|lib/python[^/]*/)")


class Sample(NamedTuple):
    """A stack that was seen `count` times: the process, the one that started it (0: none), its command, the frames from
    the outermost to the innermost.
    """

    process: int
    parent: int
    command: str
    frames: tuple[Frame, ...]
    count: int


def parse(line: str, roots: Sequence[str] = ()) -> Sample | None:
    """Read a line of py-spy's `raw` format; None where it names no process.

    Args:
        roots: folders that files are named from, with a slash at the end; packages' own are found without.
    """
    stack, _, count = line.rstrip("\n").rpartition(" ")
    parts = stack.split(";")
    processes = [found for part in parts if (found := _PROCESS.fullmatch(part))]
    if not processes or not count.isdigit():
        return None
    frames = tuple(
        Frame(found["function"], _from_package(found["file"], roots))
        for part in parts
        if (found := _FRAME.fullmatch(part))
    )
    numbers = [0, *(int(process["number"]) for process in processes)]
    return Sample(numbers[-1], numbers[-2], " ".join(p["command"] for p in processes), frames, int(count))


def task_of(command: str) -> tuple[str, int]:
    """Return the step that a process works for, and the number of its task (0: none), from its command or from those of
    the ones that started it.
    """
    found = _STEP.search(command)
    return (found["step"], int(found["task"])) if found else (RUN, 0)


class Note(NamedTuple):
    """What a process noted at its end: its number, that of the one that started it, its command, and the seconds of the
    processor that it used and that those used for which it waited.
    """

    process: int
    parent: int
    command: str
    cpu: float
    children: float


class Spent(NamedTuple):
    """Seconds of the processor of a step, spent on one thing."""

    step: str
    category: str
    seconds: float


def total(samples: Sequence[Sample], notes: Iterable[Note], rate: int) -> list[Spent]:
    """Return the seconds by step, in the order of their tasks, and by what they were spent on.

    A process's samples share the seconds that it noted. Where there are fewer samples than seconds, the start of
    Python, which is over before it is sampled, gets what is left; more samples than seconds there are where it waited
    for a core. What processes used after they had noted it, or without noting it, is left of what those that waited for
    them noted, and is a start or an end as well.
    """
    known = {note.process: note for note in notes}
    counts: Counter[int] = Counter()
    parents = {sample.process: sample.parent for sample in samples}
    # a process that was seen before it had become its program is seen under the command of the one that started it
    commands = {sample.process: sample.command for sample in samples} | {n.process: n.command for n in known.values()}
    parents |= {note.process: note.parent for note in known.values()}

    def line(process: int) -> str:
        return f"{line(parents[process])} {commands[process]} " if process in commands else ""

    tasks = {process: task_of(line(process)) for process in commands}
    for sample in samples:
        counts[sample.process] += sample.count
    seconds: dict[tuple[str, str], float] = defaultdict(float)
    for sample in samples:
        sampled = counts[sample.process] / rate
        cpu = known[sample.process].cpu if sample.process in known else sampled
        what = spent_on(line(sample.process), sample.frames)
        seconds[tasks[sample.process][0], what] += sample.count / rate * min(1.0, cpu / sampled)
    for note in known.values():
        step = tasks[note.process][0]
        told = sum(each.cpu + each.children for each in known.values() if each.parent == note.process)
        silent = sum(n / rate for p, n in counts.items() if parents[p] == note.process and p not in known)
        seconds[step, START] += max(0.0, note.cpu - counts[note.process] / rate)
        seconds[step, START] += max(0.0, note.children - told - silent)
    numbers: dict[str, set[int]] = defaultdict(set)
    for name, number in tasks.values():
        numbers[name].add(number)
    return [
        Spent(f"{step} ×{len(numbers[step])}" if len(numbers[step]) > 1 else step, what, value)
        for step, what in sorted(seconds, key=lambda key: min(numbers[key[0]], default=0))
        if (value := seconds[step, what])
    ]


def _from_package(file: str, roots: Sequence[str]) -> str:
    for root in roots:
        if file.startswith(root):
            return file.removeprefix(root)
    return _LIBRARY.sub("", file)
