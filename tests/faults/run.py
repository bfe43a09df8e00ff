"""Injects faults into the real flows, checks after each what must hold, and writes the table.

    python tests/faults/run.py                                  # kills, other faults, bytes that nobody meant
    python tests/faults/run.py --only kills --flow train --kills 10 --seed 3
    python tests/faults/run.py --only faults --fault clock
    python tests/faults/run.py --only fuzz --examples 5000

A campaign that was stopped goes on where it was: what was found is kept below build/faults, `--new` begins anew.
Takes an hour or two on two cores; nothing outside the folder and the tables is written.
"""

import argparse
import shutil
import sys
from pathlib import Path

import environment  # noqa: F401 - first: it sets what is read at import
import table
from environment import ROOT

SHARES = {"preprocess": 34, "train": 9, "score": 12, "monitor": 9, "feedback": 26, "promote": 8, "rollback": 8}
"""Of about a hundred kills, how many each kind of work gets."""
PARTS = ("kills", "faults", "fuzz")


def main(words: list[str] | None = None) -> int:
    """Run what is asked for and return 1 where anything did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=PARTS, help="one part instead of all")
    parser.add_argument("--kills", type=int, default=sum(SHARES.values()), help="in all, or of --flow")
    parser.add_argument("--flow", choices=list(SHARES), help="kills of this kind of work alone")
    parser.add_argument("--fault", default="", help="the other faults with this in their name alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--examples", type=int, default=5000, help="of each property")
    parser.add_argument("--new", action="store_true", help="forget what an earlier campaign found")
    parser.add_argument("--scratch", type=Path, default=ROOT / "build" / "faults")
    given = parser.parse_args(words)
    given.scratch = given.scratch.resolve()
    if given.new:
        shutil.rmtree(given.scratch, ignore_errors=True)
    given.scratch.mkdir(parents=True, exist_ok=True)
    parts = (given.only,) if given.only else PARTS
    if "kills" in parts:
        import kills

        total = sum(SHARES.values())
        counts = {name: max(1, round(given.kills * share / total)) for name, share in SHARES.items()}
        kills.campaign(given.scratch, {given.flow: given.kills} if given.flow else counts, given.seed)
    if "faults" in parts:
        import faults

        faults.campaign(given.scratch, given.fault)
    if "fuzz" in parts:
        import fuzz

        fuzz.campaign(given.scratch, given.examples)
    return table.write(given.scratch)


if __name__ == "__main__":
    sys.exit(main())
