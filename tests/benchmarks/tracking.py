"""What following a training in Weights & Biases costs: of each step's time, how much is spent in rayon.tracking.

    python tests/benchmarks/tracking.py [configs/demo.yaml]

Runs TrainFlow twice, offline, in a temporary folder: from nothing, and once more with the encoders' features found,
where there is less to compare the cost with. A task's process notes at its end how long it lived and how long it was
importing W&B, in `start`, in what logs, and in `finish`, all of it waiting.
"""

from __future__ import annotations

import rayon  # noqa: F401 - first: it sets what Metaflow reads when it is imported

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]

WATCH = """
import atexit, json, os, sys, time

born, spent = time.perf_counter(), [0.0]

def watched(function):
    def timed(*args, **kwargs):
        nested, spent[:] = spent[:], [0.0]
        began = time.perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            spent[0] = nested[0] + time.perf_counter() - began
    return timed

def note():
    step = sys.orig_argv[sys.orig_argv.index("step") + 1]
    line = json.dumps({"step": step, "seconds": time.perf_counter() - born, "tracking": spent[0]})
    with open(os.environ["RAYON_WATCHED"], "a") as file:
        file.write(line + "\\n")

if "step" in sys.orig_argv:
    import rayon.tracking
    run = rayon.tracking.TrackedRun
    for name in ("log", "summary", "confusion", "reliability", "table", "artifact", "lightning_logger", "finish"):
        setattr(run, name, watched(getattr(run, name)))
    rayon.tracking.start = watched(rayon.tracking.start)
    rayon.tracking.import_wandb = watched(rayon.tracking.import_wandb)
    atexit.register(note)
"""


def main(experiment: str = "configs/demo.yaml") -> None:
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
        settings = yaml.safe_load((ROOT / experiment).read_text(encoding="utf-8"))
        settings["cache"], settings["tracking"]["mode"] = str(place / "cache"), "offline"
        if settings["catalog"].get("synthetic"):
            settings["catalog"] |= {"products": str(place / "raw/products.csv"), "images": str(place / "raw/images")}
        for title in ("from nothing", "features found"):
            print(f"\n{title}\n\n| step | seconds | of them W&B | share |\n| --- | --- | --- | --- |")
            report(watch(settings, place))


def watch(settings: dict[str, object], place: Path) -> list[dict[str, object]]:
    """Run a training and return what its tasks noted."""
    noted = place / "noted.jsonl"
    noted.unlink(missing_ok=True)
    paths = [str(place), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]
    environment = {
        **os.environ,
        "METAFLOW_DATASTORE_SYSROOT_LOCAL": str(place / "runs"),
        "METAFLOW_PYLINT": "0",
        "PYTHONPATH": os.pathsep.join(paths),
        "RAYON_WATCHED": str(noted),
    }
    words = ["--config-value", "experiment", yaml.safe_dump(settings), "run"]
    command = [sys.executable, str(ROOT / "flows" / "train_flow.py"), *words]
    subprocess.run(command, cwd=place, env=environment, check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in noted.read_text(encoding="utf-8").splitlines()]


def report(noted: list[dict[str, object]]) -> None:
    """Print a line a step, and one of all of them."""
    seconds: dict[str, float] = defaultdict(float)
    tracking: dict[str, float] = defaultdict(float)
    for task in noted:
        for step in (str(task["step"]), "all"):
            seconds[step] += float(str(task["seconds"]))
            tracking[step] += float(str(task["tracking"]))
    for step in [*(step for step in seconds if step != "all"), "all"]:
        print(f"| {step} | {seconds[step]:.1f} | {tracking[step]:.2f} | {tracking[step] / seconds[step]:.1%} |")


if __name__ == "__main__":
    main(*sys.argv[1:])
