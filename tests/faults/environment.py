"""Sets what Metaflow, torch and W&B read when they are imported; to be imported first."""

from __future__ import annotations

import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests" / folder) for folder in ("faults", "benchmarks", "flows", "unit", "deploy")]
# this checkout's library, whatever is installed
sys.path.insert(0, str(ROOT / "src"))
os.environ |= {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH", "")])),
    "OMP_WAIT_POLICY": "PASSIVE",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
    "METAFLOW_PYLINT": "0",
    "METAFLOW_USER": "faults",
}
for name in ("RAYON_STORE", "RAYON_BRANCH", "WANDB_API_KEY"):
    os.environ.pop(name, None)
