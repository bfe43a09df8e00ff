"""The reference is built of docstrings without a warning, no name in them leads nowhere, and no module is forgotten."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Not for use by others: the command line, what draws the demo catalogue, how packaged weights are read.
INTERNAL = re.compile(r"rayon\.(__main__|cli.*|cards|data\.synthetic_(?!rows).*|models\.bundled_.*)")


def test_every_public_module_is_on_one_page():
    listed = re.findall(r"^   (rayon[\w.]*)$", "".join(p.read_text() for p in (ROOT / "docs/api").glob("*.md")), re.M)
    assert len(listed) == len(set(listed))
    files = [file for file in (ROOT / "src").rglob("*.py") if file.name != "__init__.py"]
    modules = {".".join(file.relative_to(ROOT / "src").with_suffix("").parts) for file in files}
    packages = {"rayon.keeping"}
    assert set(listed) - packages == {module for module in modules if not INTERNAL.fullmatch(module)}


def test_the_reference_is_built_without_warnings(tmp_path: Path):
    for place in ROOT.iterdir():
        if place.name not in ("docs", "build"):
            (tmp_path / place.name).symlink_to(place)  # what the guides link to
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("modules"))
    # all of `make docs` but the writing of pages, and the colouring of sources, which takes longest
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "dummy", "docs", "made"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
