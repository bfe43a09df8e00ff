"""The property tests of tests/unit/fuzz and of the API, with many examples instead of the few that CI has time for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

from mutations import VARIABLE

ROOT = Path(__file__).resolve().parents[2]
FILES = ("tests/unit/fuzz", "tests/unit/serving/test_hostile.py")


def campaign(scratch: Path, examples: int) -> None:
    """Run them and keep a line a property; one without examples of its own counts as one."""
    report = scratch / "fuzz.xml"
    begun = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *FILES, "-q", f"--junitxml={report}", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={**os.environ, VARIABLE: str(examples)},
        capture_output=True,
        text=True,
    )
    print(f"{time.monotonic() - begun:.0f} s, exit code {done.returncode}", flush=True)
    if not report.exists():
        raise RuntimeError(f"the property tests did not run: {(done.stdout + done.stderr)[-2000:]}")
    keep(report, scratch, examples)


def keep(report: Path, scratch: Path, examples: int) -> None:
    """Keep a line a property of pytest's report."""
    with (scratch / "fuzz.jsonl").open("w", encoding="utf-8") as lines:
        for case in ET.parse(report).iter("testcase"):
            name, problem = case.get("name", ""), case.find("failure")
            record = {
                "property": f"{case.get('classname', '').rpartition('.')[2]}: {name.partition('[')[0]}",
                "examples": examples if name.startswith(PROPERTIES) else 1,
                "wrong": [] if problem is None else [(problem.text or "")[-1500:]],
                "seconds": round(float(case.get("time", 0)), 1),
            }
            if record["examples"] > 1 or record["wrong"]:
                lines.write(json.dumps(record, ensure_ascii=False) + "\n")


PROPERTIES = (
    "test_any",
    "test_a_value",
    "test_a_stored",
    "test_damage",
    "test_a_document",
    "test_predict",
    "test_feedback",
)
