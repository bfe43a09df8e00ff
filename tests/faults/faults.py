"""The other faults, one after the other: each is injected into a copy of the furnished home, and looked at.

What was found is kept, a line a fault, so that a campaign goes on where it was interrupted.
"""

from __future__ import annotations

import json
import shutil
import time
import traceback
from pathlib import Path

import faults_app
import faults_disk
import faults_files
import faults_services
import faults_time
from home import furnish
from spoiling import Bench

PARTS = (faults_disk, faults_time, faults_files, faults_services, faults_app)
FAULTS = {name: inject for part in PARTS for name, inject in part.FAULTS.items()}


def campaign(scratch: Path, only: str) -> None:
    """Inject every fault with `only` in its name that was not injected before."""
    bench = Bench(furnish(scratch / "base"), scratch)
    file = scratch / "faults.jsonl"
    done = {json.loads(line)["fault"] for line in file.read_text().splitlines()} if file.exists() else set()
    for name, inject in FAULTS.items():
        if only not in name or (name in done and not only):
            continue
        begun = time.monotonic()
        try:
            wrong, said = inject(bench)
        except Exception as error:
            wrong, said = [f"{type(error).__name__}: {error}", traceback.format_exc()[-1500:]], ""
        record = {
            "fault": name,
            "how": " ".join((inject.__doc__ or "").split()),
            "wrong": wrong,
            "said": said,
            "seconds": round(time.monotonic() - begun, 1),
        }
        with file.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(record, ensure_ascii=False) + "\n")
        print(f"{time.strftime('%H:%M:%S')} {name}: {'; '.join(wrong)[:1500] or 'survived'}", flush=True)
    if not any(json.loads(line)["wrong"] for line in file.read_text().splitlines()):
        shutil.rmtree(scratch / "rounds", ignore_errors=True)
