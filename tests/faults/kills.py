"""Kills: a flow, or a process of it, ends by SIGKILL at a random moment, several times in a row; then it runs on.

A round is one copy of the furnished home: some kills, a look after each, a last run (begun anew, or resumed), and a
comparison with what the undisturbed work leaves. Every kill is a line of a file: a campaign goes on where it was
interrupted. What a round does follows from its seed, but for the moments, which are real time.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from home import Finished, Home, finished, furnish
from readers import Seen, look
from work import WORKS, Work, run_work

PER_ROUND = 6
"""Kills in a row before the work is let finish, at most."""
TARGETS = ("all", "runner", "process")
"""Who is killed: everything, Metaflow's runner or the command alone, or any one process below it."""


class Expected(NamedTuple):
    """The undisturbed work: how long it took, in seconds, and what it left."""

    seconds: float
    result: dict[str, Any]


def processes(root: Path) -> list[int]:
    """The processes that work in a home: those whose working directory is below its folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with suppress(OSError):
                if (entry / "cwd").resolve().is_relative_to(root.resolve()):
                    found.append(int(entry.name))
    return found


def expect(work: Work, base: Home, scratch: Path) -> Expected:
    """Do the work undisturbed in a copy of the base, once a folder: what is found there is read."""
    note = scratch / f"expected-{work.name}.json"
    if not note.exists():
        home = base.copy(scratch / "rounds" / f"{work.name}-undisturbed")
        work.prepare(home)
        begun = time.monotonic()
        done = run_work(work, home)
        seconds = time.monotonic() - begun
        if done.code:
            raise RuntimeError(f"{work.name} fails undisturbed:\n{done.output[-3000:]}")
        note.write_text(json.dumps({"seconds": seconds, "result": work.result(home)}))
        shutil.rmtree(home.root)
    return Expected(**json.loads(note.read_text()))


def disturb(
    work: Work, home: Home, target: str, after: float, dice: random.Random, command: list[str]
) -> Finished | None:
    """Run a command and kill its target after so many seconds; None where it had ended before.

    Where one process was killed the others go on, and the command is waited for.
    """
    log = home.root / "said.txt"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=home.folder, env=home.variables(), stdout=output, stderr=subprocess.STDOUT
        )
    try:
        process.wait(after)
        return None
    except subprocess.TimeoutExpired:
        pass
    others = [pid for pid in processes(home.folder) if pid != process.pid]
    if target == "process" and others:
        victims = [dice.choice(sorted(others))]
    else:
        victims = [process.pid, *others] if target == "all" else [process.pid]
    for pid in victims:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait(300)
    if target == "all":  # what was begun between the look and the kill
        _still(home, kill=True)
    return finished(process.returncode, log.read_text(errors="replace"))


def run_round(work: Work, base: Home, scratch: Path, seed: int, kills: int) -> Iterator[dict[str, Any]]:
    """Kill so many times, let it finish, and yield a record a kill; what the end found is in each of them."""
    dice = random.Random(f"{work.name} {seed}")
    expected = expect(work, base, scratch)
    home = base.copy(scratch / "rounds" / f"{work.name}-{seed}")
    work.prepare(home)
    before = look(home)
    records: list[dict[str, Any]] = []
    last: Finished | None = None
    seconds = expected.seconds
    for turn in range(kills):
        target, after = dice.choice(TARGETS), dice.uniform(0.05, 1.0) * seconds
        resuming = bool(work.resume and last and last.run_id and dice.random() < 0.4)
        command = _resume(work, home, last) if resuming and last else work.command(home)
        begun = time.monotonic()
        done = disturb(work, home, target, after, dice, command)
        if done is None:  # it was faster this time: no kill
            seconds = min(seconds, time.monotonic() - begun)
            continue
        last = done if done.run_id else last
        seen = look(home, work.outputs(home))
        records.append(
            {
                "flow": work.name,
                "seed": seed,
                "turn": turn,
                "target": target,
                "after": round(after, 2),
                "resumed": resuming,
                "survived": done.code == 0,
                "wrong": [*seen.wrong, *_torn(before, seen, expected, work, home)],
                "said": "" if done.code in (0, -signal.SIGKILL) else done.output[-400:],
            }
        )
    _still(home, kill=False)
    resuming = bool(work.resume and last and last.code and last.run_id and dice.random() < 0.5)
    done = home.execute(_resume(work, home, last)) if resuming and last else run_work(work, home)
    if resuming and done.code:  # a run that was killed before its first step began leaves nothing to resume
        done = run_work(work, home)
    wrong = [f"the next run fails: {done.output[-1500:]}"] if done.code else []
    result = work.result(home) if not done.code else {}
    wrong += [
        f"{key}: {result.get(key)!r}, undisturbed {value!r}"
        for key, value in expected.result.items()
        if not done.code and json.loads(json.dumps(result.get(key))) != value
    ]
    wrong += look(home, work.outputs(home), deep=True).wrong
    for record in records:
        yield {**record, "recovered": "resumed" if resuming else "new run", "end": wrong}
    if not wrong and not any(record["wrong"] for record in records):
        shutil.rmtree(home.root)


def _resume(work: Work, home: Home, last: Finished) -> list[str]:
    return [*home.command(work.resume)[:2], "resume", "--origin-run-id", last.run_id]


def _torn(before: Seen, seen: Seen, expected: Expected, work: Work, home: Home) -> list[str]:
    """What readers see in between is what was there, or what the work makes: nothing else, and nothing less."""
    wrong = []
    if seen.fingerprint not in (before.fingerprint, expected.result.get("fingerprint")):
        wrong.append(f"the dataset is {seen.fingerprint[:12]}, neither the one before nor the new one")
    if seen.cursor < before.cursor:
        wrong.append(f"feedback was read up to {before.cursor} and now to {seen.cursor}")
    if before.labelled - seen.labelled:
        wrong.append("feedback that was data is no longer")
    if any(times > 1 for times in seen.labelled.values()):
        wrong.append("feedback is data twice")
    if seen.promotions < before.promotions:
        wrong.append("the history of champions became shorter")
    notes = home.notes()
    known = (before.champion, notes["first"], notes["second"])
    if work.name != "train" and seen.champion not in known:
        wrong.append(f"the champion is {seen.champion}")
    return wrong


def _still(home: Home, kill: bool) -> None:
    """Wait until nothing works in a home; what is left of a killed command goes on by itself, or is killed."""
    deadline = time.monotonic() + 120
    while (there := processes(home.folder)) and time.monotonic() < deadline:
        for pid in there if kill else ():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)


def campaign(scratch: Path, counts: dict[str, int], seed: int) -> list[dict[str, Any]]:
    """Kill each kind of work so often, and return a record a kill; what was recorded before is not done again."""
    scratch.mkdir(parents=True, exist_ok=True)
    base = furnish(scratch / "base")
    file = scratch / "kills.jsonl"
    known = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    rounds = {name: seed * 1000 for name in counts}
    while True:
        left = {name: n - sum(r["flow"] == name for r in known) for name, n in counts.items()}
        name = max(left, key=lambda name: left[name] / counts[name])
        if left[name] <= 0:
            return known
        while any(r["flow"] == name and r["seed"] == rounds[name] for r in known):
            rounds[name] += 1
        made = list(run_round(WORKS[name], base, scratch, rounds[name], min(PER_ROUND, left[name])))
        rounds[name] += 1
        with file.open("a", encoding="utf-8") as lines:
            for record in made:
                lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        known += made
        bad = [record for record in made if record["wrong"] or record["end"]]
        print(f"{time.strftime('%H:%M:%S')} {name}: {len(made)} kills, {len(bad)} not survived", flush=True)


__all__ = ["WORKS", "campaign"]
