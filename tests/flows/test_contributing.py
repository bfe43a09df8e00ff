"""The step that CONTRIBUTING.md adds to a flow runs, in a copy of the flow."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from contributing import ROOT, block
from support_flows import Shop, artifacts


@pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed, which applies the example")
def test_the_step_runs(tmp_path: Path):
    for name in ("src", "configs"):
        (tmp_path / name).symlink_to(ROOT / name)
    shutil.copytree(ROOT / "flows", tmp_path / "flows", ignore=shutil.ignore_patterns("__pycache__"))
    changes = block("diff", "step")
    subprocess.run(["git", "apply", "-"], cwd=tmp_path, input=changes, text=True, check=True)
    folder = tmp_path / "shop"
    folder.mkdir()
    shop = Shop(folder)
    shop.change(name="census", tracking={"mode": "disabled"}, preprocess={"shard_rows": 300})
    flow = str(tmp_path / "flows" / "preprocess_flow.py")
    done = shop.execute([sys.executable, flow, "--config-value", "experiment", shop.as_yaml(), "run"])
    assert done.code == 0, done.output
    data = artifacts("PreprocessFlow", done)
    assert sum(data.counted.values()) == data.profile["kept"] > 200
    assert sorted(data.counted) == json.loads(data.manifest)["categories"]
