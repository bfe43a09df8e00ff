"""How long a newcomer waits: processor seconds of an import, of the first command and of the first prediction.

    python tests/benchmarks/newcomer.py [--model bundle.safetensors] [--experiment configs/demo.yaml]

Each number is the median of five processes, user and system time together. The prediction is of a product that was
never seen, so that every encoder is loaded; it needs a model, by default the champion or latest of the experiment.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import uuid
from pathlib import Path

import numpy as np
from PIL import Image

from results import save

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5


def processor_seconds(command: list[str]) -> float:
    """Return what a process and its children used; one that fails says why and ends the benchmark."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="as of python -m rayon classify")
    parser.add_argument("--experiment", default="configs/demo.yaml")
    parser.add_argument("--results", action="store_true", help="keep the table in tests/benchmarks/results")
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    python = [sys.executable]
    with tempfile.TemporaryDirectory() as folder:
        photo = Path(folder) / "photo.jpg"

        def classify() -> list[str]:
            """A product that no feature store knows: what is stored would save the encoders."""
            Image.fromarray(np.random.default_rng().integers(0, 255, (224, 224, 3), dtype=np.uint8)).save(photo)
            title = f"Piscine tubulaire {uuid.uuid4().hex[:6]}"
            command = [*python, "-m", "rayon", "classify", title, "--image", str(photo), "-e", options.experiment]
            return [*command, *(["--model", options.model] if options.model else [])]

        rows = {
            "import rayon": lambda: [*python, "-c", "import rayon"],
            "python flows/train_flow.py show": lambda: [*python, "flows/train_flow.py", "show"],
            "python -m rayon classify": classify,
        }
        processor_seconds(classify())  # conversions, compiled files
        found = []
        for name, command in rows.items():
            seconds = [processor_seconds(command()) for _ in range(ROUNDS)]
            print(f"{name:34} {statistics.median(seconds):6.2f} s of processor ({min(seconds):.2f}-{max(seconds):.2f})")
            median, least, most = statistics.median(seconds), min(seconds), max(seconds)
            found.append({"command": name, "CPU s, median": median, "least": least, "most": most, "rounds": ROUNDS})
        if options.results:
            save("newcomer", "What the first commands cost", {options.experiment: found})


if __name__ == "__main__":
    main()
