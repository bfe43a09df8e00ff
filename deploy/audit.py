"""Asks PyPI for known vulnerabilities of what the images install; one that is accepted stands below, with a date.

    make audit

A package that could not be looked up is a failure, as is an exception whose day has come.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import date
from pathlib import Path
from typing import NamedTuple


class Accepted(NamedTuple):
    """A vulnerability that is lived with: its id, the day when that is asked again, why it does no harm here."""

    id: str
    until: date
    why: str


ACCEPTED: tuple[Accepted, ...] = ()
LOCKS = sorted((Path(__file__).parent / "requirements").glob("*.lock"))


def main(today: date) -> int:
    if over := [one.id for one in ACCEPTED if one.until <= today]:
        print(f"the exceptions for {', '.join(over)} are over: update the package, or look again why it is harmless.")
        return 1
    files = [word for lock in LOCKS for word in ("--requirement", str(lock))]
    ignored = [word for one in ACCEPTED for word in ("--ignore-vuln", one.id)]
    command = [sys.executable, "-m", "pip_audit", "--strict", "--disable-pip", "--require-hashes", *files, *ignored]
    status = subprocess.run(command).returncode
    if status:
        print("Not clean. Where it says 'not found on PyPI', PyPI's vulnerability service was out of reach: no audit.")
    return status


if __name__ == "__main__":
    sys.exit(main(date.today()))
