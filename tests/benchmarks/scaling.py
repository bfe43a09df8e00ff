"""What does each stage cost as a catalogue grows? Time, memory and bytes at a few sizes, with a line through them.

    python tests/benchmarks/scaling.py                               prints the points and the fits (minutes)
    python tests/benchmarks/scaling.py --write                       ... and keeps them for `python -m rayon plan`
    python tests/benchmarks/scaling.py --sizes 300 1000 --table-sizes 3000 10000 --skip encode metaflow

Every stage runs in a process of its own, forked from one that has imported all and computed nothing. Seconds are those
of the processor, all threads together: they do not depend on who else is at work. Memory is the most that the process
held above what it held before. Stages on tables alone get larger sizes than those that look at photos or train.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import sys
import tempfile
import time
import warnings
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import rayon  # noqa: F401 - sets the threads' environment before torch is imported
import torch

from results import machine, save, table
from scaling_metaflow import REQUEST_TASKS, requests, runs_known, tasks
from scaling_stages import DIMS, PRODUCTS, ROOT, TABLES, UNTOLD, Bench, encode, forget_peak, peak
from rayon.scaling.measured import fit_all

KEPT = ROOT / "src" / "rayon" / "scaling" / "measured.json"
Points = dict[str, list[dict[str, float]]]
FITTED = ("fixed", "each", "exponent", "off")


def apart(stage: Any, *arguments: Any) -> dict[str, float]:
    """Run a stage in a fork of this process; return its seconds and memory, unless it measured them itself."""
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("fork").Process(target=_run, args=(theirs, stage, arguments))
    process.start()
    theirs.close()
    try:
        found: dict[str, float] = ours.recv()
    except EOFError:
        raise SystemExit(f"{stage.__name__} {arguments[1:]} failed") from None
    process.join()
    return found


def nothing() -> dict[str, float]:
    """What a process holds that has imported all and done nothing."""
    return {"held": forget_peak()}


def _run(pipe: Any, stage: Any, arguments: tuple[Any, ...]) -> None:
    logging.disable(logging.WARNING)
    warnings.filterwarnings("ignore")
    base, started = forget_peak(), time.process_time()
    told = stage(*arguments)
    cpu, memory = time.process_time() - started, peak() - base
    pipe.send({"cpu": cpu, "memory": memory, **told} if isinstance(told, dict) else told)


def measure(folder: Path, sizes: list[int], table_sizes: list[int], skip: list[str]) -> tuple[Points, dict[str, Any]]:
    bench = Bench(folder, max(sizes))
    points: Points = {}
    if not {*PRODUCTS, *TABLES} <= set(skip):
        started = time.time()
        bench.draw(os.cpu_count() or 1)
        tell(f"{max(sizes):,} products drawn in {time.time() - started:.0f} s")
    for stages, at in ((PRODUCTS, sizes), (TABLES, table_sizes)):
        for name, stage in stages.items():
            if name in skip:
                continue
            found = [{"n": size, **apart(stage, bench, size)} for size in sorted(at)]
            if name in UNTOLD:
                continue
            points[name] = found
            for point in found:
                tell(f"{name}: " + ", ".join(f"{key} {value:,.3f}" for key, value in point.items()))
    more: dict[str, Any] = {"process": apart(nothing)["held"]}
    if "encode" not in skip:
        more["encoders"] = {source: apart(encode, bench, source, 160) for source in DIMS}
        tell(f"encoders, CPU s a product: {more['encoders']}")
    if "metaflow" not in skip:
        points["tasks"] = tasks(folder, (100, 1000, 4000))
        points["runs_known"] = runs_known(folder, (100, 300, 1000))
        points["requests"] = requests(folder, (2, 22))
        more["tasks of requests"] = REQUEST_TASKS
    return points, more


def tell(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--table-sizes", type=int, nargs="+", default=[30_000, 100_000, 300_000])
    parser.add_argument("--skip", nargs="+", default=[], help="stages to leave out")
    parser.add_argument("--keep", nargs="+", default=[], help="with --write: the stages to keep, where not all")
    parser.add_argument("--write", action="store_true", help=f"keep it in {KEPT.name}; what is skipped stays there")
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    started, busy, here = time.time(), os.getloadavg()[0], machine()
    with tempfile.TemporaryDirectory(prefix="rayon-scaling-") as name:
        points, more = measure(Path(name), options.sizes, options.table_sizes, options.skip)
        about = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": f"{here['cores']} cores, {here['processor']}",
            "python": platform.python_version(),
            "torch": torch.__version__,
            "command": " ".join(["python tests/benchmarks/scaling.py", *sys.argv[1:]]),
            "seconds": round(time.time() - started),
            "others at work": f"load average {busy:.1f} before",
            **more,
        }
        if options.write:
            chosen = {name: found for name, found in points.items() if name in (options.keep or points)}
            keep(chosen, {} if options.keep else about, merge=bool(options.skip or options.keep))
        tell("removing what was made")
    rows = [
        {"stage": stage, "quantity": quantity, **{name: float(f"{line[name]:.3g}") for name in FITTED}}
        for stage, quantities in fit_all(points).items()
        for quantity, line in quantities.items()
    ]
    print("\n".join(table(rows)))
    if options.results:
        save("scaling", "What each stage costs: fixed + each * n^exponent", {"": rows}, busy=busy)


def keep(points: Points, about: dict[str, Any], merge: bool) -> None:
    """Write what was measured, beside what is there already if only some stages were measured anew."""
    before = json.loads(KEPT.read_text(encoding="utf-8")) if merge and KEPT.exists() else {"about": {}, "points": {}}
    about |= {name: before["about"][name] for name in ("command", "seconds") if name in before["about"]}
    points = {**before["points"], **points}
    content = {"about": {**before["about"], **about}, "fits": fit_all(points), "points": points}
    KEPT.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
