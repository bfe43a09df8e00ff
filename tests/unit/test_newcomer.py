"""What a newcomer meets first imports nothing heavy; how long it takes, tests/benchmarks/newcomer.py measures."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {
    "numpy",
    "pandas",
    "pyarrow",
    "scipy",
    "sklearn",
    "torch",
    "transformers",
    "pytorch_lightning",
    "wandb",
    "gradio",
}


@pytest.mark.parametrize(
    ("arguments", "also"),
    [
        (["-c", "import rayon"], {"metaflow", "pydantic", "typer", "yaml"}),
        (["-m", "rayon", "--help"], {"metaflow", "pydantic"}),
        ([str(ROOT / "flows" / "train_flow.py"), "show"], set()),
    ],
)
def test_no_heavy_import(arguments, also, tmp_path):
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    imported = {
        name.partition(".")[0] for name in re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE)
    }
    assert "rayon" in imported
    assert not imported & (HEAVY | also)


def test_the_bundled_encoders_need_no_transformers():
    words = "import sys; from rayon.models import encoders, text_sources; print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "False", done.stderr
