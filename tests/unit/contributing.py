"""The examples of CONTRIBUTING.md, as they stand there."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def block(language: str, name: str) -> str:
    """Return the fenced block that begins with ```language name."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    (found,) = re.findall(rf"^```{language} {name}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def run_block(name: str, folder: Path) -> None:
    """Import a Python block as a module of its own, written to `folder`."""
    file = folder / f"contributed_{name}.py"
    file.write_text(block("python", name), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(file.stem, file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
