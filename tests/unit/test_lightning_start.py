"""Lightning is imported without what a training does not use, and whoever needs that finds it afterwards."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import sys
from importlib.metadata import version
from importlib.util import find_spec
from rayon.lightning_start import _UNUSED, import_lightning

import_lightning()
import rayon.cards_training, rayon.training
print([name for name in _UNUSED if name in sys.modules])
print([name for name in _UNUSED if find_spec(name) is None])
from lightning_utilities.core import imports
print(imports._version is version)
import matplotlib
"""


def test_lightning_comes_without_what_a_training_does_not_use() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:3] == ["[]", "[]", "True"]
